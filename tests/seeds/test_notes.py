"""The notes on Ray Tune: `tune.run`, logging, output, early stopping, search spaces."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fit_helpers import run_script
from seed_training import Model, reported

import tuner as tune
from tuner.schedulers import (
    ASHAScheduler,
    MedianStoppingRule,
    PopulationBasedTraining,
    TrialScheduler,
)

pytestmark = pytest.mark.usefixtures("results")


def train(config: dict[str, Any]) -> None:
    model = Model(config.get("lr", 0.1))
    for _ in range(20):
        tune.report(**model.step())


def test_ray_tune_basics_processes() -> None:
    """Notes · Ray Tune Basics · text: functions run in processes of their own."""

    def where(config: dict[str, Any]) -> None:
        tune.report(pid=os.getpid())

    analysis = tune.run(where, num_samples=3)
    pids = {result["pid"] for result in analysis.results.values()}
    assert len({*pids, os.getpid()}) == 4


def test_tune_run_1_stop_dictionary() -> None:
    """Notes · Tune.run() · block 1: trials end when a value is above one of the bounds."""
    stop = {"training_iteration": 10, "mean_accuracy": 0.98}
    analysis = tune.run(train, stop=stop, config={"lr": tune.grid_search([0.1, 0.2])})
    for trial in analysis.trials:
        results = reported(trial.path)
        assert len(results) == 10
        assert all(result["mean_accuracy"] < 0.98 for result in results)


def test_tune_run_2_stop_function() -> None:
    """Notes · Tune.run() · block 2: the same as a function."""

    def stopper(trial_id: str, result: dict[str, Any]) -> bool:
        return result["mean_accuracy"] > 0.98 or result["training_iteration"] > 10

    analysis = tune.run(train, stop=stopper)
    assert [result["training_iteration"] for result in analysis.results.values()] == [11]


def test_tune_run_parameters(tmp_path: Path) -> None:
    """Notes · Tune.run() · text: `num_samples` repeats the grid, `resume=True` goes on."""
    arguments: dict[str, Any] = {
        "name": "again",
        "num_samples": 3,
        "config": {"lr": tune.grid_search([0.1, 0.2])},
        "local_dir": tmp_path / "here",
    }
    first = tune.run(train, **arguments)
    assert len(first.trials) == 6
    assert Path(first.experiment_path) == tmp_path / "here" / "again"
    again = tune.run(train, resume=True, **arguments)
    assert again.results == first.results, "all had ended, nothing ran again"


def test_logging_1_local_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Notes · Logging · block 1: the folder of the experiment is `ray/simple`."""
    monkeypatch.chdir(tmp_path)
    analysis = tune.run(train, local_dir="ray", name="simple")
    (trial,) = analysis.trials
    (folder,) = (path for path in (tmp_path / "ray" / "simple").glob("train_*") if path.is_dir())
    assert Path(trial.path) == folder
    assert len(reported(folder)) == 20
    assert len((folder / "progress.csv").read_text().splitlines()) == 21


def talk(config: dict[str, Any]) -> None:
    print("to stdout")
    print("to stderr", file=sys.stderr)
    tune.report({"said": 2})


@pytest.mark.parametrize(
    ("log_to_file", "expected"),
    [
        (True, {"stdout": ["to stdout"], "stderr": ["to stderr"]}),
        ("all.txt", {"all.txt": ["to stderr", "to stdout"]}),
        (("out.txt", "err.txt"), {"out.txt": ["to stdout"], "err.txt": ["to stderr"]}),
    ],
)
def test_output_log_files(log_to_file: Any, expected: dict[str, list[str]]) -> None:
    """Notes · Output log · text: by a flag, by one name for both, by two names."""
    (trial,) = tune.run(talk, log_to_file=log_to_file).trials
    for name, lines in expected.items():
        assert sorted(Path(trial.path, name).read_text().splitlines()) == lines


def test_trainable_reports() -> None:
    """Notes · Trainable · text: all that is reported is there; tensors become numbers."""
    torch = pytest.importorskip("torch")

    def train(config: dict[str, Any]) -> None:
        weight = torch.tensor(config["x"])
        tune.report(loss=(weight**2).sum(), half=0.5, text="good")

    (result,) = tune.run(train, config={"x": 3.0}).results.values()
    assert {name: result[name] for name in ("loss", "half", "text")} == {
        "loss": 9.0,
        "half": 0.5,
        "text": "good",
    }
    assert type(result["loss"]) is float
    assert result["config"] == {"x": 3.0}


def reward(config: dict[str, Any]) -> None:
    for i in range(1, 101):
        tune.report(episode_reward_mean=config["slope"] * i)


def lengths(scheduler: TrialScheduler, **arguments: Any) -> list[int]:
    """How many results each of nine trials has, from the best one to the worst."""
    slopes = tune.grid_search([1.0 - i / 10 for i in range(9)])
    executor = tune.LocalExecutor(num_cpus=1)
    analysis = tune.run(
        reward, config={"slope": slopes}, scheduler=scheduler, executor=executor, **arguments
    )
    return [result["training_iteration"] for result in analysis.results.values()]


def test_early_stopping_with_scheduler_1_asha() -> None:
    """Notes · Early stopping with scheduler · block 1: ASHA, by all its arguments."""
    asha_scheduler = ASHAScheduler(
        time_attr="training_iteration",  # what measures time
        metric="episode_reward_mean",  # the target
        mode="max",  # or "min"
        max_t=100,  # where each trial ends
        grace_period=10,  # none is stopped before
        reduction_factor=3,
        brackets=1,
    )
    ends = lengths(asha_scheduler)
    assert ends[0] == 100
    assert min(ends) >= 10
    assert ends[2:] == [10] * 7, "each is worse than a third of those before it"


