"""Drives an `ExperimentState` with random stimuli in an order that an executor could produce."""

from __future__ import annotations

import random
from typing import Any

import tuner as tune
from tuner.experiment.commands import Answer, EndAttempt, Launch
from tuner.experiment.events import (
    CapacityChanged,
    Fact,
    Failed,
    Finished,
    Reported,
    Saved,
    Stimulus,
    StopRequested,
    Tick,
)
from tuner.experiment.retention import Retention
from tuner.experiment.spec import ExperimentSpec
from tuner.experiment.state import ExperimentState
from tuner.experiment.trial_table import TrialTable
from tuner.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler
from tuner.search.basic_variant import BasicVariantGenerator
from tuner.search_space.variants import SearchSpace
from tuner.stoppers.coercion import coerce
from tuner.stoppers.combined import CombinedStopper
from tuner.stoppers.stopper import Stopper
from tuner.stoppers.timeout import TimeoutStopper

START = 1_000_000.0


class PausingScheduler(FIFOScheduler):
    """Pauses every trial at every third result, and stops bad ones."""

    def on_trial_result(self, experiment: Any, trial: Any, result: dict[str, Any]) -> str:
        if result["score"] < 0.05:
            return self.STOP
        return self.PAUSE if result["training_iteration"] % 3 == 0 else self.CONTINUE


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


def build_state(seed: int, path: str) -> ExperimentState:
    """One of many kinds of experiment; the same seed always builds the same one."""
    rng = random.Random(seed)
    space = {"lr": tune.uniform(0, 1), "kind": tune.choice(["a", "b"])}
    if rng.random() < 0.5:
        space["layers"] = tune.grid_search([1, 2])
    searcher = BasicVariantGenerator(max_concurrent=rng.choice([0, 0, 1, 2]))
    num_samples = rng.randint(1, 12)
    searcher.set_search_properties("score", "max", space, num_samples=num_samples, seed=seed)
    scheduler: TrialScheduler = rng.choice(
        [
            FIFOScheduler(),
            PausingScheduler(),
            AsyncHyperBandScheduler(max_t=9, grace_period=1, reduction_factor=3, brackets=2),
        ]
    )
    scheduler.set_search_properties("score", "max", seed=seed)
    stopper = coerce(
        rng.choice([None, {"training_iteration": rng.randint(1, 8)}, StopAtScore(0.995)])
    )
    if rng.random() < 0.2:
        stopper = CombinedStopper(stopper, TimeoutStopper(rng.uniform(1, 60)))
    vary = rng.random() < 0.3

    def bundles_for(config: dict[str, Any]) -> list[dict[str, float]]:
        return [{"CPU": 2.0 if vary and config["lr"] > 0.5 else 1.0}]

    spec = ExperimentSpec(
        path=path,
        trainable_name="train",
        param_space=SearchSpace(space),
        id_prefix="abc12",
        seed=seed,
        num_trials=searcher.total_samples(num_samples),
        max_running=rng.choice([None, None, 1, 3]),
        max_failures=rng.choice([0, 1, -1]),
        fail_fast=rng.random() < 0.15,
        bundles_for=bundles_for,
        bundles_vary=vary,
    )
    table = TrialTable(path, Retention(rng.choice([None, 1, 2]), rng.choice([None, "score"])))
    return ExperimentState(spec, table, searcher, scheduler, stopper)


