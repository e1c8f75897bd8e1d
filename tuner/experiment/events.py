"""What happens in an experiment, as values.

*Stimuli* come from the executor, the clock and the user, and go into `ExperimentState.handle`.
*Facts* come out of it, are written to the journal, and are all that is needed to rebuild the
experiment: whatever was decided is part of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from tuner.bundles import Bundles
from tuner.experiment.requests import Request

# Stimuli


@dataclass(frozen=True, slots=True)
class Reported:
    """A worker called `report()` and waits for the answer."""

    time: float
    trial_id: str
    attempt: int
    result: dict[str, Any]
    raw: bytes  # `result` as the worker encoded it
    checkpoint: str | None = None  # name of the checkpoint that lies staged in the trial's folder


@dataclass(frozen=True, slots=True)
class Saved:
    """A worker saved a checkpoint because it was told to, outside of a report."""

    time: float
    trial_id: str
    attempt: int
    checkpoint: str


@dataclass(frozen=True, slots=True)
class Finished:
    """An attempt came to its end without an error; its worker is free or gone.

    It is `interrupted` if it was made to end, rather than having nothing more to do.
    """

    time: float
    trial_id: str
    attempt: int
    interrupted: bool = False


@dataclass(frozen=True, slots=True)
class Failed:
    """An attempt ended with an error, or its worker died; `cause` is the exception, pickled.

    One that `is_lost` was lost with its machine, by no fault of the trial.
    """

    time: float
    trial_id: str
    attempt: int
    error: str
    cause: bytes | None = None
    is_lost: bool = False


@dataclass(frozen=True, slots=True)
class CapacityChanged:
    """What the executor can give to all trials together, from now on.

    Where it `can_grow`, a trial that asks for more is launched, and waits until there is more.
    """

    time: float
    resources: dict[str, float]
    can_grow: bool = False


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed and something may be due."""

    time: float


@dataclass(frozen=True, slots=True)
class StopRequested:
    """The user, or an error outside of the trials, asks to end the experiment.

    With `resumable`, trials are left as they are, to be continued by a restore.
    """

    time: float
    reason: str
    resumable: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """Somebody outside asks for something; `request_id` goes with the answer."""

    time: float
    request_id: str
    request: Request


Stimulus = Reported | Saved | Finished | Failed | CapacityChanged | Tick | StopRequested | Asked


# Facts


@dataclass(frozen=True, slots=True)
class ExperimentStarted:
    """The experiment began, or went on after a restore."""

    event: ClassVar[str] = "experiment_started"
    time: float
    seed: int
    version: str


@dataclass(frozen=True, slots=True)
class ExperimentChanged:
    """A restore or a request gave the experiment other limits; None leaves one as it is.

    `stop` is what `RunConfig(stop=…)` takes, `time_budget_s` counts the time used before.
    """

    event: ClassVar[str] = "experiment_changed"
    time: float
    num_samples: int | None
    stop: Any
    time_budget_s: float | None
    max_concurrent_trials: int | None = None


@dataclass(frozen=True, slots=True)
class SearchEnded:
    """The searcher said that it has no more to propose than so many trials."""

    event: ClassVar[str] = "search_ended"
    time: float
    num_trials: int


@dataclass(frozen=True, slots=True)
class TrialCreated:
    """The searcher proposed a configuration, or a request added one, which `is_added`."""

    event: ClassVar[str] = "trial_created"
    time: float
    trial_id: str
    number: int
    trainable_name: str
    trial_name: str
    experiment_tag: str
    dirname: str
    config: dict[str, Any]
    evaluated_params: dict[str, Any]
    bundles: Bundles
    chosen_objects: dict[str, int] = field(default_factory=dict)  # see `SearchSpace`
    is_added: bool = False
    strategy: str = "PACK"  # of the bundles


@dataclass(frozen=True, slots=True)
class TrialLaunched:
    """An attempt began: from `checkpoint`, after `num_results` results that stay valid.

    The checkpoint is the trial's own, or that of a `donor`.
    """

    event: ClassVar[str] = "trial_launched"
    time: float
    trial_id: str
    attempt: int
    checkpoint: str | None
    num_results: int
    donor: str | None = None