def test_median_stopping_rule() -> None:
    """Notes · Median Stopping Rule · text: who falls below the median of the averages ends."""
    rule = MedianStoppingRule(
        time_attr="training_iteration",
        metric="episode_reward_mean",
        mode="max",
        grace_period=5,
        min_samples_required=3,
    )
    ends = lengths(rule)
    assert ends[:3] == [100] * 3
    assert max(ends[3:]) < 100


def test_asha_scheduler_default_rungs() -> None:
    """Notes · ASHA schedular · text: with its defaults the worst end after the first result."""
    ends = lengths(ASHAScheduler(metric="episode_reward_mean", mode="max"))
    assert ends[0] == 100
    assert ends[-1] == 1


def test_population_based_training() -> None:
    """Notes · Population based training · text: the worst go on from the best."""

    class Member(tune.Trainable):
        def setup(self, config: dict[str, Any]) -> None:
            self.score = 0.0

        def step(self) -> dict[str, Any]:
            self.score += self.config["slope"]
            return {"episode_reward_mean": self.score}

        def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
            return {"score": self.score}

        def load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
            self.score = checkpoint["score"]

    analysis = tune.run(
        Member,
        config={"slope": tune.grid_search([0.01, 0.02, 0.9, 1.0])},
        stop={"training_iteration": 12},
        scheduler=PopulationBasedTraining(
            time_attr="training_iteration",
            metric="episode_reward_mean",
            mode="max",
            perturbation_interval=3,
            hyperparam_mutations={"slope": tune.uniform(0.5, 1)},
            synch=True,
        ),
    )
    assert min(result["episode_reward_mean"] for result in analysis.results.values()) > 12 * 0.02


def sampled(space: Any, number: int = 40) -> list[Any]:
    """What a parameter was in as many trials."""

    def show(config: dict[str, Any]) -> dict[str, Any]:
        return {"i": 1}

    arguments: dict[str, Any] = {"verbose": 0, "reuse_actors": True, "seed": 1}
    analysis = tune.run(show, config={"x": space}, num_samples=number, **arguments)
    return [trial.config["x"] for trial in analysis.trials]


def test_search_algorithms_discrete_space() -> None:
    """Notes · Discrete space · table: a grid, a choice, a function."""
    assert sampled(tune.grid_search([1, 2]), 3) == [1, 2] * 3
    assert set(sampled(tune.choice([1, 2]))) == {1, 2}
    assert set(sampled(tune.sample_from(lambda spec: 7), 3)) == {7}


def test_search_algorithms_randn_takes_mean_and_deviation() -> None:
    """Notes · Discrete space · table: `randn` is given numbers, as it was then, not a list."""
    values = sampled(tune.randn(1, 2))
    assert abs(np.mean(values) - 1) < 1.5
    with pytest.raises(tune.TunerError, match="randn"):
        tune.randn([1, 2])  # type: ignore[arg-type]


def is_multiple(value: float, step: float) -> bool:
    return math.isclose(value / step, round(value / step), abs_tol=1e-6)


@pytest.mark.parametrize(
    ("space", "low", "high", "step"),
    [
        (tune.uniform(-5, -1), -5, -1, None),
        (tune.quniform(-5, -1, 0.2), -5, -1, 0.2),
        (tune.loguniform(1e-4, 1e-2), 1e-4, 1e-2, None),
        (tune.loguniform(1e-4, 1e-2, base=2), 1e-4, 1e-2, None),
        (tune.qloguniform(1e-4, 1e-1, 5e-5), 1e-4, 1e-1, 5e-5),
        (tune.randn(10, 2), -math.inf, math.inf, None),
        (tune.qrandn(10, 2, 0.2), -math.inf, math.inf, 0.2),
        (tune.randint(-9, 15), -9, 14, 1),
        (tune.qrandint(-21, 12, 3), -21, 12, 3),
        (tune.lograndint(1, 10), 1, 9, 1),
        (tune.qlograndint(1, 10, 2), 1, 10, 2),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, (int, float)) else str(value),
)
def test_search_algorithms_continuous_space(
    space: Any, low: float, high: float, step: float | None
) -> None:
    """Notes · Continuous space · table: bounds, and the increment where there is one."""
    values = sampled(space, 20)
    assert len(set(values)) > 2
    assert low <= min(values) <= max(values) <= high
    if step is not None:
        assert all(is_multiple(value, step) for value in values)


def test_tip_1_powers_of_two() -> None:
    """Notes · Tip: · block 1: powers of two by a function."""
    values = sampled(tune.sample_from(lambda _: 2 ** np.random.randint(1, 6)))
    assert set(values) == {2, 4, 8, 16, 32}


OTHERS = """
import tuner as tune


def train(config):
    tune.report(loss=1)


tune.run(train, name="quiet")
"""


def test_others_1_disable_loggers(tmp_path: Path) -> None:
    """Notes · Others · block 1: an environment variable keeps the default loggers from writing."""
    disabled = {**os.environ, "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1"}
    run_script(OTHERS, tmp_path, environ=disabled)
    written = {path.name.partition(".out")[0] for path in (tmp_path / "quiet").glob("*/*")}
    assert not written & {"events", "result.json", "progress.csv"}
    (result,) = tune.ExperimentAnalysis(tmp_path / "quiet").results.values()
    assert result["loss"] == 1
