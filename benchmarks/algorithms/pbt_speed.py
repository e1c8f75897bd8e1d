"""Population based training of a function beside ray.tune: 4 trials, 20 iterations, 2 slots.

python benchmarks/algorithms/pbt_speed.py [--rounds 3]

Each figure comes from a fresh process, ours and ray's in turn; it is the time from the call of
`fit()` to its return. Starting ray is left out of ray's time.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SIDES = ("tuner", "ray", "tuner, reuse", "ray, reuse")
TRIALS, ITERATIONS, INTERVAL, SLOTS = 4, 20, 5, 2


def training_function(tune: Any) -> Any:
    def train(config: dict[str, Any]) -> None:
        checkpoint, weight, step = tune.get_checkpoint(), 0.0, 0
        if checkpoint is not None:
            with checkpoint.as_directory() as folder:
                weight, step = json.loads(Path(folder, "state.json").read_text())
        while step < ITERATIONS:
            step += 1
            weight += config["lr"]
            with tempfile.TemporaryDirectory() as folder:
                Path(folder, "state.json").write_text(json.dumps([weight, step]))
                is_due = step % INTERVAL == 0
                kept = tune.Checkpoint.from_directory(folder) if is_due else None
                tune.report({"score": weight}, checkpoint=kept)

    return train


def measure(side: str, folder: str) -> dict[str, float]:
    """Seconds of one experiment, and how many exploits it had."""
    library = "ray" if side.startswith("ray") else "tuner"
    if library == "ray":
        os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
        importlib.import_module("ray").init(num_cpus=SLOTS, log_to_driver=False)
    tune = importlib.import_module("ray.tune" if library == "ray" else "tuner")
    schedulers = importlib.import_module(f"{tune.__name__}.schedulers")
    options: dict[str, Any] = {}
    if library == "tuner":
        local = importlib.import_module("tuner.execution.local")
        options["executor"] = local.LocalExecutor(num_cpus=SLOTS)
    tuner = tune.Tuner(
        training_function(tune),
        param_space={"lr": tune.uniform(0, 1)},
        tune_config=tune.TuneConfig(
            metric="score",
            mode="max",
            num_samples=TRIALS,
            reuse_actors=side.endswith("reuse"),
            scheduler=schedulers.PopulationBasedTraining(
                "training_iteration",
                perturbation_interval=INTERVAL,
                hyperparam_mutations={"lr": tune.uniform(0, 1)},
            ),
        ),
        run_config=tune.RunConfig(
            name="population",
            storage_path=folder,
            verbose=0,
            stop={"training_iteration": ITERATIONS},
            **options,
        ),
    )
    began = time.perf_counter()
    results = tuner.fit()
    seconds = time.perf_counter() - began
    reached = [result.metrics["training_iteration"] for result in results]
    assert reached == [ITERATIONS] * TRIALS, reached
    log = Path(results.experiment_path, "pbt_global.txt")
    exploits = len(log.read_text().splitlines()) if log.exists() else 0
    return {"seconds": seconds, "exploits": exploits}


def in_a_fresh_process(side: str) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, __file__, "--side", side, "--folder", folder],
            capture_output=True,
            text=True,
            timeout=600,
        )
    lines = [line for line in done.stdout.splitlines() if line.startswith("FIGURES ")]
    if not lines:
        raise SystemExit(f"{side} failed:\n{done.stdout}\n{done.stderr}")
    figures: dict[str, float] = json.loads(lines[-1].removeprefix("FIGURES "))
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--side", choices=SIDES)
    parser.add_argument("--folder")
    arguments = parser.parse_args()
    if arguments.side:
        print("FIGURES " + json.dumps(measure(arguments.side, arguments.folder)), flush=True)
        return
    found: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    for _ in range(arguments.rounds):
        for side in SIDES:
            found[side].append(in_a_fresh_process(side))
    print("| | seconds: median (min to max) | exploits |\n|---|---|---|")
    for side, figures in found.items():
        seconds = [each["seconds"] for each in figures]
        exploits = [int(each["exploits"]) for each in figures]
        middle = statistics.median(seconds)
        print(f"| {side} | {middle:.2f} ({min(seconds):.2f} to {max(seconds):.2f}) | {exploits} |")


if __name__ == "__main__":
    main()
