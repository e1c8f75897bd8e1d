"""A trial: one configuration being trained, and everything known about it."""

from __future__ import annotations

import dataclasses
import operator
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tuner.bundles import Bundles
from tuner.experiment.metric_summary import MetricSummary, summarize
from tuner.layout import ERROR_FILE
from tuner.placement import PlacementGroupFactory
from tuner.trial_progress import Progress

if TYPE_CHECKING:
    from tuner.checkpoint import Checkpoint
    from tuner.storage.storage import Storage

PENDING = "PENDING"
RUNNING = "RUNNING"
PAUSED = "PAUSED"
TERMINATED = "TERMINATED"
ERROR = "ERROR"

TRANSITIONS = frozenset(
    {
        (PENDING, RUNNING),
        (PENDING, TERMINATED),
        (PENDING, ERROR),
        (RUNNING, TERMINATED),
        (RUNNING, ERROR),
        (RUNNING, PAUSED),
        (RUNNING, PENDING),
        (PAUSED, PENDING),
        (PAUSED, TERMINATED),
        (PAUSED, ERROR),
        (ERROR, PENDING),
        (TERMINATED, PENDING),
    }
)
"""Every change of a trial's status that can happen; any other raises."""


@dataclass(frozen=True, slots=True)
class SavedCheckpoint:
    """A checkpoint that lies whole in a trial's folder.

    Attributes:
        name: Its folder's name, `checkpoint_000012`.
        progress: How far the trial had come.
        score: Value of the checkpoint config's score attribute, None without one.
        num_results: How many valid results the trial had.
        result: The last of them.
        summaries: Statistics of its metrics then.
    """

    name: str
    progress: Progress
    score: float | None
    num_results: int = 0
    result: dict[str, Any] = field(default_factory=dict)
    summaries: dict[str, MetricSummary] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Borrowed:
    """Another trial's checkpoint, as a trial goes on from it.

    Attributes:
        donor: The other trial.
        saved: The checkpoint, with the results of the trial that goes on from it.
    """

    donor: Trial
    saved: SavedCheckpoint


