"""Experiments of a few trials, told word by word, with policies that keep what they are told."""

from __future__ import annotations

import dataclasses
from typing import Any

from tuner import codec
from tuner.experiment.commands import Answer, Command
from tuner.experiment.events import (
    CapacityChanged,
    Fact,
    Failed,
    Finished,
    Reported,
    Stimulus,
    StopRequested,
    TrialResult,
)
from tuner.experiment.spec import ExperimentSpec
from tuner.experiment.state import ExperimentState
from tuner.experiment.trial_table import TrialTable
from tuner.schedulers import FIFOScheduler, TrialScheduler
from tuner.search import Searcher
from tuner.search_space.variants import SearchSpace
from tuner.stoppers import Stopper
from tuner.stoppers.limits import Limits

NOW = 50.0


class Counting(Searcher):
    """Proposes `{"x": 0}`, `{"x": 1}`, … and keeps what it is told."""

    def __init__(self, num_trials: int = 3) -> None:
        super().__init__()
        self.num_trials = num_trials
        self.proposed = 0
        self.told: list[tuple[Any, ...]] = []

    def suggest(self, trial_id: str) -> Any:
        if self.proposed == self.num_trials:
            return self.FINISHED
        self.proposed += 1
        return {"x": self.proposed - 1}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        self.told.append(("result", trial_id, result["n"]))

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        self.told.append(("complete", trial_id, result and result["n"], error))


class Recording(FIFOScheduler):
    """Answers what it is told to, and keeps what it is told."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.told: list[tuple[str, str]] = []

    def on_trial_add(self, experiment: Any, trial: Any) -> None:
        self.told.append(("add", trial.trial_id))

    def on_trial_result(self, experiment: Any, trial: Any, result: dict[str, Any]) -> str:
        self.told.append(("result", trial.trial_id))
        return self.answers.pop(0) if self.answers else self.CONTINUE

    def on_trial_error(self, experiment: Any, trial: Any) -> None:
        self.told.append(("error", trial.trial_id))

    def on_trial_complete(self, experiment: Any, trial: Any, result: dict[str, Any]) -> None:
        self.told.append(("complete", trial.trial_id))

    def on_trial_remove(self, experiment: Any, trial: Any) -> None:
        self.told.append(("remove", trial.trial_id))


class Play:
    """An experiment with one word for each thing that can happen in it."""

    def __init__(
        self,
        *,
        searcher: Searcher | None = None,
        scheduler: TrialScheduler | None = None,
        stopper: Stopper | None = None,
        cpus: float = 2.0,
        **fields: Any,
    ) -> None:
        spec: dict[str, Any] = {
            "path": "/exp",
            "trainable_name": "train",
            "param_space": SearchSpace({}),
            "id_prefix": "t",
            "seed": 0,
            "num_trials": None,
            "max_running": None,
            "max_failures": 0,
            "fail_fast": False,
            "bundles_for": lambda config: [{"CPU": 1.0}],
            **fields,
        }
        self.spec = ExperimentSpec(**spec)
        self.searcher: Any = Counting() if searcher is None else searcher
        self.scheduler: Any = Recording() if scheduler is None else scheduler
        table = TrialTable("/exp")
        limits = Limits(stopper)
        self.state = ExperimentState(self.spec, table, self.searcher, self.scheduler, limits)
        self.facts, _ = self.state.start(NOW, "test")
        self.commands: list[Command] = []
        self.give(CapacityChanged(NOW, {"CPU": cpus}))

    def give(self, *stimuli: Stimulus) -> list[Fact]:
        facts, self.commands = self.state.handle(stimuli)
        self.facts += facts
        return facts

    def report(self, number: int, n: int = 1, **fields: Any) -> str:
        self.give(self.reported(number, n, **fields))
        (answer,) = (c for c in self.commands if isinstance(c, Answer))
        return answer.decision

    def reported(self, number: int, n: int = 1, **fields: Any) -> Reported:
        result = {"n": n, "training_iteration": n, "done": False, **fields}
        raw = codec.encode_metrics(result)
        return Reported(NOW, self.id(number), self.attempt(number), result, raw)

    def finish(self, number: int, *, interrupted: bool = False) -> list[Fact]:
        return self.give(Finished(NOW, self.id(number), self.attempt(number), interrupted))

    def fail(self, number: int) -> list[Fact]:
        return self.give(Failed(NOW, self.id(number), self.attempt(number), "no luck"))

    def stop(self, *, resumable: bool) -> list[Fact]:
        return self.give(StopRequested(NOW, "asked to", resumable))

    def id(self, number: int) -> str:
        return f"t_{number:05d}"

    def attempt(self, number: int) -> int:
        return self.state.trials[number].attempt

    @property
    def statuses(self) -> str:
        """The first letters, PAUSED as a small p."""
        return "".join(
            "p" if trial.status == "PAUSED" else trial.status[0] for trial in self.state.trials
        )

    def replayed(self, searcher: Searcher, scheduler: TrialScheduler) -> ExperimentState:
        """Other policies after a replay of all facts, as the journal has them."""
        table = TrialTable("/exp")
        state = ExperimentState(self.spec, table, searcher, scheduler, Limits(None))
        for fact in self.facts:
            if isinstance(fact, TrialResult):
                assert fact.raw is not None
                fact = dataclasses.replace(fact, result=codec.decode(fact.raw))
            state.replay(fact)
        return state


def of_kind(kind: type, facts: list[Fact]) -> list[Any]:
    return [fact for fact in facts if isinstance(fact, kind)]
