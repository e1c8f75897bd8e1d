"""Drives an `ExperimentState` with random stimuli in an order that an executor could produce."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from random_experiments import HesitantSearcher, WatchfulScheduler

from tuner import codec
from tuner.experiment.commands import (
    Answer,
    Command,
    CommitCheckpoint,
    DeleteCheckpoint,
    EndAttempt,
    Launch,
    Respond,
)
from tuner.experiment.events import (
    Asked,
    CapacityChanged,
    CheckpointSaved,
    ExperimentEnded,
    Fact,
    Failed,
    Finished,
    Reported,
    Saved,
    Stimulus,
    StopRequested,
    Tick,
    TrialEnded,
    TrialLaunched,
    TrialResult,
    TrialSteered,
)
from tuner.experiment.requests import (
    AddTrials,
    ChangeLimits,
    PauseTrial,
    Request,
    ResumeTrial,
    StopExperiment,
    StopTrial,
)
from tuner.experiment.state import ExperimentState
from tuner.search_space.domains import Domain

START = 1_000_000.0


@dataclass(frozen=True)
class Step:
    """One call of `handle`."""

    stimuli: list[Stimulus]
    facts: list[Fact]
    commands: list[str]


class Driver:
    """Plays the executor: knows which attempts run and what each of them may do next.

    After every step it checks what must always hold.

    Args:
        state: The state machine, not yet started.
        seed: Decides what happens.
        can_stop: Whether the user may end the experiment.

    Attributes:
        opening: The facts of the start.
        steps: What was handled, and what followed.
    """

    def __init__(self, state: ExperimentState, seed: int, *, can_stop: bool = True) -> None:
        self.state = state
        self.opening: list[Fact] = []
        self.steps: list[Step] = []
        self._cut_short_at: int | None = None
        self._resumable = False
        self._rng = random.Random(seed * 7919 + 1)
        self._time = START
        self._can_stop = can_stop
        # What decides upon requests from outside, which every third experiment gets.
        self._visitor = random.Random(seed) if seed % 3 == 2 else None
        self._running: dict[str, int] = {}
        self._iterations: dict[str, int] = {}
        self._told: dict[str, str] = {}
        self._asked_to_end: set[str] = set()
        self._waiting: set[str] = set()
        self._finished: set[str] = set()
        self._save_wanted: set[str] = set()
        self._on_disk: set[tuple[str, str]] = set()  # committed checkpoints by trial and name
        self._cpus = 0.0

    @property
    def continuable(self) -> int:
        """After how many steps nothing had happened yet that is not journaled."""
        return len(self.steps) if self._cut_short_at is None else self._cut_short_at

    @property
    def facts(self) -> list[Fact]:
        """All facts so far."""
        return self.opening + [fact for step in self.steps for fact in step.facts]

    def begin(self) -> None:
        """Starts the experiment and tells the resources."""
        self.opening, commands = self.state.start(self._time, "test")
        assert commands == []
        self._give([self._capacity()])

    def step(self) -> None:
        """Has a few things happen at once."""
        stimuli: list[Stimulus] = []
        for _ in range(self._rng.randint(1, 3)):
            stimuli.extend(self._stimuli())
        self._give(stimuli)

    def run(self, max_steps: int = 4000) -> None:
        """Drives the experiment to its end."""
        self.begin()
        for _ in range(max_steps):
            if self.state.is_over:
                self._check_end()
                return
            self.step()
        raise AssertionError("the experiment does not end")

    def _stimuli(self) -> list[Stimulus]:
        self._time += self._rng.random()
        if self._visitor is not None and self.state.stop_reason is None:
            paused = [*self.state.decisions.paused_by_request]
            if paused and not self._running:  # nobody else would bring it to its end
                return [self._ask(ResumeTrial(min(paused)))]
            if self._visitor.random() < 0.1:
                return [self._ask(self._request(self._visitor))]
        chance = self._rng.random()
        free = [trial_id for trial_id in self._running if trial_id not in self._waiting]
        if self._can_stop and chance < 0.002:
            resumable = self._rng.random() < 0.5
            self._resumable |= resumable
            return [StopRequested(self._time, "asked to", resumable)]
        if chance < 0.01:
            return [self._capacity()]
        if not free or chance < 0.04:
            return [Tick(self._time)]
        trial_id = self._rng.choice(free)
        attempt = self._running[trial_id]
        if chance < 0.06:  # a message of a worker that was cut off
            return [Reported(self._time, trial_id, attempt - 1, {"score": 0.5}, b"{}")]
        if trial_id in self._told or (trial_id in self._asked_to_end and chance < 0.5):
            return self._end(trial_id, attempt)
        if chance < 0.1:
            return [self._fail(trial_id, attempt)]
        if chance < 0.15:
            return [self._finish(trial_id, attempt)]
        if trial_id in self._save_wanted:
            self._save_wanted.discard(trial_id)
            self._waiting.add(trial_id)  # the next name of a checkpoint is known after this one
            return [self._saved(trial_id, attempt)]
        report = self._report(trial_id, attempt)
        if chance < 0.17:  # it dies before it can be answered
            self._waiting.discard(trial_id)
            return [report, self._fail(trial_id, attempt)]
        return [report]

    def _ask(self, request: Request) -> Stimulus:
        return Asked(self._time, f"request {len(self.steps)}", request)

    def _request(self, visitor: random.Random) -> Request:
        trial_ids = [*self._running, *(t.trial_id for t in self.state.trials), "no trial"]
        trial_id = visitor.choice(trial_ids)
        kind = visitor.choice([StopTrial, PauseTrial, PauseTrial, ResumeTrial, AddTrials, None])
        if kind is AddTrials:
            value = visitor.choice([0.25, {"grid_search": [0.5, 0.75]}])
            config = {"lr": value} if visitor.random() < 0.9 else {"unknown": 1}
            return AddTrials(config, visitor.choice([0, 1, 1, 2]))
        if kind is not None:
            return kind(trial_id)
        if visitor.random() < 0.2 and self._can_stop:
            self._resumable |= (resumable := visitor.random() < 0.5)
            return StopExperiment(resumable)
        return ChangeLimits(
            num_samples=visitor.choice([None, 0, 1, 5, 20]),
            max_concurrent_trials=visitor.choice([None, 0, 1, 2]),
        )

    def _capacity(self) -> Stimulus:
        self._cpus = float(self._rng.randint(2, 4))
        return CapacityChanged(self._time, {"CPU": self._cpus, "GPU": 0.0})

    def _end(self, trial_id: str, attempt: int) -> list[Stimulus]:
        chance = self._rng.random()
        if chance > 0.9:
            return [self._fail(trial_id, attempt)]
        saved = self._saved(trial_id, attempt)
        finished = self._finish(trial_id, attempt)
        return [saved, finished] if chance < 0.5 else [finished]

    def _saved(self, trial_id: str, attempt: int) -> Stimulus:
        name = f"checkpoint_{self.state.table[trial_id].next_checkpoint:06d}"
        return Saved(self._time, trial_id, attempt, name)

    def _fail(self, trial_id: str, attempt: int) -> Stimulus:
        self._forget(trial_id)
        if self._resumable and self._cut_short_at is None:
            self._cut_short_at = len(self.steps)  # its trial stays as it is, to be continued
        return Failed(self._time, trial_id, attempt, "Traceback: no “luck”\n")

    def _finish(self, trial_id: str, attempt: int) -> Stimulus:
        self._forget(trial_id)
        return Finished(self._time, trial_id, attempt)

    def _report(self, trial_id: str, attempt: int) -> Stimulus:
        self._iterations[trial_id] += 1
        self._waiting.add(trial_id)
        checkpoint = None
        if self._rng.random() < 0.3:
            checkpoint = f"checkpoint_{self.state.table[trial_id].next_checkpoint:06d}"
        score = self._rng.random() if self._rng.random() < 0.95 else float("nan")
        reported = {
            "score": score,
            "eval": {"loss": -score, 0: self._rng.choice([None, "text", 10**30])},
            "training_iteration": self._iterations[trial_id],
            "time_total_s": float(self._iterations[trial_id]),
            "done": self._rng.random() < 0.02,
            "checkpoint_dir_name": checkpoint,
        }
        raw = codec.encode_metrics(reported)
        return Reported(self._time, trial_id, attempt, codec.decode(raw), raw, checkpoint)

    def _forget(self, trial_id: str) -> None:
        del self._running[trial_id]
        self._told.pop(trial_id, None)
        self._save_wanted.discard(trial_id)
        self._asked_to_end.discard(trial_id)

    def _give(self, stimuli: list[Stimulus]) -> None:
        live = dict(self.state._live)
        expected = [
            (s.trial_id, s.attempt)
            for s in stimuli
            if isinstance(s, Reported) and live.get(s.trial_id) == s.attempt
        ]
        facts, commands = self.state.handle(stimuli)
        answers = [(c.trial_id, c.attempt) for c in commands if isinstance(c, Answer)]
        assert answers == expected, "every report of a live attempt gets exactly one answer"
        assert [c.request_id for c in commands if isinstance(c, Respond)] == [
            s.request_id for s in stimuli if isinstance(s, Asked)
        ], "every request gets exactly one answer"
        self.steps.append(Step(stimuli, facts, [described(command) for command in commands]))
        self._check_commands(facts, commands)
        self._carry_out(commands)
        self._waiting -= {s.trial_id for s in stimuli if isinstance(s, Saved)}
        self._check(facts)

    def _carry_out(self, commands: list[Command]) -> None:
        for command in commands:
            if isinstance(command, Launch):
                trial_id = command.trial.trial_id
                assert trial_id not in self._running, "launched while it runs"
                assert trial_id not in self._finished, "launched after its end"
                self._running[trial_id] = command.attempt
                self._iterations[trial_id] = command.progress.iteration
                if command.checkpoint is not None:
                    lender = (command.donor or command.trial).trial_id
                    assert (lender, command.checkpoint) in self._on_disk
            elif isinstance(command, CommitCheckpoint):
                self._on_disk.add((command.trial.trial_id, command.name))
            elif isinstance(command, DeleteCheckpoint):
                self._on_disk.discard((command.trial.trial_id, command.name))
            elif isinstance(command, Answer):
                self._waiting.discard(command.trial_id)
                if command.decision in ("PAUSE", "STOP") and command.trial_id in self._running:
                    self._told[command.trial_id] = command.decision
                elif command.decision == "SAVE" and command.trial_id in self._running:
                    self._save_wanted.add(command.trial_id)
            elif isinstance(command, EndAttempt) and command.trial_id in self._running:
                self._asked_to_end.add(command.trial_id)

    def _check_commands(self, facts: list[Fact], commands: list[Command]) -> None:
        """Whatever is to be done is a consequence of what is journaled with it or before."""
        results = [f for f in facts if isinstance(f, TrialResult)]
        decided = [(f.trial_id, f.attempt, f.decision) for f in results]
        answers = [c for c in commands if isinstance(c, Answer)]
        assert decided == [(c.trial_id, c.attempt, c.decision) for c in answers]
        launched = [f for f in facts if isinstance(f, TrialLaunched)]
        launches = [c for c in commands if isinstance(c, Launch)]
        assert [(f.trial_id, f.attempt, f.checkpoint) for f in launched] == [
            (c.trial.trial_id, c.attempt, c.checkpoint) for c in launches
        ]
        saved = [f for f in facts if isinstance(f, CheckpointSaved | TrialResult)]
        assert [(f.trial_id, f.attempt, f.checkpoint) for f in saved if f.checkpoint] == [
            (c.trial.trial_id, c.attempt, c.name)
            for c in commands
            if isinstance(c, CommitCheckpoint)
        ]
        for command in commands:
            if isinstance(command, EndAttempt):
                asked = [f.trial_id for f in facts if isinstance(f, TrialSteered)]
                assert self.state.stop_reason is not None or command.trial_id in asked
            elif isinstance(command, DeleteCheckpoint):
                kept = [checkpoint.name for checkpoint in command.trial.checkpoints]
                assert command.name not in kept
                assert kept, "the latest is kept"

    def _check(self, facts: list[Fact]) -> None:
        state = self.state
        for fact in facts:
            if isinstance(fact, TrialEnded) and fact.status in ("TERMINATED", "ERROR"):
                self._finished.add(fact.trial_id)
        used = sum(state.table[t].bundles[0]["CPU"] for t in self._running)
        if self._cut_short_at is None:
            assert state.capacity.used.get("CPU", 0.0) == used
        if any(isinstance(fact, TrialLaunched) for fact in facts):
            assert used <= self._cpus, "more is given out than there is"
            limit = state.max_running
            assert limit is None or len(self._running) <= limit
        counts: dict[str, int] = {}
        for trial in state.trials:
            counts[trial.status] = counts.get(trial.status, 0) + 1
        assert {status: n for status, n in state.table.counts.items() if n} == counts
        assert len({trial.path for trial in state.trials}) == len(state.trials)
        for trial in state.trials:
            point = trial.resume_point
            if point is not None:
                lender = trial.borrowed.donor if trial.borrowed else trial
                assert (lender.trial_id, point.name) in self._on_disk, (
                    "what it resumes from is gone"
                )

    def _check_end(self) -> None:
        state = self.state
        assert not self._running
        ends = [fact for fact in self.facts if isinstance(fact, ExperimentEnded)]
        assert ends == [self.facts[-1]]
        if ends[0].complete:
            assert all(trial.is_finished() for trial in state.trials)
            assert len(policy_ends(state)) == len(state.trials)


def policy_ends(state: ExperimentState) -> set[str]:
    """The trials whose end those policies were told that keep count; all where none does."""
    ended = {trial.trial_id for trial in state.trials}
    added = {trial.trial_id for trial in state.trials if trial.is_added}
    if isinstance(state.scheduler, WatchfulScheduler):
        ended &= state.scheduler.ended.keys()
    if isinstance(state.searcher, HesitantSearcher):
        assert not added & state.searcher.ended.keys()
        ended &= state.searcher.ended.keys() | added
    return ended


def described(command: Command) -> str:
    """A command as text that does not depend on the process."""
    return repr(laid_open(command, trials=False))


def picture(state: ExperimentState) -> dict[str, Any]:
    """Everything about trials and policies that a replay must bring back, as comparable text."""
    deadline = state.deadline  # None once it comes to its end: ticks after that are no facts
    return {
        "trials": [repr(laid_open(trial)) for trial in state.trials],
        "order": {status: [*trials] for status, trials in state.table.by_status.items()},
        "searcher": repr(laid_open(state.searcher.get_state())),
        "scheduler": repr(laid_open(state.scheduler)),
        "stopper": repr(laid_open(state.stopper)),
        "deadline": None if deadline is None else round(deadline, 3),
        "reason": state.stop_reason,
        "paused by request": sorted(state.decisions.paused_by_request),
        "limits": (state.max_running, state.num_trials),
        "used": {name: amount for name, amount in state.capacity.used.items() if amount},
    }


def laid_open(value: Any, *, trials: bool = True) -> Any:
    """A value with all that it consists of, in a form that shows types and can be compared."""
    kind = type(value).__name__
    if isinstance(value, dict):
        return [(laid_open(key), laid_open(item, trials=trials)) for key, item in value.items()]
    if isinstance(value, list | tuple):
        return (kind, [laid_open(item, trials=trials) for item in value])
    if isinstance(value, set | frozenset):
        return (kind, sorted(map(repr, value)))
    if isinstance(value, random.Random):
        return value.getstate()
    if isinstance(value, Domain):  # without what it has computed so far
        return repr(value)
    if isinstance(value, type) or (callable(value) and hasattr(value, "__qualname__")):
        return value.__qualname__
    if kind == "Borrowed":
        return (kind, value.donor.trial_id, laid_open(value.saved))
    if kind == "Trial" and not trials:
        return value.trial_id
    slots = [name for base in type(value).__mro__ for name in getattr(base, "__slots__", ())]
    names = [*getattr(value, "__dict__", ()), *(n for n in slots if not n.startswith("__"))]
    if kind == "TimeoutStopper":  # what it has counted depends on when it was asked
        names = ["_timeout"]
    if type(value).__module__ == "builtins":
        return (kind, repr(value))
    names = [name for name in names if name != "raw"]  # a result as it was encoded
    trials = trials and kind != "Trial"  # a trial that borrows has another one
    return (kind, [(name, laid_open(getattr(value, name), trials=trials)) for name in names])
