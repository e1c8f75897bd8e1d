"""A small experiment in one process that drives a scheduler as the real one does."""

from __future__ import annotations

import copy
import pickle
import random
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tuner.schedulers import Change, Stop, TrialScheduler
from tuner.search_space.domains import Domain

Decision = tuple[str, int, str]


@dataclass(eq=False)
class SmallTrial:
    """A trial that reports the values of its curve, one for each iteration.

    It is saved whenever it pauses and when it is told to; `saved` is the iteration of that.
    """

    trial_id: str
    curve: Sequence[Any]
    fails_at: list[int] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    evaluated_params: dict[str, Any] = field(default_factory=dict)
    status: str = "PENDING"
    last_result: dict[str, Any] = field(default_factory=dict)
    bundles: list[dict[str, float]] = field(default_factory=lambda: [{"CPU": 1.0}])
    number: int = 0
    iteration: int = 0
    saved: int | None = None

    @property
    def checkpoint(self) -> int | None:
        return self.saved

    def has_checkpoint(self) -> bool:
        return self.saved is not None


class SmallExperiment:
    """Runs trials in a few slots; between them the order of reports is random but repeatable.

    Args:
        scheduler: What decides.
        curves: For each trial, what it reports as `loss` at each iteration.
        slots: How many trials run at once.
        configs: The trials' configurations; by default without any parameter.
        fails_at: For a trial's number, the iterations at which it fails, once each; it is then
            started again from its first iteration.
        pickle_every: The scheduler is replaced by its own pickle after so many reports.
        readd: Whether a trial is added again when it is retried.
        lazily: Whether a trial is created only when one can be launched, as in a real experiment.
        twin: A copy of the scheduler that is told what a replay tells it and no more; it must
            decide the same, and have the same state, at every step.
        records: Whether `calls` gets what the scheduler is told, pickled.
        seed: Of the order of reports.
    """

    def __init__(
        self,
        scheduler: TrialScheduler,
        curves: Iterable[Sequence[Any]],
        *,
        slots: int = 3,
        configs: Sequence[dict[str, Any]] | None = None,
        fails_at: Mapping[int, list[int]] | None = None,
        pickle_every: int | None = None,
        readd: bool = True,
        lazily: bool = False,
        twin: TrialScheduler | None = None,
        records: bool = False,
        seed: int = 0,
    ) -> None:
        self.scheduler = scheduler
        self.decisions: list[Decision] = []
        self.launches: list[str] = []
        self.changes: list[Change | Stop] = []
        self.calls: list[bytes] = []
        self.is_stalled = False
        self.total_resources = {"CPU": float(slots)}
        self.max_running: int | None = None
        self._slots = slots
        self._pickle_every = pickle_every
        self._readd = readd
        self._random = random.Random(seed)
        self._trials: dict[str, SmallTrial] = {}
        self._waiting: dict[str, dict[str, SmallTrial]] = {"PENDING": {}, "PAUSED": {}}
        self._twin = twin
        self._records = records
        self._to_come = deque(
            SmallTrial(
                f"t{number:03}",
                curve,
                list((fails_at or {}).get(number, [])),
                dict(configs[number]) if configs else {},
                number=number,
            )
            for number, curve in enumerate(curves)
        )
        while self._to_come and not lazily:
            self.create()

    def __getstate__(self) -> dict[str, Any]:
        to_come = deque([None] * len(self._to_come))
        return {**self.__dict__, "scheduler": None, "_twin": None, "calls": [], "_to_come": to_come}

    @property
    def expects_trials(self) -> bool:
        return bool(self._to_come)

    @property
    def trials(self) -> list[SmallTrial]:
        return list(self._trials.values())

    @property
    def pending_trials(self) -> Iterable[SmallTrial]:
        return self._waiting["PENDING"].values()

    @property
    def paused_trials(self) -> Iterable[SmallTrial]:
        return self._waiting["PAUSED"].values()

    @property
    def running_trials(self) -> list[SmallTrial]:
        return [trial for trial in self.trials if trial.status == "RUNNING"]

    def get_trial(self, trial_id: str) -> SmallTrial | None:
        return self._trials.get(trial_id)

    def fits(self, trial: SmallTrial) -> bool:
        return self._has_room()

    def run(self) -> list[Decision]:
        """Run all trials to their end and return what was decided, in order."""
        while self._launch_what_fits():
            running = self.running_trials
            self._random.shuffle(running)
            for trial in running:
                if trial.status == "RUNNING":
                    self._step(trial)
                    self._launch_what_fits()
        unfinished = [t.trial_id for t in self.trials if t.status not in ("TERMINATED", "ERROR")]
        assert not unfinished, f"nothing was chosen to run, with {unfinished} waiting"
        return self.decisions

    def remove(self, trial_id: str) -> None:
        """End a trial that is pending or paused."""
        trial = self._trials[trial_id]
        assert trial.status in self._waiting
        self.move(trial, "TERMINATED")
        self.tell("on_trial_remove", trial)

    def fail_for_good(self, trial_id: str) -> None:
        """A trial fails that is not to be retried."""
        trial = self._trials[trial_id]
        self.move(trial, "ERROR")
        self.tell("on_trial_error", trial)

    def tell(self, method: str, trial: SmallTrial, *arguments: Any) -> Any:
        """Call a method of the scheduler that is named `on_…`, and return its answer."""
        told = copy.deepcopy(arguments)
        if self._records:
            self.calls.append(pickle.dumps((method, self, trial, told)))
        answer = getattr(self.scheduler, method)(self, trial, *arguments)
        if self._twin is not None:
            assert getattr(self._twin, method)(self, trial, *told) == answer
            assert state_of(self._twin) == state_of(self.scheduler)
        return answer

    def move(self, trial: SmallTrial, status: str) -> None:
        """Give a trial another status."""
        if trial.status in self._waiting:
            self._waiting[trial.status].pop(trial.trial_id, None)
        trial.status = status
        if status in self._waiting:
            self._waiting[status][trial.trial_id] = trial

    def iterations(self) -> list[int]:
        """How far each trial came."""
        return [trial.last_result.get("training_iteration", 0) for trial in self.trials]

    def _launch_what_fits(self) -> bool:
        self._change_and_launch()
        if not self.running_trials:
            self.is_stalled = True
            self._change_and_launch()
            self.is_stalled = False
        return bool(self.running_trials)

    def _change_and_launch(self) -> None:
        for change in [*self.scheduler.changes(self)]:
            self._change(change)
        while True:
            created = self.create() if self._has_room() and not self.pending_trials else False
            trial = self.scheduler.choose_trial_to_run(self)
            if trial is None:
                if created:
                    continue
                return
            assert self.scheduler.choose_trial_to_run(self) is trial
            assert trial.status in self._waiting
            assert self.fits(trial)
            self.move(trial, "RUNNING")
            self.launches.append(trial.trial_id)

    def _has_room(self) -> bool:
        return len(self.running_trials) < self._slots

    def create(self) -> bool:
        if not self._to_come:
            return False
        trial = self._to_come.popleft()
        trial.config = self.scheduler.complete_config(trial.config, trial.number)
        self._trials[trial.trial_id] = trial
        self.move(trial, "PENDING")
        self.tell("on_trial_add", trial)
        return True

    def _change(self, change: Change | Stop) -> None:
        self.changes.append(change)
        trial = self._trials[change.trial_id]
        assert trial.status == "PAUSED"
        if isinstance(change, Stop):
            self.remove(trial.trial_id)
            return
        if change.donor is not None:
            donor = self._trials[change.donor]
            assert donor.saved is not None, "an exploit without a checkpoint"
            trial.iteration = trial.saved = donor.saved
            trial.curve = donor.curve
        if change.config is not None:
            trial.config = change.config
        if change.bundles is not None:
            trial.bundles = change.bundles
        self.tell("on_trial_change", trial, change)

    def _step(self, trial: SmallTrial) -> None:
        trial.iteration += 1
        if trial.iteration in trial.fails_at:
            self._fail(trial)
            return
        result = {
            "loss": trial.curve[trial.iteration - 1],
            "training_iteration": trial.iteration,
            "trial_id": trial.trial_id,
        }
        trial.last_result = result
        decision = self.tell("on_trial_result", trial, result)
        self.decisions.append((trial.trial_id, trial.iteration, decision))
        if decision == TrialScheduler.STOP or trial.iteration == len(trial.curve):
            self.move(trial, "TERMINATED")
            self.tell("on_trial_complete", trial, result)
        elif decision == TrialScheduler.PAUSE:
            trial.saved = trial.iteration
            self.move(trial, "PAUSED")
            self.tell("on_trial_pause", trial)
        elif decision == TrialScheduler.SAVE:
            trial.saved = trial.iteration
        else:
            assert decision == TrialScheduler.CONTINUE
        if self._pickle_every and len(self.decisions) % self._pickle_every == 0:
            self.scheduler = pickle.loads(pickle.dumps(self.scheduler))

    def _fail(self, trial: SmallTrial) -> None:
        trial.fails_at.remove(trial.iteration)
        trial.iteration = trial.saved or 0
        self.tell("on_trial_error", trial)
        self.move(trial, "PENDING")
        if self._readd:
            self.tell("on_trial_add", trial)


