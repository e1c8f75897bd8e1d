"""ASHA beside random search and synchronous HyperBand on hundreds of workers, in simulated time.

    python benchmarks/algorithms/asha_at_scale.py

takes the setting of Li et al., "A System for Massively Parallel Hyperparameter Tuning", 2018
(arXiv:1810.05934), section 4.4: 500 workers, reduction factor 4, trials of at most R = 64 units
that are first compared after R / 64, and jobs that take longer than others (appendix A.1: the way
to the next comparison takes `1 + |z|` times as long, z normal). It measures the virtual time until
some trial is good: better than all but one in 5 000 are after R. Written are `asha_at_scale.png`
and `asha_at_scale.json`, 20 seeds each. A time of 1 is what one trial needs for R on average.

HyperBand comes twice: with its brackets one after the other, each in parallel, as algorithm 1 of
its paper has them, and with brackets side by side, as `HyperBandScheduler` has them: whenever a
worker is free, the next bracket is begun. How ASHA scales from 1 to 500 workers is measured with
trials of which one in 500 is good.
"""

from __future__ import annotations

import json
import math
import os
import random
import statistics
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import tuner as tune
from tuner.experiment.events import TrialResult
from tuner.experiment.journal_reader import JournalReader
from tuner.schedulers import (
    ASHAScheduler,
    ExperimentView,
    FIFOScheduler,
    HyperBandScheduler,
    TrialScheduler,
    TrialView,
)
from tuner.stoppers import Stopper

R, ETA = 64, 4
RUNGS = [ETA**k for k in range(round(math.log(R, ETA)) + 1)]
STRAGGLING = 0.56  # standard deviation of z
UNIT_S = 1 / R / (1 + STRAGGLING * math.sqrt(2 / math.pi))  # so that R takes 1 on average
RARITY = 1 / 5_000
RARITY_OF_SCALING = 1 / 500
MOST = 60.0  # virtual time after which a search is given up
SPACE = {
    "floor": tune.uniform(0, 1),
    "half_life": tune.loguniform(1, 32),
    "noise": tune.uniform(0, 1),
}
HERE = Path(__file__).parent


class OneBracketAfterTheOther(HyperBandScheduler):
    """Begins no trial of a bracket before those of the bracket before it have ended."""

    def choose_trial_to_run(self, experiment: ExperimentView) -> TrialView | None:
        trial = super().choose_trial_to_run(experiment)
        if trial is None or trial.status != "PENDING":
            return trial
        oldest = next(iter(self._brackets))
        return trial if self._live[trial.trial_id].bracket.number == oldest else None


SCHEDULERS: dict[str, Callable[[], TrialScheduler]] = {
    "random search": FIFOScheduler,
    "HyperBand, one bracket after the other": lambda: OneBracketAfterTheOther(
        "epoch", max_t=R, reduction_factor=ETA
    ),
    "HyperBand, brackets side by side": lambda: HyperBandScheduler(
        "epoch", max_t=R, reduction_factor=ETA
    ),
    "ASHA": lambda: ASHAScheduler("epoch", max_t=R, reduction_factor=ETA),
}


def loss_after(epoch: float, floor: Any, half_life: Any) -> Any:
    """A loss that falls to a floor, of which few are low; how fast says nothing of how far."""
    lowest = 0.1 + 0.6 * floor**0.5
    return lowest + (1 - lowest) * 2.0 ** (-epoch / half_life)


def train(config: dict[str, float]) -> Iterator[tuple[dict[str, float], float]]:
    """Reports at each rung; the noise of a trial is its own."""
    rng = random.Random(config["noise"])
    before = 0
    for epoch in RUNGS:
        slowness = 1 + abs(rng.gauss(0, STRAGGLING))
        loss = loss_after(epoch, config["floor"], config["half_life"])
        noisy = loss + rng.gauss(0, 0.02) * (1 - epoch / R)
        yield {"loss": noisy, "epoch": epoch}, UNIT_S * slowness * (epoch - before)
        before = epoch


def target(rarity: float) -> float:
    """The loss after R that this share of all trials is below."""
    rng = np.random.default_rng(0)
    floor, half_life = rng.random(1_000_000), np.exp2(rng.uniform(0, 5, 1_000_000))
    return float(np.quantile(loss_after(R, floor, half_life), rarity))


class Found(Stopper):
    """Ends the experiment when a trial is good at its end."""

    def __init__(self, loss: float) -> None:
        self._loss = loss
        self._is_found = False

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        self._is_found |= result["epoch"] == R and result["loss"] <= self._loss
        return False

    def stop_all(self) -> bool:
        return self._is_found


