"""Experiments of many kinds: searchers, schedulers and stoppers that meet each other at random."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import tuner as tune
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
from tuner.search_space.variants import SearchSpace
from tuner.stoppers import ExperimentPlateauStopper, Stopper, TrialPlateauStopper, coerce
from tuner.stoppers.limits import Limits

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
        if vary and impossible and config["lr"] > 0.9:
            raise ValueError("no resources for such a rate")
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
