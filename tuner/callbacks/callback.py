"""The base of everything that watches an experiment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tuner.checkpoint import Checkpoint
    from tuner.experiment.trial import Trial
    from tuner.stoppers.stopper import Stopper


class Callback:
    """Is told what happens in an experiment; override the methods you need.

    Every method takes `**info`, so that arguments added later do not break a callback. `iteration`
    counts the rounds of the controller, `trials` are all trials of the experiment.

    Example:
        >>> class BestSoFar(Callback):
        ...     best = float("inf")
        ...
        ...     def on_trial_result(self, iteration, trials, trial, result, **info):
        ...         self.best = min(self.best, result["loss"])
        >>> callback = BestSoFar()
        >>> callback.on_trial_result(0, [], None, {"loss": 0.5})
        >>> callback.best
        0.5
    """

    def setup(
        self,
        stop: Stopper | None = None,
        num_samples: int | None = None,
        total_num_samples: int | None = None,
        **info: Any,
    ) -> None:
        """Called once, before anything else.

        Args:
            stop: What ends trials and the experiment, None without one.
            num_samples: How often the search space is sampled.
            total_num_samples: How many trials there will be, None if that is not known.
        """

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Called at the start of each round of the controller."""

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Called at the end of each round of the controller."""

    def on_trial_start(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Called after a trial was launched, for every launch."""

    def on_trial_restore(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Called after a trial was launched from a checkpoint."""

    def on_trial_save(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Called after a checkpoint of a trial was saved."""

    def on_trial_result(
        self,
        iteration: int,
        trials: list[Trial],
        trial: Trial,
        result: dict[str, Any],
        **info: Any,
    ) -> None:
        """Called after a trial reported a result."""

    def on_trial_change(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Called after a scheduler changed a paused trial, as population based training does.

        The trial has its new configuration and resources, with which it is launched later.
        """

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Called after a trial ended without an error."""

    def on_trial_recover(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Called after a trial failed and will be launched again."""

    def on_trial_error(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Called after a trial failed for good."""

    def on_checkpoint(
        self,
        iteration: int,
        trials: list[Trial],
        trial: Trial,
        checkpoint: Checkpoint,
        **info: Any,
    ) -> None:
        """Called after a checkpoint of a trial lies whole in its folder."""

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        """Called once, after all trials ended or the experiment was stopped."""

    def get_state(self) -> dict[str, Any] | None:
        """What `set_state` needs after a restore, None for nothing; must be picklable."""
        return None

    def set_state(self, state: dict[str, Any]) -> None:
        """Takes up what `get_state` returned in the run that is being continued."""