def time_to_find(
    scheduler: TrialScheduler, workers: int, seed: int, loss: float, most: float
) -> tuple[float, int]:
    """Virtual time until a trial is good, `inf` if that is beyond `most`, and how many began."""
    with tempfile.TemporaryDirectory() as folder:
        results = tune.Tuner(
            train,
            param_space=SPACE,
            tune_config=tune.TuneConfig(
                metric="loss",
                mode="min",
                num_samples=-1,
                scheduler=scheduler,
                seed=seed,
                time_budget_s=most,
            ),
            run_config=tune.RunConfig(
                name="run",
                storage_path=folder,
                stop=Found(loss),
                verbose=0,
                executor=tune.SimulatedExecutor(workers),
            ),
        ).fit()
        return first_good(os.path.join(folder, "run"), loss), len(results)


def first_good(experiment: str, loss: float) -> float:
    """When the first trial was good at its end; `inf` if none was."""
    for fact in JournalReader(experiment).read_all():
        if isinstance(fact, TrialResult):
            result = fact.result
            if result["epoch"] == R and result["loss"] <= loss:
                return fact.time
    return math.inf


def compare(seeds: range, workers: int, rarity: float) -> dict[str, list[float]]:
    """Times until a trial is good, by algorithm; `MOST` if none was by then."""
    loss = target(rarity)
    times = {}
    for name, make in SCHEDULERS.items():
        runs = (time_to_find(make(), workers, seed, loss, MOST) for seed in seeds)
        times[name] = [min(time, MOST) for time, _ in runs]
        print(f"{name}: median {statistics.median(times[name]):.3f}", flush=True)
    return times


def scale(seeds: range, numbers: list[int], rarity: float) -> dict[str, list[float]]:
    """Times of ASHA by number of workers."""
    loss = target(rarity)
    times = {}
    for workers in numbers:
        runs = (time_to_find(SCHEDULERS["ASHA"](), workers, seed, loss, 1e4) for seed in seeds)
        times[str(workers)] = [time for time, _ in runs]
        print(f"ASHA, {workers} workers: {statistics.median(times[str(workers)]):.3f}", flush=True)
    return times


def speedups(times: dict[str, list[float]]) -> dict[str, float]:
    """How many times sooner ASHA is than each of the others, in the median, at least."""
    medians = {name: statistics.median(each) for name, each in times.items()}
    asha = medians.pop("ASHA")
    return {name: median / asha for name, median in medians.items()}


def draw(found: dict[str, Any], path: Path) -> None:
    """The share of seeds that have found a good trial over time, and ASHA's times by workers."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    for name, times in found["times"].items():
        ordered = sorted(time for time in times if time < MOST)
        shares = [(n + 1) / len(times) for n in range(len(ordered))]
        left.step([0, *ordered], [0, *shares], where="post", label=name)
    left.set(
        xlabel="virtual time; 1 trains one trial to its end",
        ylabel="share of seeds with a good trial",
        title=f"{found['workers']} workers, one trial in 5 000 is good, {found['seeds']} seeds",
        xscale="log",
        ylim=(-0.03, 1.45),
    )
    left.legend(loc="upper left", fontsize="small")
    numbers = [int(number) for number in found["scaling"]]
    by_number = list(found["scaling"].values())
    medians = [statistics.median(times) for times in by_number]
    right.fill_between(
        numbers,
        [np.quantile(times, 0.25) for times in by_number],
        [np.quantile(times, 0.75) for times in by_number],
        alpha=0.25,
        label="middle half of the seeds",
    )
    right.plot(numbers, medians, "o-", label="ASHA, median")
    ideal = [max(1.0, medians[0] * numbers[0] / number) for number in numbers]
    right.plot(numbers, ideal, "k:", label="ideal: as 1 / workers, but at least 1")
    right.set(
        xlabel="workers",
        ylabel="virtual time until a good trial",
        title="ASHA, one trial in 500 is good",
        xscale="log",
        yscale="log",
    )
    right.legend()
    figure.savefig(path, dpi=110)


def main() -> None:
    seeds = range(20)
    times = compare(seeds, 500, RARITY)
    found = {
        "workers": 500,
        "seeds": len(seeds),
        "times sooner": {name: round(ratio, 2) for name, ratio in speedups(times).items()},
        "times": {name: [round(time, 3) for time in each] for name, each in times.items()},
        "scaling": scale(seeds, [1, 4, 16, 64, 256, 500], RARITY_OF_SCALING),
    }
    (HERE / "asha_at_scale.json").write_text(json.dumps(found, indent=1) + "\n")
    draw(found, HERE / "asha_at_scale.png")


if __name__ == "__main__":
    main()
