"""An experiment with a server, in a process of its own, that others steer."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from fit_helpers import marked_processes, start_script, wait_until

from tuner.server import TuneClient

SCRIPT = """
import time
import tuner as tune

def train(config):
    for i in range(10**9):
        time.sleep(0.01)
        tune.report({"i": i, "loss": 1 / (i + 1), "worst": float("nan")})

tune.Tuner(
    TRAINABLE,
    param_space=SPACE,
    tune_config=tune.TuneConfig(
        metric="loss", mode="min", num_samples=NUM_SAMPLES, max_concurrent_trials=2,
        OPTIONS
    ),
    run_config=tune.RunConfig(name="steered", server=tune.ServerConfig(port=0)),
).fit()
print("it is over", flush=True)
"""


@contextlib.contextmanager
def steered(
    folder: Path,
    *,
    space: str = '{"lr": tune.uniform(0, 1)}',
    num_samples: int = 2,
    trainable: str = "train",
    options: str = "",
) -> Iterator[tuple[TuneClient, str]]:
    """A running experiment: a client of it, and the token that it printed.

    It has to end within the `with` block, and must leave nothing behind.
    """
    mark = str(folder)
    text = SCRIPT.replace("SPACE", space).replace("NUM_SAMPLES", str(num_samples))
    text = text.replace("TRAINABLE", trainable).replace("OPTIONS", options)
    script = start_script(text, folder, mark)
    assert script.stdout is not None
    try:
        for line in script.stdout:
            sys.stdout.write(line)
            if line.startswith("Watch and steer it at "):
                break
        address, token = line.split()[5].rstrip(","), line.split()[7]
        with TuneClient(address, token) as client:
            yield client, token
        rest = script.stdout.read()
        assert "it is over" in rest, rest
        assert script.wait() == 0
        wait_until(lambda: not marked_processes(mark))
    finally:
        script.kill()
        script.stdout.close()
