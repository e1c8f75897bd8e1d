"""The interface of what decides, at each result, whether a trial continues, pauses or stops."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Protocol

from tuner.bundles import Bundles
from tuner.schedulers.change import Change, Stop


class TrialView(Protocol):
    """What a scheduler may read of a trial."""

    @property
    def trial_id(self) -> str:
        """Unique in the experiment."""

    @property
    def number(self) -> int:
        """Order of creation, from 0."""

    @property
    def config(self) -> Mapping[str, Any]:
        """The configuration being trained."""

    @property
    def evaluated_params(self) -> Mapping[str, Any]:
        """The values that the search chose, flat, keys joined by `/`."""

    @property
    def status(self) -> str:
        """PENDING, RUNNING, PAUSED, TERMINATED or ERROR."""

    @property
    def last_result(self) -> Mapping[str, Any]:
        """The last result, the one being decided on included; empty before the first."""

    @property
    def bundles(self) -> Bundles:
        """Its resources, one dictionary per bundle."""

    @property
    def checkpoint(self) -> Any:
        """The latest checkpoint, or None."""

    def has_checkpoint(self) -> bool:
        """Whether there is a checkpoint that it, or another trial, could go on from."""


class ExperimentView(Protocol):
    """What a scheduler may read of the experiment; it changes nothing through it."""

    @property
    def trials(self) -> Sequence[TrialView]:
        """All trials in order of creation."""

    @property
    def pending_trials(self) -> Iterable[TrialView]:
        """Trials that wait to be launched, in order of arrival."""

    @property
    def paused_trials(self) -> Iterable[TrialView]:
        """Paused trials, in the order in which they paused."""

    @property
    def running_trials(self) -> Iterable[TrialView]:
        """Trials that run."""

    @property
    def total_resources(self) -> Mapping[str, float]:
        """What all trials together can be given, by name; empty before that is known."""

    @property
    def max_running(self) -> int | None:
        """How many trials may run at once, None for no limit but the resources."""

    @property
    def expects_trials(self) -> bool:
        """Whether there may be more trials than there are so far."""

    @property
    def is_stalled(self) -> bool:
        """Whether nothing runs and nothing new can, unless a paused trial goes on or ends."""

    def get_trial(self, trial_id: str) -> TrialView | None:
        """The trial with this id, None if there is none."""

    def fits(self, trial: Any) -> bool:
        """Whether enough resources are free to launch the trial now."""


class TrialScheduler:
    """Decides which trials run and for how long.

    The experiment calls, for each trial: `on_trial_add` once before anything else, and again when
    the trial is taken up after a failure or a restore; `on_trial_result` for each of its results,
    acting on the answer; `on_trial_pause` when it has paused and is saved; and at its end one of
    `on_trial_complete` (it ended or was stopped), `on_trial_error` (it failed) and
    `on_trial_remove` (it ended while pending or paused).
    After that it asks for `changes` of paused trials, and tells each one that took place by
    `on_trial_change`. Whenever resources are free it asks `choose_trial_to_run` until the answer
    is None.

    A subclass overrides what it needs; as it stands, every trial runs to its end in order of
    arrival. It is pickled with the experiment, its state included. A restored experiment replays
    what was recorded since: it calls the methods named `on_…` once more, with the same arguments
    in the same order, and takes from the record what `complete_config`, `changes` and
    `choose_trial_to_run` answered. So these three only look, and whatever is decided at random
    derives from the seed and from what a method named `on_…` was told.

    Attributes:
        CONTINUE: The trial goes on.
        SAVE: The trial goes on; if it is a class, it is saved at once (a function reports its
            checkpoints itself).
        PAUSE: The trial is saved and waits until `choose_trial_to_run` names it.
        STOP: The trial ends.
    """

    CONTINUE: ClassVar[str] = "CONTINUE"
    SAVE: ClassVar[str] = "SAVE"
    PAUSE: ClassVar[str] = "PAUSE"
    STOP: ClassVar[str] = "STOP"

    _metric: str | None = None
    _mode: str | None = None

    @property
    def metric(self) -> str | None:
        """The reported value that decisions are based on; None if there is none."""
        return self._metric

    @property
    def mode(self) -> str | None:
        """`"min"` or `"max"`: which values of the metric are good."""
        return self._mode

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Take what the experiment optimizes; called once, before the first trial.

        Args:
            metric: The experiment's metric; fills in the scheduler's own if that was not given.
            mode: Likewise.
            spec: What else is known: `seed`, a whole number, for the scheduler's random stream.

        Returns:
            False if the metric or the mode was given twice; then nothing has changed.
        """
        if (metric and self._metric) or (mode and self._mode):
            return False
        self._metric = metric or self._metric
        self._mode = mode or self._mode
        return True

    def on_trial_add(self, experiment: ExperimentView, trial: TrialView) -> None:
        """A trial arrived, or is taken up again."""

    def on_trial_error(self, experiment: ExperimentView, trial: TrialView) -> None:
        """An attempt of a trial failed; the trial may come back."""

    def on_trial_result(
        self, experiment: ExperimentView, trial: TrialView, result: dict[str, Any]
    ) -> str:
        """Decide about a running trial that has just reported: CONTINUE, SAVE, PAUSE or STOP."""
        return self.CONTINUE

    def on_trial_pause(self, experiment: ExperimentView, trial: TrialView) -> None:
        """A trial that was told to pause has done so: it is PAUSED, and saved if it can be."""

    def on_trial_complete(
        self, experiment: ExperimentView, trial: TrialView, result: dict[str, Any]
    ) -> None:
        """A trial ended; `result` is its last one."""

    def on_trial_remove(self, experiment: ExperimentView, trial: TrialView) -> None:
        """A pending or paused trial was ended."""

    def on_trial_change(self, experiment: ExperimentView, trial: TrialView, change: Change) -> None:
        """A change of a paused trial has taken place; the trial shows it already."""

    def complete_config(self, config: dict[str, Any], number: int) -> dict[str, Any]:
        """The configuration that a new trial gets; as it stands, what was proposed.

        Args:
            config: What was proposed, to be left as it is.
            number: Order of creation of the trial, from 0.
        """
        return config

    def changes(self, experiment: ExperimentView) -> Iterable[Change | Stop]:
        """What is to become of trials that are paused; nothing, as it stands.

        Asked after all that happens. What is named takes place at once, in this order.
        """
        return ()

    def choose_trial_to_run(self, experiment: ExperimentView) -> TrialView | None:
        """The trial to launch now, among those that are pending or paused; None for none.

        Asking twice gives the same answer as long as nothing has happened. As it stands: the
        first pending trial that fits, else the first paused one.
        """
        for waiting in (experiment.pending_trials, experiment.paused_trials):
            for trial in waiting:
                if experiment.fits(trial):
                    return trial
        return None

    def debug_string(self) -> str:
        """One or a few lines about the scheduler's state, for the console."""
        return type(self).__name__

    def save(self, path: str) -> None:
        """Write the scheduler's state to a local file."""
        import cloudpickle

        with open(path, "wb") as file:
            cloudpickle.dump(self.__dict__, file)

    def restore(self, path: str) -> None:
        """Read back what `save` wrote."""
        import cloudpickle

        with open(path, "rb") as file:
            self.__dict__.update(cloudpickle.load(file))
