"""The experiment that is killed: `experiment.py fit|restore FOLDER`, with a ledger of its own.

The ledger is what the trials themselves know: they note each report after it has returned. Nothing
of the library takes part in it.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from typing import Any

import tuner as tune
from tuner.schedulers import ASHAScheduler

NUM_TRIALS = int(os.environ.get("CHAOS_TRIALS", "60"))
NUM_RESULTS = 9
STEP_S = 0.004
NAME = "run"


def note(folder: str, *words: object) -> None:
    line = " ".join(map(str, words)) + "\n"
    fd = os.open(os.path.join(folder, "ledger"), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, line.encode())
    os.close(fd)


def train(config: dict[str, Any]) -> None:
    folder, trial = config["folder"], tune.get_context().get_trial_id()
    note(folder, "started", trial, os.getpid())
    done = 0
    checkpoint = tune.get_checkpoint()
    if checkpoint is not None:
        with checkpoint.as_directory() as path, open(os.path.join(path, "done")) as file:
            done = int(file.read())
    for n in range(done + 1, NUM_RESULTS + 1):
        time.sleep(STEP_S)
        metrics = {"loss": (config["x"] - 0.3) ** 2 + 1 / n, "n": n}
        if n % 3:
            tune.report(metrics)
        else:
            with tempfile.TemporaryDirectory() as path:
                with open(os.path.join(path, "done"), "w") as file:
                    file.write(str(n))
                tune.report(metrics, checkpoint=tune.Checkpoint.from_directory(path))
        note(folder, "reported", trial, n)


class Ends(tune.Callback):
    """Notes which trials have ended, as the driver knows it."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        note(self.folder, "ended", trial.trial_id)


def tuner_for(how: str, folder: str) -> tune.Tuner:
    if how == "restore":
        return tune.Tuner.restore(os.path.join(folder, NAME))
    return tune.Tuner(
        train,
        param_space={"x": tune.uniform(0, 1), "folder": folder},
        tune_config=tune.TuneConfig(
            metric="loss",
            mode="min",
            num_samples=NUM_TRIALS,
            seed=1,
            max_concurrent_trials=int(os.environ.get("CHAOS_SLOTS", "2")),
            scheduler=ASHAScheduler(max_t=NUM_RESULTS, grace_period=3, reduction_factor=3),
        ),
        run_config=tune.RunConfig(
            name=NAME,
            storage_path=folder,
            verbose=0,
            callbacks=[Ends(folder)],
            failure_config=tune.FailureConfig(max_failures=-1),
            checkpoint_config=tune.CheckpointConfig(num_to_keep=2),
        ),
    )


if __name__ == "__main__":
    note(sys.argv[2], "driver", os.getpid())
    tuner_for(sys.argv[1], sys.argv[2]).fit()