class Trial:
    """One configuration being trained, as callbacks, schedulers and results see it.

    Attributes:
        trial_id: Unique in the experiment, such as `"3f2a1_00004"`.
        number: Order of creation, from 0.
        trainable_name: What is being trained.
        config: The configuration.
        evaluated_params: The values that the search chose, flat, keys joined by `/`.
        chosen_objects: Which categories of the search space it has where those hold objects.
        experiment_tag: Number and chosen values, such as `"4_lr=0.1"`.
        bundles: Resources, one dictionary per bundle; empty where the user's code could not tell.
        strategy: How these are laid out over nodes; see `PlacementGroupFactory`.
        path: The trial's folder.
        status: PENDING, RUNNING, PAUSED, TERMINATED or ERROR.
        attempt: Number of the current or last launch, 0 before the first.
        last_result: The last valid result, `{}` before the first.
        num_results: Number of valid results; an attempt that goes on from a checkpoint makes
            those after it void.
        num_failures: How often an attempt failed.
        error: Traceback of the last failure, None without one.
        cause: The exception of the last failure, pickled, if it could be.
        checkpoints: The checkpoints that are kept, oldest first.
        borrowed: Another trial's checkpoint, which this one goes on from until it has saved one of
            its own; None without one.
        in_use: Name of the own checkpoint that the running attempt resumed from, None without one.
        start_time: Unix time of the first launch in seconds, None before.
        is_added: Whether a request added it; then the searcher is told nothing of it.
        storage: The experiment's folder on remote storage, None without one. It is not pickled.
    """

    PENDING = PENDING
    RUNNING = RUNNING
    PAUSED = PAUSED
    TERMINATED = TERMINATED
    ERROR = ERROR

    __slots__ = (
        "__weakref__",
        "_custom_name",
        "_summaries",
        "attempt",
        "borrowed",
        "bundles",
        "cause",
        "checkpoints",
        "chosen_objects",
        "config",
        "error",
        "evaluated_params",
        "experiment_tag",
        "in_use",
        "is_added",
        "last_result",
        "next_checkpoint",
        "num_failures",
        "num_results",
        "number",
        "path",
        "start_time",
        "status",
        "storage",
        "strategy",
        "trainable_name",
        "trial_id",
    )

    def __init__(
        self,
        *,
        trial_id: str,
        config: dict[str, Any],
        trainable_name: str,
        path: str,
        number: int = 0,
        evaluated_params: dict[str, Any] | None = None,
        experiment_tag: str = "",
        bundles: Bundles | None = None,
        trial_name: str = "",
        storage: Storage | None = None,
        chosen_objects: dict[str, int] | None = None,
        is_added: bool = False,
        strategy: str = "PACK",
    ) -> None:
        self.trial_id = trial_id
        self.number = number
        self.trainable_name = trainable_name
        self.config = config
        self.evaluated_params = evaluated_params or {}
        self.chosen_objects = chosen_objects or {}
        self.experiment_tag = experiment_tag
        self.bundles: Bundles = [{"CPU": 1}] if bundles is None else bundles
        self.path = path
        self.is_added = is_added
        self.strategy = strategy
        self.storage = storage
        self.status = PENDING
        self.attempt = 0
        self.last_result: dict[str, Any] = {}
        self.num_results = 0
        self.num_failures = 0
        self.error: str | None = None
        self.cause: bytes | None = None
        self.checkpoints: list[SavedCheckpoint] = []
        self.next_checkpoint = 0
        self.borrowed: Borrowed | None = None
        self.in_use: str | None = None
        self.start_time: float | None = None
        self._custom_name = trial_name
        self._summaries: dict[str, MetricSummary] = {}

    def __getstate__(self) -> tuple[Any, ...]:
        summaries = {name: summary.values for name, summary in self._summaries.items()}
        return summaries, *_pickled_slots(self)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        summaries, *values = state
        for name, value in zip(_PICKLED_SLOTS, values, strict=True):
            setattr(self, name, value)
        self._summaries = {name: MetricSummary(*each) for name, each in summaries.items()}
        self.storage = None

    def __str__(self) -> str:
        return self.trial_name

    def __repr__(self) -> str:
        return f"Trial({self.trial_name}, {self.status})"

    @property
    def trial_name(self) -> str:
        """The name given by `trial_name_creator`, else trainable and id."""
        return self._custom_name or f"{self.trainable_name}_{self.trial_id}"

    @trial_name.setter
    def trial_name(self, name: str) -> None:
        self._custom_name = name

    @property
    def dirname(self) -> str:
        """The name of its folder."""
        return os.path.basename(self.path)

    @property
    def experiment_path(self) -> str:
        """The experiment's folder."""
        return os.path.dirname(self.path)

    @property
    def local_path(self) -> str:
        """The trial's folder on this machine."""
        return self.path

    @property
    def logdir(self) -> str:
        """The trial's folder, as older loggers ask for it."""
        return self.path

    @property
    def local_experiment_path(self) -> str:
        """The experiment's folder on this machine."""
        return self.experiment_path

    @property
    def checkpoint(self) -> Checkpoint | None:
        """The checkpoint from which the trial would resume."""
        if self.borrowed is not None:
            return self.borrowed.donor.checkpoint_named(self.borrowed.saved.name)
        return self.checkpoint_named(self.checkpoints[-1].name) if self.checkpoints else None

    @property
    def resume_point(self) -> SavedCheckpoint | None:
        """That checkpoint with how far it came; None if the trial would start anew."""
        if self.borrowed is not None:
            return self.borrowed.saved
        return self.checkpoints[-1] if self.checkpoints else None

    def checkpoint_named(self, name: str) -> Checkpoint:
        """One of its checkpoints: on the storage, unless it could not be brought there so far."""
        from tuner.checkpoint import Checkpoint

        local = os.path.join(self.path, name)
        if self.storage is None or not self.storage.is_shared or os.path.isdir(local):
            return Checkpoint(local)
        return self.storage.child(self.dirname).checkpoint(name)

    @property
    def is_saved(self) -> bool:
        """Whether it would resume as of its last result."""
        saved = self.resume_point
        return saved is not None and saved.num_results == self.num_results

    def has_checkpoint(self) -> bool:
        """Whether the trial could resume rather than start again."""
        return self.resume_point is not None

    @property
    def error_file(self) -> str | None:
        """The file that holds the tracebacks of its failures, None without one."""
        return os.path.join(self.path, ERROR_FILE) if self.error else None

    @property
    def metric_analysis(self) -> dict[str, dict[str, float]]:
        """For each numeric metric its `max, min, avg, last, last-5-avg, last-10-avg`."""
        return {name: summary.as_dict() for name, summary in self._summaries.items()}

    @property
    def placement_group_factory(self) -> PlacementGroupFactory:
        """Its resources, as functions that allocate them expect it."""
        return PlacementGroupFactory(self.bundles or [{}], self.strategy)

    def is_finished(self) -> bool:
        """Whether it ended, well or with an error."""
        return self.status in (TERMINATED, ERROR)

    def set_status(self, status: str) -> None:
        """Changes the status.

        Raises:
            ValueError: such a change can never happen.
        """
        if (self.status, status) not in TRANSITIONS:
            raise ValueError(f"trial {self.trial_id}: {self.status} → {status} cannot happen")
        self.status = status

    def record_result(self, result: dict[str, Any]) -> None:
        """Takes in a result as the last one; it gets the trial's configuration as `config`."""
        summarize(self._summaries, result)
        result["config"] = self.config
        self.last_result = result
        self.num_results += 1

    def saved_as(self, name: str, score: float | None) -> SavedCheckpoint:
        """A checkpoint of the trial as it is now."""
        return SavedCheckpoint(
            name=name,
            progress=Progress.after(self.last_result),
            score=score,
            num_results=self.num_results,
            result=self.last_result,
            summaries=_copied(self._summaries),
        )

    def borrow(self, donor: Trial) -> Borrowed:
        """Has it go on from where another trial would, with the results of its own so far.

        That trial must have a checkpoint, its own or a borrowed one.
        """
        lent = donor.resume_point
        assert lent is not None
        lender = donor if donor.borrowed is None else donor.borrowed.donor
        own = self.saved_as(lent.name, None)
        self.borrowed = Borrowed(lender, dataclasses.replace(own, progress=lent.progress))
        return self.borrowed

    def rewind(self, checkpoint: str | None) -> None:
        """Forgets the results after the checkpoint that it resumes from, or all without one."""
        own = (each for each in self.checkpoints if each.name == checkpoint)
        saved = next(own, None) if self.borrowed is None else self.borrowed.saved
        if saved is not None and saved.num_results == self.num_results:
            return
        self.num_results = saved.num_results if saved else 0
        self.last_result = saved.result if saved else {}
        self._summaries = _copied(saved.summaries) if saved else {}


_PICKLED_SLOTS = [
    name for name in Trial.__slots__ if name not in ("__weakref__", "_summaries", "storage")
]
_pickled_slots = operator.attrgetter(*_PICKLED_SLOTS)


def _copied(summaries: dict[str, MetricSummary]) -> dict[str, MetricSummary]:
    return {name: summary.copy() for name, summary in summaries.items()}