def state_of(value: Any, seen: dict[int, int] | None = None) -> Any:
    """All that an object holds, as plain values that can be compared.

    Objects that were met before are given by when that was.
    """
    seen = {} if seen is None else seen
    if isinstance(value, random.Random):
        return value.getstate()
    if isinstance(value, Domain):  # without what it has computed so far
        return repr(value)
    if isinstance(value, dict):
        return [(key, state_of(each, seen)) for key, each in value.items()]
    if isinstance(value, list | tuple | deque):
        return [state_of(each, seen) for each in value]
    if isinstance(value, set | frozenset):
        return sorted(map(repr, value))
    slots = [name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())]
    held = {name: getattr(value, name) for name in slots if hasattr(value, name)}
    held |= getattr(value, "__dict__", {})
    if hasattr(value, "__qualname__"):  # a function or a class
        return value.__qualname__
    if not held:
        kind = type(value)
        return kind.__name__ if kind.__repr__ is object.__repr__ else repr(value)
    if id(value) in seen:
        return seen[id(value)]
    seen[id(value)] = len(seen)
    return type(value).__name__, state_of(held, seen)


def replay(scheduler: TrialScheduler, calls: list[bytes]) -> tuple[list[Any], str]:
    """Tells a scheduler what another was told; returns its answers, and its state in the end."""
    answers = []
    for call in calls:
        method, experiment, trial, arguments = pickle.loads(call)
        answers.append(getattr(scheduler, method)(experiment, trial, *arguments))
    return answers, repr(state_of(scheduler))
