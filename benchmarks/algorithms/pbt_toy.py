"""Figure 2 of Jaderberg et al. 2017: population based training finds what nothing else here does.

python benchmarks/algorithms/pbt_toy.py             # writes pbt_toy.json and pbt_toy.png beside it

Two workers maximize Q(theta) = 1.2 - theta0^2 - theta1^2, but can only climb the surrogate
Q_hat(theta | h) = 1.2 - h0 theta0^2 - h1 theta1^2. They begin at theta = (0.9, 0.9), one with
h = (1, 0), the other with h = (0, 1): each is blind to one coordinate.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import tuner as tune
from tuner.schedulers import Change, FIFOScheduler, PopulationBasedTraining, TrialScheduler

STEPS, INTERVAL = 120, 4
LEARNING_RATE = 0.02
NOISE = 0.1  # standard deviation of what explore adds to h
SEEDS = range(20)
HERE = Path(__file__).parent


class Climber(tune.Trainable):
    """Gradient ascent on the surrogate; its weights are theta."""

    def setup(self, config: dict[str, Any]) -> None:
        self.theta = np.array([0.9, 0.9])

    def step(self) -> dict[str, Any]:
        self.theta -= LEARNING_RATE * 2 * np.array(self.config["h"]) * self.theta
        return {"q": float(1.2 - self.theta @ self.theta), "theta": self.theta.tolist()}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        return {"theta": self.theta.tolist()}

    def load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.theta = np.array(checkpoint["theta"])

    def reset_config(self, config: dict[str, Any]) -> bool:
        self.setup(config)
        return True


class ExploreOnly(PopulationBasedTraining):
    """The worse worker changes its hyperparameters, and keeps its weights."""

    def _exploit(self, experiment: Any, trial: Any, donors: Sequence[str]) -> Change:
        member = self._live[trial.trial_id]
        seed = self._stream_seed("explore", member.number, member.num_changes)
        config = self._new_config(experiment, trial, trial, seed)
        return Change(trial_id=trial.trial_id, config=config)


def perturbed(config: dict[str, Any]) -> dict[str, Any]:
    noise = np.random.normal(0, NOISE, size=2)
    return {**config, "h": np.clip(config["h"] + noise, 0, 1).tolist()}


def scheduler(method: str) -> TrialScheduler:
    kinds = {
        "PBT": (PopulationBasedTraining, perturbed),
        "explore only": (ExploreOnly, perturbed),
        "exploit only": (PopulationBasedTraining, dict),
    }
    if method not in kinds:
        return FIFOScheduler()
    kind, explore = kinds[method]
    return kind(
        "training_iteration",
        perturbation_interval=INTERVAL,
        quantile_fraction=0.5,
        custom_explore_fn=explore,
        synch=True,
    )


METHODS = ("PBT", "explore only", "exploit only", "grid search")


def train(method: str, seed: int) -> list[list[dict[str, Any]]]:
    """The results of both workers, one for each step."""
    with tempfile.TemporaryDirectory() as folder:
        results = tune.Tuner(
            Climber,
            param_space={"h": tune.grid_search([[1.0, 0.0], [0.0, 1.0]])},
            tune_config=tune.TuneConfig(
                metric="q", mode="max", scheduler=scheduler(method), seed=seed, reuse_actors=True
            ),
            run_config=tune.RunConfig(
                storage_path=folder,
                verbose=0,
                executor="inline",
                stop={"training_iteration": STEPS},
                checkpoint_config=tune.CheckpointConfig(num_to_keep=1),
            ),
        ).fit()
        return [list(result.history()) for result in results]


def final_q(workers: list[list[dict[str, Any]]]) -> float:
    """Q of the better worker at the end."""
    return max(float(rows[-1]["q"]) for rows in workers)


def plot(runs: dict[str, list[list[dict[str, Any]]]], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(2, len(METHODS), figsize=(13, 6.2), layout="constrained")
    for (above, below), method in zip(axes.T, METHODS, strict=True):
        for rows, color in zip(runs[method], ("tab:red", "black"), strict=True):
            theta = np.array([[0.9, 0.9], *(row["theta"] for row in rows)])
            above.scatter(theta[:, 0], theta[:, 1], s=7, color=color)
            below.plot(range(1, STEPS + 1), [row["q"] for row in rows], color=color)
        above.set(title=method, xlabel="theta 0", xlim=(-0.05, 1), ylim=(-0.05, 1))
        below.set(xlabel="step", ylim=(-0.5, 1.3))
        below.axhline(1.2, color="grey", linewidth=0.8, linestyle=":")
    axes[0, 0].set_ylabel("theta 1")
    axes[1, 0].set_ylabel("Q")
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE)
    parser.add_argument("--seeds", type=int, default=len(SEEDS))
    arguments = parser.parse_args()
    runs = {
        method: [train(method, seed) for seed in SEEDS[: arguments.seeds]] for method in METHODS
    }
    figures = {
        method: {
            "median": round(statistics.median(map(final_q, found)), 3),
            "min": round(min(map(final_q, found)), 3),
            "max": round(max(map(final_q, found)), 3),
        }
        for method, found in runs.items()
    }
    text = json.dumps({"seeds": arguments.seeds, "q": figures}, indent=2)
    (arguments.out / "pbt_toy.json").write_text(f"{text}\n")
    middle = sorted(range(arguments.seeds), key=lambda seed: final_q(runs["PBT"][seed]))
    shown = middle[arguments.seeds // 2]
    plot({method: found[shown] for method, found in runs.items()}, arguments.out / "pbt_toy.png")
    print(text)


if __name__ == "__main__":
    main()
