"""The `Logger` interface, whose objects write down one trial each."""

from __future__ import annotations

from typing import Any

from tuner.experiment.trial import Trial


class Logger:
    """Writes down the results of one trial, in the process of the controller.

    Subclasses implement `on_result`, and the others as they need them.

    Args:
        config: The trial's configuration.
        logdir: The trial's folder.
        trial: The trial.

    Example:
        >>> class PrintLogger(Logger):
        ...     def on_result(self, result):
        ...         print(self.logdir, result["loss"])
        >>> PrintLogger({}, "/results/a").on_result({"loss": 0.5})
        /results/a 0.5
    """

    def __init__(self, config: dict[str, Any], logdir: str, trial: Trial | None = None) -> None:
        self.config = config
        self.logdir = logdir
        self.trial = trial
        self._init()

    def _init(self) -> None:
        """Called once, before anything else."""

    def on_result(self, result: dict[str, Any]) -> None:
        """Called for each result."""
        raise NotImplementedError(f"{type(self).__name__}.on_result() is missing")

    def update_config(self, config: dict[str, Any]) -> None:
        """Called when a scheduler has changed the trial's configuration."""

    def flush(self) -> None:
        """Makes all that was logged visible to readers; called at checkpoints and at the end."""

    def close(self) -> None:
        """Gives back what is held open; called once, also when the experiment fails."""


class NoopLogger(Logger):
    """Writes nothing."""

    def on_result(self, result: dict[str, Any]) -> None:
        """Does nothing."""
