"""What MLflow costs an experiment: seconds of training and of `fit()`, with it and without it.

    python benchmarks/mlflow_cost.py [--rounds 3]

A `mlflow server` on sqlite runs beside it on the same cores. Rounds alternate, so that both see the
same machine. Training is from the first fact of the journal to the last.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import tuner as tune
from tuner.experiment.journal_reader import JournalReader
from tuner.integrations.mlflow import MLflowLoggerCallback


def train(config: dict[str, Any]) -> None:
    """Reports, and sleeps before each result as one whose work is done by a GPU."""
    for i in range(config["results"]):
        if config["seconds"]:
            time.sleep(config["seconds"])
        tune.report({"loss": 1 / (i + 1)})


WORK = {
    "2 trials x 500 results, no work": (2, {"results": 500, "seconds": 0}),
    "2 trials x 500 results, 20 ms each": (2, {"results": 500, "seconds": 0.02}),
    "100 trials x 1 result": (100, {"results": 1, "seconds": 0}),
}


def run(num_trials: int, config: dict[str, Any], uri: str | None) -> tuple[float, float]:
    """Runs an experiment; seconds of training and of `fit()`."""
    callbacks = [MLflowLoggerCallback(uri, experiment_name=f"cost {time.time()}")] if uri else []
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        tune.Tuner(
            train,
            param_space=config,
            tune_config=tune.TuneConfig(num_samples=num_trials),
            run_config=tune.RunConfig(
                name="cost", storage_path=folder, verbose=0, callbacks=callbacks
            ),
        ).fit()
        total = time.monotonic() - began
        facts = list(JournalReader(f"{folder}/cost").read_all())
        return facts[-1].time - facts[0].time, total


@contextlib.contextmanager
def server() -> Iterator[str]:
    """A running MLflow server; its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder, open(Path(folder, "log"), "wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", str(port)],
            cwd=folder,
            stdout=log,
            stderr=log,
            env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            start_new_session=True,
        )
        try:
            uri = f"http://127.0.0.1:{port}"
            while True:
                with contextlib.suppress(OSError):
                    urlopen(f"{uri}/health").close()
                    break
                time.sleep(0.1)
            yield uri
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    print("| median seconds of | training off | on | `fit()` off | on |\n|---|---|---|---|---|")
    with server() as uri:
        for name, (num_trials, config) in WORK.items():
            pairs = [
                (run(num_trials, config, None), run(num_trials, config, uri)) for _ in range(rounds)
            ]
            cells = [
                statistics.median(pair[on][what] for pair in pairs)
                for what in (0, 1)
                for on in (0, 1)
            ]
            print(f"| {name} |", " | ".join(f"{cell:.2f}" for cell in cells), "|", flush=True)


if __name__ == "__main__":
    main()
