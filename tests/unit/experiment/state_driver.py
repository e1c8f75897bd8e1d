"""Drives an `ExperimentState` with random stimuli in an order that an executor could produce."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import tuner as tune
from tuner import codec
from tuner.experiment.commands import (
    Answer,
    Command,
    CommitCheckpoint,
    DeleteCheckpoint,
    EndAttempt,
    Launch,
)
from tuner.experiment.events import (
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
)
from tuner.experiment.retention import Retention
from tuner.experiment.spec import ExperimentSpec
from tuner.experiment.state import ExperimentState
from tuner.experiment.trial_table import TrialTable
from tuner.schedulers import (
    PB2,
    AsyncHyperBandScheduler,
    Change,
    FIFOScheduler,
    HyperBandScheduler,
    MedianStoppingRule,
    PopulationBasedTraining,
    ResourceChangingScheduler,
    Stop,
    TrialScheduler,
)
from tuner.search import BasicVariantGenerator, ConcurrencyLimiter, Searcher
from tuner.search_space.domains import Domain
from tuner.search_space.variants import SearchSpace
from tuner.stoppers import ExperimentPlateauStopper, Stopper, TrialPlateauStopper, coerce
from tuner.stoppers.limits import Limits

START = 1_000_000.0
LARGEST = 100.0  # CPUs that no machine has


class PausingScheduler(FIFOScheduler):
    """Pauses every trial at every third result, and stops bad ones."""

    def on_trial_result(self, experiment: Any, trial: Any, result: dict[str, Any]) -> str:
        if result["score"] < 0.05:
            return self.STOP
        return self.PAUSE if result["training_iteration"] % 3 == 0 else self.CONTINUE


class WatchfulScheduler(TrialScheduler):
    """A user's: launches what comes first, fit or not, pauses, and insists on its protocol."""

    def __init__(self) -> None:
        self.results: dict[str, int] = {}
        self.ended: dict[str, str] = {}

    def on_trial_add(self, experiment: Any, trial: Any) -> None:
        assert trial.trial_id not in self.results, "added twice"
        self.results[trial.trial_id] = 0

    def on_trial_result(self, experiment: Any, trial: Any, result: dict[str, Any]) -> str:
        assert trial.trial_id not in self.ended
        assert trial.last_result is result
        self.results[trial.trial_id] += 1
        return self.PAUSE if self.results[trial.trial_id] % 4 == 0 else self.CONTINUE

    def on_trial_error(self, experiment: Any, trial: Any) -> None:
        if trial.status == "PENDING":
            del self.results[trial.trial_id]
        else:
            self._end(trial, "error")

    def on_trial_complete(self, experiment: Any, trial: Any, result: dict[str, Any]) -> None:
        assert trial.status == "RUNNING" or result.get("done", not result)
        self._end(trial, "complete")

    def on_trial_remove(self, experiment: Any, trial: Any) -> None:
        self._end(trial, "remove")

    def choose_trial_to_run(self, experiment: Any) -> Any:
        waiting = [*experiment.pending_trials, *experiment.paused_trials]
        return waiting[0] if waiting else None

    def _end(self, trial: Any, how: str) -> None:
        assert trial.trial_id in self.results, "never added"
        assert trial.trial_id not in self.ended, f"already at its end: {self.ended}"
        self.ended[trial.trial_id] = how


