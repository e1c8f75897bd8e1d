"""An experiment of one slot whose outcome depends on its scheduler, and on no luck.

`scheduled.py FOLDER SCHEDULER` goes on with the experiment in the folder, or begins it.
"""

from __future__ import annotations

import importlib.util
import json
import math
import random
import sys
import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

import tuner as tune
from tuner.integrations.bohb import TuneBOHB
from tuner.schedulers import (
    PB2,
    ASHAScheduler,
    FIFOScheduler,
    HyperBandForBOHB,
    HyperBandScheduler,
    MedianStoppingRule,
    PopulationBasedTraining,
    PopulationBasedTrainingReplay,
    ResourceChangingScheduler,
    TrialScheduler,
)
from tuner.search import Searcher

NAME = "run"
NUM_TRIALS = 6
NUM_TRIALS_OF = {"pbt_replay": 1, "bohb": 14}  # the model of BOHB is made of the first four
NUM_RESULTS = 12


class Descent(tune.Trainable):
    """Gradient descent on a parabola; what it has learned is in its checkpoints."""

    def setup(self, config: dict[str, Any]) -> None:
        self.theta = 1.0

    def step(self) -> dict[str, Any]:
        lr = self.config["lr"] * (1 - self.config.get("momentum", 0))
        self.theta -= lr * (self.theta + math.sin(5 * self.theta))
        return {"loss": self.theta**2, "done": self.iteration + 1 == NUM_RESULTS}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        Path(checkpoint_dir, "theta").write_text(json.dumps(self.theta))

    def load_checkpoint(self, checkpoint: Any) -> None:
        self.theta = json.loads(Path(checkpoint, "theta").read_text())


def population(**options: Any) -> TrialScheduler:
    return PopulationBasedTraining(
        "training_iteration",
        perturbation_interval=3,
        hyperparam_mutations={
            "lr": tune.loguniform(1e-3, 1),
            "momentum": lambda: random.uniform(0, 0.9),  # a stream that a replay must not draw from
        },
        quantile_fraction=0.4,
        **options,
    )


def schedule() -> TrialScheduler:
    """A replay of a file that says: from another configuration after 4 and after 7 iterations."""
    configs = [{"lr": 0.5}, {"lr": 0.1}, {"lr": 0.02}]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        for donor, (at, (before, after)) in enumerate(zip((4, 7), pairwise(configs), strict=True)):
            file.write(json.dumps([f"{donor + 1}", f"{donor}", at, at, before, after]) + "\n")
        file.flush()
        return PopulationBasedTrainingReplay(file.name)


SCHEDULERS: dict[str, Callable[[], TrialScheduler]] = {
    "fifo": FIFOScheduler,
    "asha": lambda: ASHAScheduler(max_t=NUM_RESULTS, grace_period=2, reduction_factor=2),
    "hyperband": lambda: HyperBandScheduler(max_t=NUM_RESULTS, reduction_factor=2),
    "bohb": lambda: HyperBandForBOHB(max_t=NUM_RESULTS, reduction_factor=2),
    "median": lambda: MedianStoppingRule("training_iteration", grace_period=2),
    "median_pausing": lambda: MedianStoppingRule(
        "training_iteration", grace_period=2, hard_stop=False
    ),
    "pbt": population,
    "pbt_synch": lambda: population(synch=True),
    "pbt_replay": schedule,
    "pb2": lambda: PB2(
        "training_iteration", perturbation_interval=3, hyperparam_bounds={"lr": [0.001, 1.0]}
    ),
    "resources": lambda: ResourceChangingScheduler(population()),
}
SEARCHERS: dict[str, Callable[[], Searcher]] = {}
if importlib.util.find_spec("hpbandster") is not None:
    SEARCHERS["bohb"] = lambda: TuneBOHB(bohb_config={"random_fraction": 0})
"""By the scheduler that they are for; the other ones have random search."""


def new_tuner(folder: str, scheduler: str) -> tune.Tuner:
    """One trial runs at a time; so what comes first is no luck."""
    return tune.Tuner(
        Descent,
        param_space={"lr": tune.loguniform(1e-3, 1)},
        tune_config=tune.TuneConfig(
            metric="loss",
            mode="min",
            num_samples=NUM_TRIALS_OF.get(scheduler, NUM_TRIALS),
            max_concurrent_trials=1,
            scheduler=SCHEDULERS[scheduler](),
            search_alg=SEARCHERS[scheduler]() if scheduler in SEARCHERS else None,
            seed=3,
        ),
        run_config=tune.RunConfig(
            name=NAME,
            storage_path=folder,
            verbose=0,
            executor=tune.LocalExecutor(num_cpus=4),
            checkpoint_config=tune.CheckpointConfig(num_to_keep=1),
        ),
    )


def main() -> None:
    folder, scheduler = sys.argv[1], sys.argv[2]
    random.seed(5)
    np.random.seed(5)
    path = f"{folder}/{NAME}"
    tuner = (
        tune.Tuner.restore(path) if tune.Tuner.can_restore(path) else new_tuner(folder, scheduler)
    )
    tuner.fit()


if __name__ == "__main__":
    main()
