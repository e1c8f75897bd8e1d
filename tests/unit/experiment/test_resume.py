"""Killed and resumed any number of times, an experiment ends as if it had not been."""

from __future__ import annotations

import dataclasses
import logging
import random
from typing import Any

import pytest
from random_experiments import build_state
from state_driver import START, picture

from tuner import codec
from tuner.config import ResumeConfig
from tuner.experiment import journal_format
from tuner.experiment.commands import Answer, Command, EndAttempt, Launch
from tuner.experiment.events import (
    CapacityChanged,
    ExperimentStarted,
    Fact,
    Failed,
    Finished,
    Reported,
    Saved,
    Stimulus,
    Tick,
    TrialLaunched,
    TrialRequeued,
    TrialResult,
)
from tuner.experiment.state import ExperimentState
from tuner.experiment.trial import ERROR, TERMINATED


def sequential_state(seed: int) -> ExperimentState:
    """One of many kinds of experiment: with one slot, and with no limit in time."""
    state = build_state(seed, "/exp", time_budget=False)
    state.spec = dataclasses.replace(
        state.spec,
        max_running=1,
        max_failures=abs(state.spec.max_failures),  # a trial that always fails would never end
        bundles_for=lambda config: [{"CPU": 1.0}],
        bundles_vary=False,
        saves_when_told=True,
    )
    return state


class World:
    """An executor for deterministic trainables and one slot, and a journal; both can be killed.

    Args:
        seed: Decides what the experiment is, and what its trials do.
        kills: Decides when it is killed; never, without it.
        tears: Whether some lines of one write may be lost, as by a loss of power.
    """

    def __init__(
        self, seed: int, kills: random.Random | None = None, *, tears: bool = False
    ) -> None:
        self.seed = seed
        self.kills = kills
        self.tears = tears
        self.num_kills = 0
        self.journal: list[bytes] = []
        self.facts: list[Fact] = []
        self.state = sequential_state(seed)
        self._time = START
        self._running: Launch | None = None
        self._told: str | None = None
        self._iteration = 0
        self._is_saved = True

    def run(self) -> ExperimentState:
        self._take(*self.state.start(self._time, "test"))
        self._give(CapacityChanged(self._time, {"CPU": 1.0}))
        for _ in range(5000):
            if self.state.is_over:
                return self.state
            self._give(self._next())
        raise AssertionError("the experiment does not end")

    def _next(self) -> Stimulus:
        """What happens next: it depends on the trial and how far it has come, and on no luck."""
        self._time += 1.0
        launch = self._running
        if launch is None:
            return Tick(self._time)
        trial_id, attempt = launch.trial.trial_id, launch.attempt
        fate = random.Random(f"{self.seed} {launch.trial.number}")
        length, saved_every, broken_at = fate.randint(1, 9), fate.randint(1, 4), fate.randint(1, 20)
        if self._told in ("PAUSE", "SAVE") and not self._is_saved:
            self._is_saved = True
            name = f"checkpoint_{launch.trial.next_checkpoint:06d}"
            return Saved(self._time, trial_id, attempt, name)
        if self._told not in (None, "SAVE") or self._iteration >= length:
            self._running = None
            return Finished(
                self._time, trial_id, attempt, interrupted=self._told not in (None, "SAVE")
            )
        self._iteration += 1
        if self._iteration == broken_at:
            self._running = None
            return Failed(self._time, trial_id, attempt, "Traceback: always here")
        checkpoint = None
        if self._iteration % saved_every == 0:
            checkpoint = f"checkpoint_{launch.trial.next_checkpoint:06d}"
        score = random.Random(f"{self.seed} {launch.trial.number} {self._iteration}").random()
        result = {
            "score": score,
            "training_iteration": self._iteration,
            "time_total_s": 1.0,
            "checkpoint_dir_name": checkpoint,
        }
        self._is_saved = checkpoint is not None
        return Reported(
            self._time, trial_id, attempt, result, codec.encode_metrics(result), checkpoint
        )

    def _give(self, stimulus: Stimulus) -> None:
        self._take(*self.state.handle([stimulus]))

    def _take(self, facts: list[Fact], commands: list[Command]) -> None:
        """Journals the facts and carries the commands out, or is killed on the way."""
        is_killed = self.kills is not None and self.kills.random() < 0.1
        if is_killed and self.kills is not None:
            some = range(len(facts) + 1) if self.tears else (0, len(facts))
            facts = facts[: self.kills.choice(some)]
        for fact in facts:
            self.facts.append(fact)
            self.journal.append(journal_format.encode(len(self.journal) + 1, fact))
        if is_killed:
            self._begin_again()
            return
        for command in commands:
            self._do(command)

    def _do(self, command: Command) -> None:
        if isinstance(command, Launch):
            assert self._running is None
            self._running, self._told = command, None
            self._iteration = command.progress.iteration
            self._is_saved = True
        elif isinstance(command, Answer):
            self._told = None if command.decision == "CONTINUE" else command.decision
        elif isinstance(command, EndAttempt):
            self._told = "STOP"

    def _begin_again(self) -> None:
        self.num_kills += 1
        self._running = None
        self._time += 100.0
        self.state = sequential_state(self.seed)
        for line in self.journal:
            self.state.replay(journal_format.decode(line[:-1])[1])
        if not self.journal:
            self._take(*self.state.start(self._time, "test"))
        else:
            self._take(*self.state.resume(self._time, "test", ResumeConfig()))
        if self._running is None and not self.state.is_over:
            self._give(CapacityChanged(self._time, {"CPU": 1.0}))


