"""How much training early stopping saves on real learning curves, at an equal best result.

    python benchmarks/algorithms/saved_compute.py   # a minute; writes saved_compute.json, .md, .png

The curves are those of `record_curves.py`: 81 configurations, 81 epochs each, of two data sets.
Each scheduler gets them in many random orders, on four workers of a simulation, and through
everything that a real experiment goes through. Counted are the epochs that all trials trained
together, against 81 x 81. HyperBand needs 128 trials for all its brackets; 81 fill the first one,
the boldest.

The best result of a run is the best accuracy that any trial reported at any epoch. It is equal to
the best of all 6561 epochs if it is less than that by at most one standard error, sqrt(p (1 - p)
/ n), of an accuracy p on the n validation samples: nobody could tell the two models apart.

For comparison: random search that is given the epochs of the same run, for as many whole trials as
they suffice for. Many configurations are as good as the best, so it often is equal, too; how often
the very best accuracy was reached tells more.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq

import tuner as tune
from tuner.schedulers import (
    ASHAScheduler,
    HyperBandScheduler,
    MedianStoppingRule,
    TrialScheduler,
)

HERE = Path(__file__).parent
TASKS = {"digits": "digits, network", "breast_cancer": "breast cancer, linear model"}
MAX_EPOCHS = 81
NUM_WORKERS = 4

SCHEDULERS: dict[str, Callable[[], TrialScheduler]] = {
    "median stopping, no pauses": lambda: median_rule(min_time_slice=math.inf),
    "median stopping": lambda: median_rule(),
    "ASHA": lambda: ASHAScheduler(max_t=MAX_EPOCHS),
    "HyperBand": lambda: HyperBandScheduler(max_t=MAX_EPOCHS),
}


def median_rule(**options: Any) -> MedianStoppingRule:
    """The rule with its defaults, but for times in epochs."""
    return MedianStoppingRule("training_iteration", grace_period=5, **options)


Report = dict[str, dict[str, dict[str, float]]]  # figures by data set and scheduler


class Recorded(NamedTuple):
    """The learning curves of a data set."""

    curves: tune.LearningCurves
    accuracies: dict[str, list[float]]  # by trial, one for each epoch
    num_validation: int

    @property
    def best(self) -> float:
        return max(map(max, self.accuracies.values()))

    def is_equal_to_best(self, accuracy: float) -> bool:
        """Whether nobody could tell, from the validation samples, that it is not the best."""
        best = self.best
        error = math.sqrt(best * (1 - best) / self.num_validation)
        return accuracy >= best - error


class Outcome(NamedTuple):
    """What became of one run."""

    saved: float  # share of all epochs
    missed: float  # accuracy, against the best of all epochs
    is_equal: bool
    random_missed: float
    random_is_equal: bool


def load(task: str) -> Recorded:
    """The recorded curves of a data set."""
    table = pq.read_table(HERE / "curves" / f"{task}.parquet")
    accuracies: dict[str, list[float]] = {}
    columns = ("trial_id", "training_iteration", "accuracy")
    for trial_id, _, accuracy in sorted(zip(*(table[c].to_pylist() for c in columns), strict=True)):
        accuracies.setdefault(trial_id, []).append(accuracy)
    return Recorded(tune.LearningCurves(table), accuracies, table["num_validation"][0].as_py())


def run(recorded: Recorded, make: Callable[[], TrialScheduler], order: int) -> Outcome:
    """Runs the trials in the random order with this number."""
    trial_ids = [*recorded.curves.trial_ids]
    random.Random(order).shuffle(trial_ids)
    with tempfile.TemporaryDirectory() as folder:
        table = (
            tune.Tuner(
                recorded.curves,
                param_space={"trial_id": tune.grid_search(trial_ids)},
                tune_config=tune.TuneConfig(
                    metric="accuracy", mode="max", scheduler=make(), seed=order
                ),
                run_config=tune.RunConfig(
                    storage_path=folder,
                    verbose=0,
                    executor=tune.SimulatedExecutor(NUM_WORKERS),
                ),
            )
            .fit()
            .to_arrow()
        )
    best = max(table["accuracy"].to_pylist())
    whole_trials = trial_ids[: max(1, table.num_rows // MAX_EPOCHS)]
    best_of_random = max(max(recorded.accuracies[each]) for each in whole_trials)
    return Outcome(
        saved=1 - table.num_rows / sum(map(len, recorded.accuracies.values())),
        missed=recorded.best - best,
        is_equal=recorded.is_equal_to_best(best),
        random_missed=recorded.best - best_of_random,
        random_is_equal=recorded.is_equal_to_best(best_of_random),
    )


def measure(num_orders: int) -> dict[str, dict[str, list[Outcome]]]:
    """The outcomes by data set and scheduler."""
    outcomes: dict[str, dict[str, list[Outcome]]] = {}
    for task in TASKS:
        recorded = load(task)
        outcomes[task] = {
            name: [run(recorded, make, order) for order in range(num_orders)]
            for name, make in SCHEDULERS.items()
        }
    return outcomes


def figures(outcomes: list[Outcome]) -> dict[str, float]:
    """What a scheduler achieved on a data set, over all orders."""
    saved = sorted(outcome.saved for outcome in outcomes)
    tenth = len(saved) // 10
    return {
        "orders": len(saved),
        "saved_median": round(statistics.median(saved), 4),
        "saved_10th_percentile": round(saved[tenth], 4),
        "saved_90th_percentile": round(saved[-1 - tenth], 4),
        "equal_best": statistics.fmean(outcome.is_equal for outcome in outcomes),
        "very_best": statistics.fmean(outcome.missed == 0 for outcome in outcomes),
        "missed_most": round(max(outcome.missed for outcome in outcomes), 4),
        "random_equal_best": statistics.fmean(outcome.random_is_equal for outcome in outcomes),
        "random_very_best": statistics.fmean(outcome.random_missed == 0 for outcome in outcomes),
    }


def table(report: Report) -> str:
    """The figures in Markdown."""
    lines = [
        "| curves | scheduler | epochs saved: median (10 % to 90 % of orders) | equal best; "
        "very best | most accuracy missed | random search, same epochs: equal best; very best |",
        "|---|---|---|---|---|---|",
    ]
    for task, rows in report.items():
        for name, row in rows.items():
            spread = f"{row['saved_10th_percentile']:.1%} to {row['saved_90th_percentile']:.1%}"
            lines.append(
                f"| {TASKS[task]} | {name} | {row['saved_median']:.1%} ({spread}) | "
                f"{row['equal_best']:.0%}; {row['very_best']:.0%} of orders | "
                f"{row['missed_most']:.4f} | "
                f"{row['random_equal_best']:.0%}; {row['random_very_best']:.0%} of orders |"
            )
    return "\n".join(lines)


def plot(path: Path, report: Report) -> None:
    """Draws the curves, and below them what was saved."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        2, len(TASKS), figsize=(12, 7.5), layout="constrained", height_ratios=[1, 1.2]
    )
    for column, (task, rows) in enumerate(report.items()):
        above, below = axes[0][column], axes[1][column]
        recorded = load(task)
        for accuracies in recorded.accuracies.values():
            above.plot(range(1, MAX_EPOCHS + 1), accuracies, color="#3f7fbf", alpha=0.35, lw=0.8)
        above.set_title(f"{TASKS[task]}: {len(recorded.accuracies)} learning curves")
        above.set_xlabel("epoch")
        above.set_ylabel("validation accuracy")
        middles = [100 * row["saved_median"] for row in rows.values()]
        low = [100 * (row["saved_median"] - row["saved_10th_percentile"]) for row in rows.values()]
        high = [100 * (row["saved_90th_percentile"] - row["saved_median"]) for row in rows.values()]
        names = [name.replace(", ", ",\n") for name in rows]
        below.barh(names, middles, xerr=[low, high], color="#3f7fbf", ecolor="#222222", height=0.7)
        for place, row in enumerate(rows.values()):
            text = (
                f"equal best: {row['equal_best']:.0%} "
                f"(random search: {row['random_equal_best']:.0%})\n"
                f"very best: {row['very_best']:.0%} (random search: {row['random_very_best']:.0%})"
            )
            below.annotate(text, (1.5, place), va="center", color="white", fontsize=8.5)
        below.set_xlim(0, 100)
        below.invert_yaxis()
        below.set_xlabel(
            "% of epochs saved: median, 10 % to 90 % of orders\nin the bars: % of orders"
        )
    figure.savefig(path, dpi=120)


def main() -> None:
    """Measures, and writes figures, table and plot."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--orders", type=int, default=50, help="how many random orders")
    parser.add_argument("--out", type=Path, default=HERE, help="a folder")
    arguments = parser.parse_args()
    outcomes = measure(arguments.orders)
    report = {
        task: {name: figures(each) for name, each in by_scheduler.items()}
        for task, by_scheduler in outcomes.items()
    }
    text = table(report)
    print(text)
    (arguments.out / "saved_compute.json").write_text(json.dumps(report, indent=2) + "\n")
    (arguments.out / "saved_compute.md").write_text(text + "\n")
    plot(arguments.out / "saved_compute.png", report)


if __name__ == "__main__":
    main()
