"""PB2 beside PBT with a population of four: reinforcement learning of a pole on a cart.

    python benchmarks/algorithms/pb2_population.py               # minutes
    python benchmarks/algorithms/pb2_population.py --seeds 2 --out /tmp/pb2

Both get the same first configurations, bounds and interval, and their own defaults otherwise. The
learning rate spans four decades; large ones learn fast at first, and unlearn later. Writes
`pb2_population.json` and `pb2_population.png`.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from cart_pole import CartPole
from numpy.typing import NDArray

import tuner as tune
from tuner.schedulers import PB2, PopulationBasedTraining, TrialScheduler

POPULATION = 4
INTERVAL = 5
ITERATIONS = 100
BOUNDS = {"rate": tune.loguniform(0.01, 100), "discount": tune.uniform(0.8, 0.999)}


def schedulers() -> dict[str, TrialScheduler]:
    """What is compared, by name."""
    common: dict[str, Any] = {
        "time_attr": "training_iteration",
        "perturbation_interval": INTERVAL,
        "log_config": False,
        "synch": True,  # so that the order in which trials report plays no part
    }
    return {
        "PBT": PopulationBasedTraining(hyperparam_mutations=dict(BOUNDS), **common),
        "PB2": PB2(hyperparam_bounds=BOUNDS, **common),
    }


def best_rewards(scheduler: TrialScheduler, seed: int, iterations: int) -> NDArray[np.float64]:
    """For each interval, the best reward of a trial up to there, averaged over the interval."""
    with tempfile.TemporaryDirectory() as folder:
        results = tune.Tuner(
            CartPole,
            param_space={"seed": seed, "trial": tune.grid_search(list(range(POPULATION)))} | BOUNDS,
            tune_config=tune.TuneConfig(
                metric="reward", mode="max", scheduler=scheduler, seed=seed, reuse_actors=True
            ),
            run_config=tune.RunConfig(
                storage_path=folder,
                verbose=0,
                stop={"training_iteration": iterations},
                executor=tune.LocalExecutor(num_cpus=POPULATION),
            ),
        ).fit()
        rewards = np.full((POPULATION, iterations), np.nan)
        for number, result in enumerate(results):
            for row in result.history():  # one that goes on from another skips what that one has
                rewards[number, row["training_iteration"] - 1] = row["reward"]
    means = rewards.reshape(POPULATION, -1, INTERVAL).mean(axis=2)
    return np.asarray(np.maximum.accumulate(np.nanmax(means, axis=0)))


def figures(curves: dict[str, NDArray[np.float64]]) -> dict[str, Any]:
    """Medians and quartiles over the seeds, and how often PB2 is ahead of PBT.

    Args:
        curves: For each scheduler, rewards by seed and interval.
    """
    num_seeds, num_intervals = curves["PB2"].shape
    summary: dict[str, Any] = {"seeds": num_seeds, "iterations": INTERVAL * num_intervals}
    for name, rewards in curves.items():
        quartiles = np.percentile(rewards, [25, 50, 75], axis=0)
        summary[name] = {
            "final_quartiles": quartiles[:, -1].round(1).tolist(),
            "mean_over_time_median": round(float(np.median(rewards.mean(axis=1))), 1),
            "reach_400": int((rewards[:, -1] >= 400).sum()),
        }
    ahead = curves["PB2"].mean(axis=1) > curves["PBT"].mean(axis=1)
    summary["pb2_ahead_over_time"] = int(ahead.sum())
    summary["pb2_ahead_in_the_end"] = int((curves["PB2"][:, -1] > curves["PBT"][:, -1]).sum())
    return summary


def plot(curves: dict[str, NDArray[np.float64]], path: Path) -> None:
    """The medians over time, with the quartiles as a band."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.2), layout="constrained")
    for (name, rewards), color in zip(curves.items(), ("tab:gray", "tab:blue"), strict=True):
        low, median, high = np.percentile(rewards, [25, 50, 75], axis=0)
        iterations = INTERVAL * np.arange(1, len(median) + 1)
        axes.plot(iterations, median, color=color, label=f"{name}, median and quartiles")
        axes.fill_between(iterations, low, high, color=color, alpha=0.2, linewidth=0)
    axes.set(
        title=f"Cart-pole, a population of {POPULATION}, {len(rewards)} seeds",
        xlabel="training iteration (8 episodes each)",
        ylabel="steps balanced by the best trial so far",
        ylim=(0, 510),
    )
    axes.legend(loc="lower right", frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=24)
    parser.add_argument("--iterations", type=int, default=ITERATIONS)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    arguments = parser.parse_args()

    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    rows: dict[str, list[NDArray[np.float64]]] = {name: [] for name in schedulers()}
    for seed in range(arguments.seeds):
        for name, scheduler in schedulers().items():
            rows[name].append(best_rewards(scheduler, seed, arguments.iterations))
            print(f"seed {seed}, {name}: {rows[name][-1][-1]:.0f} steps", flush=True)
    curves = {name: np.array(rewards) for name, rewards in rows.items()}
    summary = figures(curves)
    arguments.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(summary, indent=2)
    (arguments.out / "pb2_population.json").write_text(text + "\n")
    plot(curves, arguments.out / "pb2_population.png")
    print(text)


if __name__ == "__main__":
    main()
