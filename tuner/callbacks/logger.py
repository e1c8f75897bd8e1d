"""The base of everything that writes down what trials report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from tuner.callbacks.callback import Callback

if TYPE_CHECKING:
    from tuner.experiment.trial import Trial


class LoggerCallback(Callback):
    """Is told the life of each trial, from its start over its results to its end.

    With `in_recorder = True` it runs in the recorder process: it must be picklable and cannot
    stop anything, but costs the experiment no time. There it sees a trial's configuration with
    the `repr` of objects that JSON cannot hold, and must leave the results that it is given
    unchanged. After a crash of the recorder it is built anew and told the start of every
    unfinished trial once more. Its `setup` is called there, with the keywords `experiment_path`,
    the experiment's folder, `storage`, the one on remote storage or None, `retention`, which
    checkpoints are kept, and `on_progress`, to be called now and then by a `close` that takes
    minutes. A `DeliveryError` that it raises is shown as one message.

    Attributes:
        in_recorder: Whether it runs in the recorder process rather than in the controller's.
        writes_to: What only one callback of an experiment can write to, in words.

    Example:
        >>> from tuner.experiment.trial import Trial
        >>> class PrintLogger(LoggerCallback):
        ...     def log_trial_start(self, trial):
        ...         print("start", trial)
        ...
        ...     def log_trial_result(self, iteration, trial, result):
        ...         print(trial, result["loss"])
        >>> trial = Trial(trial_id="a1", config={}, trainable_name="train", path="train_a1")
        >>> PrintLogger().on_trial_result(0, [trial], trial, {"loss": 0.5})
        start train_a1
        train_a1 0.5
    """

    in_recorder: ClassVar[bool] = False
    writes_to: str | None = None

    @property
    def delivers_to(self) -> str | None:
        """What `close` delivers to beside files, and how long it waits for that, in words."""
        return None

    def log_trial_start(self, trial: Trial) -> None:
        """Called once for each trial, before its first result."""

    def log_trial_restore(self, trial: Trial) -> None:
        """Called when a trial goes on from a checkpoint or is launched again."""

    def log_trial_save(self, trial: Trial) -> None:
        """Called when a checkpoint of a trial was saved."""

    def log_trial_result(self, iteration: int, trial: Trial, result: dict[str, Any]) -> None:
        """Called for each result.

        Args:
            iteration: Round of the controller; the trial's own count is in `training_iteration`.
            trial: The trial that reported.
            result: The user's metrics, maybe nested, and the autofilled fields.
        """

    def log_trial_change(self, trial: Trial) -> None:
        """Called when a scheduler changed a paused trial: its next results are of that.

        Its configuration, its resources or both are other ones than before.
        """

    def log_trial_end(self, trial: Trial, failed: bool = False) -> None:
        """Called when a trial ended for good, `failed` with an error."""

    def on_trial_rewound(self, trial: Trial, num_results: int) -> None:
        """Called when a trial goes back to an earlier point, before `log_trial_restore`.

        Args:
            trial: The trial.
            num_results: How many of its results stay valid; those after them are superseded.
        """

    def flush(self) -> None:
        """Makes all that was logged visible to readers; called after each batch of results."""

    def close(self) -> None:
        """Gives back what is held open; called once, at the end."""

    def on_trial_start(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        self._start_once(trial)

    def on_trial_restore(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        self.log_trial_restore(trial)

    def on_trial_save(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self.log_trial_save(trial)

    def on_trial_result(
        self,
        iteration: int,
        trials: list[Trial],
        trial: Trial,
        result: dict[str, Any],
        **info: Any,
    ) -> None:
        self._start_once(trial)
        self.log_trial_result(iteration, trial, result)

    def on_trial_change(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        self._start_once(trial)
        self.log_trial_change(trial)

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        self._end(trial, failed=False)

    def on_trial_error(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        self._end(trial, failed=True)

    def _start_once(self, trial: Trial) -> None:
        # Subclasses may not call __init__, so there is none.
        started: set[str] = self.__dict__.setdefault("_started", set())
        if trial.trial_id not in started:
            started.add(trial.trial_id)
            self.log_trial_start(trial)

    def _end(self, trial: Trial, *, failed: bool) -> None:
        self._start_once(trial)
        self.log_trial_end(trial, failed=failed)
        self.__dict__["_started"].discard(trial.trial_id)
