"""Rewards and hyperparameter schedules of a run of `examples/pbt_ppo.py`, as figures and a plot.

python examples/pbt_ppo.py --test-local --num-workers 0 --batch-scale 0.1 --perturbation-interval 5
python benchmarks/algorithms/pbt_ppo.py ~/tuner_results/PPO_<time>     # writes pbt_ppo.{json,png}
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import tuner as tune

HERE = Path(__file__).parent
REWARD = "episode_reward_mean"
SCHEDULES = (
    "lr",
    "clip_param",
    "lambda",
    "num_sgd_iter",
    "sgd_minibatch_size",
    "train_batch_size",
)
LOGARITHMIC = ("lr", "sgd_minibatch_size", "train_batch_size")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", type=Path, help="the experiment's folder")
    parser.add_argument("--out", type=Path, default=HERE)
    arguments = parser.parse_args()
    trials = histories(arguments.path)
    (arguments.out / "pbt_ppo.json").write_text(json.dumps(trials, indent=1))
    plot(arguments.out / "pbt_ppo.png", trials)
    best = max(max(trial[REWARD]) for trial in trials)
    print(f"{len(trials)} trials, best reward {best:.1f}")


def histories(path: Path) -> list[dict[str, Any]]:
    """For each trial its rewards and hyperparameters, one entry per result."""
    table = tune.Tuner.restore(path).get_results().to_arrow().to_pandas()
    columns = {f"config/{name}": name for name in SCHEDULES}
    table = table.rename(columns=columns)
    table["seconds"] = table["timestamp"] - table["timestamp"].min()
    kept = ["seconds", "timesteps_total", REWARD, *SCHEDULES]
    return [
        {"trial": trial_id, **{name: rows[name].round(6).tolist() for name in kept}}
        for trial_id, rows in table.groupby("trial_id", sort=True)
    ]


def plot(path: Path, trials: list[dict[str, Any]]) -> None:
    """The rewards above, the schedules below, a colour per trial."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplot_mosaic(
        [["reward"] * 3, list(SCHEDULES[:3]), list(SCHEDULES[3:])],
        figsize=(11, 8.5),
        layout="constrained",
        height_ratios=[1.4, 1, 1],
    )
    for number, trial in enumerate(trials):
        style = {"color": f"C{number}", "label": trial["trial"], "linewidth": 1.6}
        axes["reward"].plot(trial["seconds"], trial[REWARD], marker=".", **style)
        for name in SCHEDULES:
            axes[name].step(trial["seconds"], trial[name], where="post", **style)
    axes["reward"].set(title="Population based training of PPO on CartPole-v1", ylabel=REWARD)
    axes["reward"].axhline(300, color="0.5", linestyle=":", linewidth=1)
    axes["reward"].legend(title="trial", loc="upper left")
    for name in SCHEDULES:
        axes[name].set_title(name)
        if name in LOGARITHMIC:
            axes[name].set_yscale("log")
    for axis in axes.values():
        axis.set_xlabel("seconds since the first result")
        axis.grid(alpha=0.25)
    figure.savefig(path, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    main()