def outcome(state: ExperimentState) -> dict[str, Any]:
    """What must not depend on kills: trials with their results, and what the policies know."""
    shown = picture(state)
    return {
        "trials": [
            (
                trial.trial_id,
                trial.config,
                trial.status,
                trial.num_results,
                trial.last_result,
                trial.metric_analysis,
                trial.error,
            )
            for trial in state.trials
        ],
        "searcher": shown["searcher"],
        "scheduler": shown["scheduler"],
        "stopper": shown["stopper"],
    }


@pytest.mark.parametrize(
    "seed", [*range(80), *(pytest.param(n, marks=pytest.mark.slow) for n in range(80, 300))]
)
def test_kills_change_nothing(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    whole = outcome(World(seed).run())
    killed = World(seed, random.Random(seed))
    with caplog.at_level(logging.WARNING):
        state = killed.run()
    assert "which wins" not in caplog.text
    assert repr(outcome(state)) == repr(whole), f"after {killed.num_kills} kills"


@pytest.mark.slow
def test_the_kills_are_many_and_no_finished_trial_runs_again() -> None:
    num_kills = num_repeated = 0
    for seed in range(0, 300, 3):
        world = World(seed, random.Random(seed), tears=True)
        world.run()
        num_kills += world.num_kills
        ended: set[str] = set()
        seen: dict[str, int] = {}
        for fact in world.facts:
            if isinstance(fact, TrialLaunched | TrialRequeued):
                assert fact.trial_id not in ended
            if isinstance(fact, TrialResult):
                iteration = fact.result["training_iteration"]
                num_repeated += iteration <= seen.get(fact.trial_id, 0)
                seen[fact.trial_id] = iteration
            if getattr(fact, "status", None) in (TERMINATED, ERROR):
                ended.add(fact.trial_id)
    assert num_kills > 200
    assert num_repeated > 50


def test_a_journal_that_holds_only_its_beginning_is_gone_on_with() -> None:
    state = sequential_state(3)
    state.replay(ExperimentStarted(time=1.0, seed=3, version="test"))
    facts, commands = state.resume(2.0, "test", ResumeConfig())
    assert [type(fact) for fact in facts] == [ExperimentStarted]
    assert commands == []
