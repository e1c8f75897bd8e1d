"""What a scheduler's decision costs, with few trials and with many.

`python benchmarks/algorithms/decision_cost.py` prints the table of docs/guide/schedulers.md.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import tuner as tune
from tuner.experiment.trial import PAUSED, RUNNING, Trial
from tuner.schedulers import (
    ASHAScheduler,
    MedianStoppingRule,
    PopulationBasedTraining,
    TrialScheduler,
)

NUM_RESULTS = 10  # of each trial


class Population:
    """Trials that run all at once, as their scheduler sees them."""

    def __init__(self, scheduler: TrialScheduler, num_trials: int) -> None:
        self.scheduler = scheduler
        self.total_resources = {"CPU": float(num_trials)}
        self.expects_trials = False
        self.is_stalled = False
        self.pending_trials: list[Trial] = []
        self.paused: dict[str, Trial] = {}
        self.trials: list[Trial] = []
        scheduler.set_search_properties("loss", "min", seed=1)
        for number in range(num_trials):
            trial_id = f"t_{number:06d}"
            trial = Trial(
                trial_id=trial_id, number=number, config={"lr": 0.1}, trainable_name="f", path="/"
            )
            trial.set_status(RUNNING)
            self.trials.append(trial)
            scheduler.on_trial_add(self, trial)
        self.by_id = {trial.trial_id: trial for trial in self.trials}

    @property
    def running_trials(self) -> list[Trial]:
        return [trial for trial in self.trials if trial.status == RUNNING]

    @property
    def paused_trials(self) -> list[Trial]:
        return list(self.paused.values())

    def get_trial(self, trial_id: str) -> Trial | None:
        return self.by_id.get(trial_id)

    def fits(self, trial: Trial) -> bool:
        return True

    def costs(self) -> list[float]:
        """Seconds for each decision, with all that follows from it, in order."""
        rng = random.Random(0)
        live = {*self.by_id}
        costs = []
        for iteration in range(1, NUM_RESULTS + 1):
            for trial in self.trials:
                if trial.trial_id not in live:
                    continue
                trial.record_result({"loss": rng.random(), "training_iteration": iteration})
                trial.checkpoints = [trial.saved_as("checkpoint_000000", None)]
                began = time.perf_counter()
                decision = self.scheduler.on_trial_result(self, trial, trial.last_result)
                self._follow(trial, decision)
                costs.append(time.perf_counter() - began)
                if decision == TrialScheduler.STOP:
                    live.discard(trial.trial_id)
        return costs

    def _follow(self, trial: Trial, decision: str) -> None:
        scheduler = self.scheduler
        if decision == TrialScheduler.STOP:
            scheduler.on_trial_complete(self, trial, trial.last_result)
        elif decision == TrialScheduler.PAUSE:
            trial.status = PAUSED
            self.paused[trial.trial_id] = trial
            scheduler.on_trial_pause(self, trial)
            for change in [*scheduler.changes(self)]:
                if isinstance(change, tune.schedulers.Change):
                    scheduler.on_trial_change(self, self.by_id[change.trial_id], change)
            del self.paused[trial.trial_id]
            trial.status = RUNNING


def pbt() -> PopulationBasedTraining:
    return PopulationBasedTraining(
        time_attr="training_iteration",
        perturbation_interval=1,
        hyperparam_mutations={"lr": tune.loguniform(1e-4, 1)},
    )


CASES: dict[str, tuple[Callable[[], TrialScheduler], tuple[int, ...]]] = {
    "ASHA, 3 brackets": (lambda: ASHAScheduler(max_t=100, brackets=3), (1_000, 100_000)),
    "median stopping": (
        lambda: MedianStoppingRule(time_attr="training_iteration", grace_period=1),
        (1_000, 10_000),
    ),
    "PBT, each result a perturbation": (pbt, (100, 1_000)),
}


def main() -> None:
    print("| decision | trials | mean µs | of the last tenth | slowest, ms |")
    print("|---|---|---|---|---|")
    for title, (make, sizes) in CASES.items():
        for num_trials in sizes:
            costs = Population(make(), num_trials).costs()
            last = costs[-len(costs) // 10 :]
            mean, late = sum(costs) / len(costs) * 1e6, sum(last) / len(last) * 1e6
            print(
                f"| {title} | {num_trials} | {mean:.1f} | {late:.1f} | {max(costs) * 1e3:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
