"""An experiment of one slot whose outcome depends on its scheduler, and on no luck.

`scheduled.py FOLDER SCHEDULER` goes on with the experiment in the folder, or begins it.
"""

from __future__ import annotations

import json
import math
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import tuner as tune
from tuner.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler

NAME = "run"
NUM_TRIALS = 6
NUM_RESULTS = 12


class Descent(tune.Trainable):
    """Gradient descent on a parabola; what it has learned is in its checkpoints."""

    def setup(self, config: dict[str, Any]) -> None:
        self.theta = 1.0

    def step(self) -> dict[str, Any]:
        self.theta -= self.config["lr"] * (self.theta + math.sin(5 * self.theta))
        return {"loss": self.theta**2, "done": self.iteration + 1 == NUM_RESULTS}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        Path(checkpoint_dir, "theta").write_text(json.dumps(self.theta))

    def load_checkpoint(self, checkpoint: Any) -> None:
        self.theta = json.loads(Path(checkpoint, "theta").read_text())


SCHEDULERS: dict[str, Callable[[], TrialScheduler]] = {
    "fifo": FIFOScheduler,
    "asha": lambda: ASHAScheduler(max_t=NUM_RESULTS, grace_period=2, reduction_factor=2),
}


def new_tuner(folder: str, scheduler: str) -> tune.Tuner:
    return tune.Tuner(
        Descent,
        param_space={"lr": tune.loguniform(1e-3, 1)},
        tune_config=tune.TuneConfig(
            metric="loss",
            mode="min",
            num_samples=NUM_TRIALS,
            scheduler=SCHEDULERS[scheduler](),
            seed=3,
        ),
        run_config=tune.RunConfig(
            name=NAME,
            storage_path=folder,
            verbose=0,
            executor=tune.LocalExecutor(num_cpus=1),
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