class Driver:
    """Plays the executor: knows which attempts run and what each of them may do next.

    After every step it checks what must always hold.

    Args:
        state: The state machine, not yet started.
        seed: Decides what happens.
        can_stop: Whether the user may end the experiment.
    """

    def __init__(self, state: ExperimentState, seed: int, *, can_stop: bool = True) -> None:
        self.state = state
        self.facts: list[Fact] = []
        self.boundaries: list[int] = []
        self._rng = random.Random(seed * 7919 + 1)
        self._time = START
        self._can_stop = can_stop
        self._running: dict[str, int] = {}
        self._iterations: dict[str, int] = {}
        self._told: dict[str, str] = {}
        self._waiting: set[str] = set()
        self._cpus = float(self._rng.randint(2, 4))

    def run(self, max_steps: int = 4000) -> None:
        """Drives the experiment to its end."""
        self._carry_out(*self.state.start(self._time, "test"), [])
        self._give([CapacityChanged(self._time, {"CPU": self._cpus})])
        for _ in range(max_steps):
            if self.state.is_over:
                assert not self._running
                return
            self._give([self._stimulus() for _ in range(self._rng.randint(1, 3))])
        raise AssertionError("the experiment does not end")

    def _stimulus(self) -> Stimulus:
        self._time += self._rng.random()
        chance = self._rng.random()
        free = [trial_id for trial_id in self._running if trial_id not in self._waiting]
        if self._can_stop and chance < 0.002:
            return StopRequested(self._time, "asked to", resumable=self._rng.random() < 0.5)
        if not free or chance < 0.03:
            return Tick(self._time)
        trial_id = self._rng.choice(free)
        attempt = self._running[trial_id]
        if chance < 0.05:  # a message of a worker that was cut off
            return Reported(self._time, trial_id, attempt - 1, {"score": 0.5}, b"{}")
        if trial_id in self._told:
            return self._end(trial_id, attempt)
        if chance < 0.1:
            self._forget(trial_id)
            return Failed(self._time, trial_id, attempt, "Traceback: no luck")
        if chance < 0.15:
            self._forget(trial_id)
            return Finished(self._time, trial_id, attempt)
        return self._report(trial_id, attempt)

    def _end(self, trial_id: str, attempt: int) -> Stimulus:
        chance = self._rng.random()
        if self._told[trial_id] == "PAUSE" and chance < 0.5:
            self._told[trial_id] = "PAUSED"
            name = f"checkpoint_{self.state.table[trial_id].next_checkpoint:06d}"
            return Saved(self._time, trial_id, attempt, name)
        self._forget(trial_id)
        if chance > 0.9:
            return Failed(self._time, trial_id, attempt, "failed while it was cleaning up")
        return Finished(self._time, trial_id, attempt)

    def _report(self, trial_id: str, attempt: int) -> Stimulus:
        self._iterations[trial_id] += 1
        self._waiting.add(trial_id)
        checkpoint = None
        if self._rng.random() < 0.3:
            checkpoint = f"checkpoint_{self.state.table[trial_id].next_checkpoint:06d}"
        score = self._rng.random() if self._rng.random() < 0.95 else float("nan")
        result = {
            "score": score,
            "training_iteration": self._iterations[trial_id],
            "time_total_s": float(self._iterations[trial_id]),
            "done": False,
            "checkpoint_dir_name": checkpoint,
        }
        return Reported(self._time, trial_id, attempt, result, encoded(result), checkpoint)

    def _forget(self, trial_id: str) -> None:
        del self._running[trial_id]
        self._told.pop(trial_id, None)

    def _give(self, stimuli: list[Stimulus]) -> None:
        waiting = {s.trial_id: s.attempt for s in stimuli if isinstance(s, Reported)}
        live = {t: a for t, a in waiting.items() if self._running.get(t) == a}
        facts, commands = self.state.handle(stimuli)
        answers = [c.trial_id for c in commands if isinstance(c, Answer)]
        assert sorted(answers) == sorted(live), "every live report gets exactly one answer"
        self._carry_out(facts, commands, answers)
        self._check()

    def _carry_out(self, facts: Any, commands: Any, answers: list[str]) -> None:
        self.facts.extend(facts)
        self.boundaries.append(len(self.facts))
        self._waiting.difference_update(answers)
        for command in commands:
            if isinstance(command, Launch):
                trial_id = command.trial.trial_id
                assert trial_id not in self._running, "launched while it runs"
                self._running[trial_id] = command.attempt
                self._iterations[trial_id] = command.progress.iteration
            elif isinstance(command, Answer) and command.decision != "CONTINUE":
                self._told[command.trial_id] = command.decision
            elif isinstance(command, EndAttempt) and command.trial_id in self._running:
                self._told.setdefault(command.trial_id, "KILL")

    def _check(self) -> None:
        state = self.state
        used = sum(state.table[t].bundles[0]["CPU"] for t in self._running)
        assert state.capacity.used.get("CPU", 0.0) == used <= self._cpus
        limit = state.spec.max_running
        assert limit is None or len(self._running) <= limit
        counts = {status: n for status, n in state.table.counts.items() if n}
        actual: dict[str, int] = {}
        for trial in state.trials:
            actual[trial.status] = actual.get(trial.status, 0) + 1
        assert counts == actual


def encoded(result: dict[str, Any]) -> bytes:
    """A result as a worker would send it."""
    from tuner.experiment import codec

    return codec.encode_metrics(result)


def picture(state: ExperimentState) -> dict[str, Any]:
    """Everything about trials and policies that a replay must bring back, as comparable text."""
    import pickle

    trials = [
        {
            "id": trial.trial_id,
            "config": repr(trial.config),
            "status": trial.status,
            "attempt": trial.attempt,
            "failures": trial.num_failures,
            "error": trial.error,
            "last": repr(trial.last_result),
            "analysis": repr(trial.metric_analysis),
            "checkpoints": repr(trial.checkpoints),
            "next": trial.next_checkpoint,
        }
        for trial in state.trials
    ]
    return {
        "trials": trials,
        "searcher": repr(state.searcher.get_state()),
        "scheduler": pickle.dumps(state.scheduler).hex(),
        "stopper": repr(_plain(state.stopper)),
        "reason": state.stop_reason,
        "used": {name: amount for name, amount in state.capacity.used.items() if amount},
    }


def _plain(stopper: Any) -> Any:
    return {
        name: [_plain(item) for item in value] if name.endswith("stoppers") else repr(value)
        for name, value in vars(stopper).items()
    }
