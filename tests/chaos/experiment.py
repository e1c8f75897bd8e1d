"""The experiment that is killed, with a ledger of its own.

`experiment.py FOLDER STORAGE POLICY TRIALS` goes on with the experiment that is kept on a storage,
or begins it.

The ledger, in FOLDER, is what the trials themselves know: they note each report after it has
returned, and when. Nothing of the library takes part in it.
"""

from __future__ import annotations

import os
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import tuner as tune
from tuner.experiment import snapshots
from tuner.schedulers import ASHAScheduler, FIFOScheduler
from tuner.storage import lease

NUM_RESULTS = 9
STEP_S = 0.004
NAME = "run"
SYNC_PERIOD_S = 1.0
HOST = "TUNER_CHAOS_HOST"
LEASE = "TUNER_CHAOS_LEASE_S"
HOLD = "hold"
"""A file in the folder with the number of the first trial that waits in its midst."""


def note(folder: str, *words: object) -> None:
    line = " ".join(map(str, words)) + "\n"
    fd = os.open(os.path.join(folder, "ledger"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(fd, line.encode())
    os.close(fd)


def is_held(folder: str, trial: str) -> bool:
    try:
        return int(trial.rpartition("_")[2]) >= int(Path(folder, HOLD).read_text())
    except FileNotFoundError:
        return False


def train(config: dict[str, Any]) -> None:
    folder, trial, pid = config["folder"], tune.get_context().get_trial_id(), os.getpid()
    note(folder, "started", trial, pid)
    done = 0
    checkpoint = tune.get_checkpoint()
    if checkpoint is not None:
        with checkpoint.as_directory() as path:
            first, second = (int(Path(path, name).read_text()) for name in ("a", "b"))
        done = first
        if first != second:
            note(folder, "torn", trial, pid)
    for n in range(done + 1, NUM_RESULTS + 1):
        time.sleep(STEP_S)
        while n == NUM_RESULTS // 2 and is_held(folder, trial):
            time.sleep(STEP_S)
        metrics = {"loss": (config["x"] - 0.3) ** 2 + 1 / n, "n": n}
        if n % 3:
            tune.report(metrics)
        else:
            with tempfile.TemporaryDirectory() as path:
                for name in ("a", "b"):
                    Path(path, name).write_text(str(n))
                tune.report(metrics, checkpoint=tune.Checkpoint.from_directory(path))
        note(folder, "reported", trial, pid, n, time.time())


class Ends(tune.Callback):
    """Notes which trials have ended, as the driver knows it."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        note(self.folder, "ended", trial.trial_id, time.time())


def new_tuner(folder: str, storage: str, policy: str, num_trials: int) -> tune.Tuner:
    """An experiment whose outcome does not depend on which trial reports first.

    With ASHA only one trial runs at a time; otherwise two.
    """
    asha = ASHAScheduler(max_t=NUM_RESULTS, grace_period=3, reduction_factor=3)
    return tune.Tuner(
        train,
        param_space={"x": tune.uniform(0, 1), "folder": folder},
        tune_config=tune.TuneConfig(
            metric="loss",
            mode="min",
            num_samples=num_trials,
            seed=1,
            max_concurrent_trials=1 if policy == "asha" else 2,
            scheduler=asha if policy == "asha" else FIFOScheduler(),
        ),
        run_config=tune.RunConfig(
            name=NAME,
            storage_path=storage,
            sync_config=tune.SyncConfig(sync_period=SYNC_PERIOD_S),
            verbose=0,
            callbacks=[Ends(folder)],
            failure_config=tune.FailureConfig(max_failures=-1),
            checkpoint_config=tune.CheckpointConfig(num_to_keep=2),
        ),
    )


if __name__ == "__main__":
    where, storage, policy, num_trials = sys.argv[1:]
    # As an experiment of hours would write them: most restores here are to begin with one.
    snapshots.MIN_GROWTH_BYTES = 8 * 1024
    snapshots.MIN_PERIOD_S = 0.1
    if HOST in os.environ:  # several machines share the storage
        socket.gethostname = lambda: os.environ[HOST]
    lease.DURATION_S = float(os.environ.get(LEASE, lease.DURATION_S))
    url = f"{storage}/{NAME}"
    if tune.Tuner.can_restore(url):
        tune.Tuner.restore(url).fit()
    else:
        new_tuner(where, storage, policy, int(num_trials)).fit()