class ChangingScheduler(TrialScheduler):
    """Changes what is paused: configurations, resources, whose checkpoint it goes on from."""

    def __init__(self) -> None:
        self.pauses: dict[str, int] = {}
        self.due: dict[str, int] = {}
        self.told: list[Change] = []

    def complete_config(self, config: dict[str, Any], number: int) -> dict[str, Any]:
        return {**config, "added": number}

    def on_trial_add(self, experiment: Any, trial: Any) -> None:
        assert trial.config["added"] >= trial.number

    def on_trial_result(self, experiment: Any, trial: Any, result: dict[str, Any]) -> str:
        return (self.CONTINUE, self.SAVE, self.PAUSE)[result["training_iteration"] % 3]

    def on_trial_pause(self, experiment: Any, trial: Any) -> None:
        assert trial.status == "PAUSED"
        pauses = self.pauses[trial.trial_id] = self.pauses.get(trial.trial_id, 0) + 1
        self.due[trial.trial_id] = pauses

    def on_trial_remove(self, experiment: Any, trial: Any) -> None:
        self.due.pop(trial.trial_id, None)

    def on_trial_change(self, experiment: Any, trial: Any, change: Change) -> None:
        assert change.config is None or trial.config == change.config
        assert change.bundles is None or trial.bundles == change.bundles
        del self.due[trial.trial_id]
        self.told.append(change)

    def changes(self, experiment: Any) -> Iterable[Change | Stop]:
        cpus = experiment.total_resources["CPU"]
        for trial_id, pauses in self.due.items():
            trial = experiment.get_trial(trial_id)
            if trial.status != "PAUSED":
                continue
            rng = random.Random(f"{trial_id} {pauses}")
            if rng.random() < 0.1:
                yield Stop(trial_id=trial_id)
                continue
            donors = [t.trial_id for t in experiment.trials if t.has_checkpoint() and t != trial]
            yield Change(
                trial_id=trial_id,
                donor=rng.choice(donors) if donors and rng.random() < 0.7 else None,
                config={**trial.config, "added": 100 + pauses} if rng.random() < 0.7 else None,
                bundles=[{"CPU": float(min(cpus, rng.choice([1, 2])))}]
                if rng.random() < 0.3
                else None,
            )

    def choose_trial_to_run(self, experiment: Any) -> Any:
        for trial in [*experiment.paused_trials, *experiment.pending_trials]:
            if trial.trial_id not in self.due and experiment.fits(trial):
                return trial
        return None


class HesitantSearcher(Searcher):
    """Waits for results before it proposes more, learns from them, and insists on its protocol."""

    def __init__(self, num_trials: int, at_once: int) -> None:
        super().__init__()
        self.num_trials = num_trials
        self.at_once = at_once
        self.results: dict[str, list[float]] = {}
        self.ended: dict[str, bool] = {}

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        if len(self.results) == self.num_trials:
            return self.FINISHED
        if len(self.results) - len(self.ended) >= self.at_once:
            return None
        assert trial_id not in self.results
        known = sum(len(results) for results in self.results.values())
        self.results[trial_id] = []
        return {"lr": (known * 0.37) % 1.0, "layers": 1, "pair": (known, str), 3: b"x"}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        assert trial_id not in self.ended
        self.results[trial_id].append(result["score"])

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        assert trial_id not in self.ended, "completed twice"
        assert trial_id in self.results
        assert result is None or "score" in result
        self.ended[trial_id] = error


class StopAtScore(Stopper):
    """Ends the experiment when any trial reaches a score."""

    def __init__(self, bound: float) -> None:
        self.bound = bound
        self.reached = False

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        self.reached = self.reached or result["score"] > self.bound
        return False

    def stop_all(self) -> bool:
        return self.reached


def lucky(trial_id: str, result: dict[str, Any]) -> bool:
    return bool(result["score"] > 0.9)


