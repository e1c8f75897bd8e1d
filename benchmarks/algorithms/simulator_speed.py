"""How fast the simulator is: ASHA over a generator, no files per trial.

    python benchmarks/algorithms/simulator_speed.py [trials] [workers]

prints trials, results, seconds, trials per second and the peak of memory. On a machine that others
use as well, the seconds of the processor tell more than those of the clock.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import tuner as tune
from tuner.schedulers import ASHAScheduler

TRIALS, WORKERS = 100_000, 1_000


def train(config: dict[str, Any]) -> Iterator[tuple[dict[str, float], float]]:
    """A loss that falls exponentially to a floor, one step in about a second."""
    loss = 1.0
    while True:
        loss += config["rate"] * (config["floor"] - loss)
        yield {"loss": loss}, config["seconds"]


def simulate(num_trials: int, num_workers: int, folder: str) -> tune.ResultGrid:
    """Runs the experiment in `folder`."""
    return tune.Tuner(
        train,
        param_space={
            "rate": tune.loguniform(1e-4, 1e-1),
            "floor": tune.uniform(0, 1),
            "seconds": tune.loguniform(0.5, 2),
        },
        tune_config=tune.TuneConfig(
            metric="loss",
            mode="min",
            num_samples=num_trials,
            seed=1,
            scheduler=ASHAScheduler(max_t=256, grace_period=1, reduction_factor=4),
        ),
        run_config=tune.RunConfig(
            name="simulator_speed",
            storage_path=folder,
            verbose=0,
            executor=tune.SimulatedExecutor(num_workers),
        ),
    ).fit()


def main() -> None:
    """Runs it and prints one line."""
    num_trials, num_workers = [*map(int, sys.argv[1:]), *(TRIALS, WORKERS)[len(sys.argv) - 1 :]]
    with tempfile.TemporaryDirectory() as folder:
        began, used = time.perf_counter(), time.process_time()
        results = simulate(num_trials, num_workers, folder)
        seconds, used = time.perf_counter() - began, time.process_time() - used
    num_results = sum(result.metrics["training_iteration"] for result in results)
    virtual = max(result.metrics["timestamp"] for result in results)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{num_trials} trials, {num_results} results on {num_workers} workers in {virtual} virtual "
        f"seconds: {seconds:.1f} s ({used:.1f} s of the processor), "
        f"{num_trials / seconds:.0f} trials/s, {num_results / seconds:.0f} results/s, "
        f"{peak:.0f} MiB"
    )


if __name__ == "__main__":
    main()