@dataclass(frozen=True, slots=True)
class TrialResult:
    """A report, and what was decided on it: CONTINUE, SAVE, PAUSE or STOP.

    `result` is what was reported, and what policies decided upon; see `settle`.
    """

    event: ClassVar[str] = "result"
    time: float
    trial_id: str
    attempt: int
    decision: str
    checkpoint: str | None
    result: dict[str, Any]
    raw: bytes | None = field(default=None, compare=False)  # `result` encoded, if at hand


@dataclass(frozen=True, slots=True)
class CheckpointSaved:
    """A checkpoint that belongs to the last result was saved after it."""

    event: ClassVar[str] = "checkpoint_saved"
    time: float
    trial_id: str
    attempt: int
    checkpoint: str


@dataclass(frozen=True, slots=True)
class TrialChanged:
    """A scheduler has changed a paused trial; None leaves something as it is.

    With a `donor` the trial goes on from that trial's `checkpoint`.
    """

    event: ClassVar[str] = "trial_changed"
    time: float
    trial_id: str
    donor: str | None
    checkpoint: str | None
    config: dict[str, Any] | None
    evaluated_params: dict[str, Any] | None
    experiment_tag: str | None
    chosen_objects: dict[str, int] | None
    bundles: Bundles | None
    is_logged: bool

    @property
    def is_visible(self) -> bool:
        """Whether the trial is another one now, rather than only free to go on."""
        return self.config is not None or self.bundles is not None


@dataclass(frozen=True, slots=True)
class TrialSteered:
    """Somebody outside decided on a trial: to STOP or PAUSE it while it runs, or to CONTINUE."""

    event: ClassVar[str] = "trial_steered"
    time: float
    trial_id: str
    decision: str


@dataclass(frozen=True, slots=True)
class TrialEnded:
    """An attempt ended, or a trial that was not running was ended; `status` is what it is now.

    `error` is the traceback, and `cause` the pickled exception, of an attempt that failed.
    """

    event: ClassVar[str] = "trial_ended"
    time: float
    trial_id: str
    attempt: int
    status: str
    error: str | None
    cause: bytes | None = None


@dataclass(frozen=True, slots=True)
class TrialRequeued:
    """A trial is to go on from its last checkpoint, or `anew`, without its checkpoints.

    It was running when the controller died, or it was held or ended by what no longer holds. Where
    it failed as its resources could not be told, it has `bundles` now, laid out by a `strategy`.
    """

    event: ClassVar[str] = "trial_requeued"
    time: float
    trial_id: str
    anew: bool
    bundles: Bundles | None = None
    strategy: str | None = None


@dataclass(frozen=True, slots=True)
class CapacityKnown:
    """What all trials together can be given, from now on."""

    event: ClassVar[str] = "capacity_known"
    time: float
    resources: dict[str, float]
    can_grow: bool = False


@dataclass(frozen=True, slots=True)
class ExperimentStopping:
    """Nothing new begins; running trials are told `decision` at their next report."""

    event: ClassVar[str] = "experiment_stopping"
    time: float
    reason: str
    decision: str


@dataclass(frozen=True, slots=True)
class ExperimentEnded:
    """The experiment came to its end; `complete` unless a restore has something left to do."""

    event: ClassVar[str] = "experiment_ended"
    time: float
    reason: str
    complete: bool


def settle(fact: TrialResult) -> None:
    """Makes the result what everybody but the policies sees: `done` if the trial was stopped."""
    if fact.decision == "STOP":
        fact.result["done"] = True


Fact = (
    ExperimentStarted
    | ExperimentChanged
    | SearchEnded
    | TrialCreated
    | TrialLaunched
    | TrialResult
    | CheckpointSaved
    | TrialChanged
    | TrialSteered
    | TrialEnded
    | TrialRequeued
    | CapacityKnown
    | ExperimentStopping
    | ExperimentEnded
)