def build_state(seed: int, path: str, *, time_budget: bool = True) -> ExperimentState:
    """One of many kinds of experiment; the same seed always builds the same one."""
    rng = random.Random(seed)
    space: dict[str, Any] = {
        "lr": tune.uniform(0, 1),
        "kind": tune.choice(["a", ("b", 2), dict]),
        "twice": tune.sample_from(lambda spec: spec.config.lr * 2),
    }
    if rng.random() < 0.5:
        space["layers"] = tune.grid_search([1, 2])
    num_samples = rng.randint(1, 12)
    searcher = _searcher(rng, num_samples)
    searcher.set_search_properties("score", "max", space, num_samples=num_samples, seed=seed)
    scheduler = _scheduler(rng)
    scheduler.set_search_properties("score", "max", seed=seed)
    stopper = _stopper(rng, time_budget=time_budget)
    total = searcher.total_samples(num_samples)
    vary = rng.random() < 0.3
    impossible = rng.random() < 0.5

    def bundles_for(config: dict[str, Any]) -> list[dict[str, float]]:
        if vary and impossible and config["lr"] > 0.8:
            return [{"CPU": LARGEST}]
        return [{"CPU": 2.0 if vary and config["lr"] > 0.5 else 1.0}]

    spec = ExperimentSpec(
        path=path,
        trainable_name="train",
        param_space=SearchSpace(space),
        id_prefix="abc12",
        seed=seed,
        num_trials=None if isinstance(searcher, HesitantSearcher) else total,
        max_running=rng.choice([None, None, 1, 3]),
        max_failures=rng.choice([0, 1, -1]),
        fail_fast=rng.random() < 0.15,
        bundles_for=bundles_for,
        bundles_vary=vary,
        dirname_creator=rng.choice([None, lambda trial: "same"]),
    )
    table = TrialTable(path, Retention(rng.choice([None, 1, 2]), rng.choice([None, "score"])))
    return ExperimentState(spec, table, searcher, scheduler, stopper)


def _searcher(rng: random.Random, num_samples: int) -> Searcher:
    choice = rng.random()
    if choice < 0.35:
        return HesitantSearcher(num_samples, at_once=rng.randint(1, 3))
    if choice < 0.5:
        return ConcurrencyLimiter(BasicVariantGenerator(), 2, batch=rng.random() < 0.5)
    if choice < 0.6:
        return ConcurrencyLimiter(HesitantSearcher(num_samples, 5), 3, batch=rng.random() < 0.5)
    return BasicVariantGenerator(max_concurrent=rng.choice([0, 0, 1, 2]))


def _scheduler(rng: random.Random) -> TrialScheduler:
    return rng.choice(
        [
            FIFOScheduler(),
            PausingScheduler(),
            WatchfulScheduler(),
            ChangingScheduler(),
            AsyncHyperBandScheduler(max_t=9, grace_period=1, reduction_factor=3, brackets=2),
            _population(synch=False),
            _population(synch=True),
            HyperBandScheduler(max_t=9),
            HyperBandScheduler(max_t=4, reduction_factor=2, stop_last_trials=False),
            MedianStoppingRule("training_iteration", grace_period=2),
            PB2("training_iteration", None, None, 2, {"lr": [0.0, 1.0], "width": [1, 99]}, 0.4),
            ResourceChangingScheduler(),
            ResourceChangingScheduler(PausingScheduler()),
            ResourceChangingScheduler(_population(synch=False)),
        ]
    )


def _population(*, synch: bool) -> TrialScheduler:
    return PopulationBasedTraining(
        "training_iteration",
        perturbation_interval=2,
        hyperparam_mutations={"lr": tune.uniform(0, 1), "width": lambda: random.randint(1, 99)},
        quantile_fraction=0.4,
        synch=synch,
    )


def _stopper(rng: random.Random, *, time_budget: bool) -> Limits:
    stoppers = [
        coerce(None),
        coerce({"training_iteration": rng.randint(1, 8)}),
        coerce(lucky),
        StopAtScore(0.995),
        TrialPlateauStopper("score", std=0.2, num_results=3),
        ExperimentPlateauStopper("score", std=0.005, top=3, mode="max", patience=3),
    ]
    stopper = rng.choice(stoppers)
    budget = rng.uniform(1, 60) if rng.random() < 0.2 else None
    return Limits(stopper, budget if time_budget else None)


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
                assert self.state.stop_reason is not None
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
        limit = state.spec.max_running
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
    for policy in (state.scheduler, state.searcher):
        if isinstance(policy, WatchfulScheduler | HesitantSearcher):
            ended &= policy.ended.keys()
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
