"""Whole experiments in virtual time."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fit_helpers import fit

import tuner as tune
from tuner.errors import TrainableError
from tuner.schedulers import ASHAScheduler, FIFOScheduler
from tuner.trainable.learning_curves import LearningCurves

SPACE = {"rate": tune.loguniform(1e-3, 1e-1), "seconds": tune.uniform(0.5, 2.0)}


def curve(config: dict[str, Any]) -> Iterator[Any]:
    loss = 1.0
    for _ in range(64):
        loss *= 1 - config["rate"]
        yield {"loss": loss + 0.01 * float(np.random.rand())}, config["seconds"]


def asha(**limits: Any) -> ASHAScheduler:
    return ASHAScheduler(metric="loss", mode="min", max_t=64, reduction_factor=2, **limits)


def simulate(folder: Path, name: str, trainable: Any = curve, **settings: Any) -> tune.ResultGrid:
    run = {"name": name, "executor": tune.SimulatedExecutor(8), **settings.pop("run", {})}
    settings = {"num_samples": 60, "seed": 7, "space": SPACE, **settings}
    return fit(trainable, folder, run=run, **settings)


def facts(folder: Path, name: str) -> list[dict[str, Any]]:
    """What the journal says, but for the ids of trials, which differ from run to run."""
    told = []
    for path in sorted((folder / name / "journal").glob("*.jsonl")):
        for line in path.read_text().splitlines():
            fact = json.loads(line)
            for own in ("crc", "dirname"):
                fact.pop(own, None)
            for values in (fact, fact.get("result", {})):
                if "trial_id" in values:
                    values["trial_id"] = values["trial_id"].rpartition("_")[2]
            told.append(fact)
    return told


class Seen(tune.Callback):
    def __init__(self) -> None:
        self.times: list[int] = []

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: Any, **info: Any):
        self.times.append(result["timestamp"])


def test_two_runs_are_the_same(tmp_path: Path) -> None:
    seen = []
    for name in ("one", "other"):
        callback = Seen()
        simulate(
            tmp_path,
            name,
            scheduler=asha(),
            time_budget_s=100.0,
            run={"stop": {"training_iteration": 20}, "callbacks": [callback]},
        )
        seen.append(callback.times)
    one, other = facts(tmp_path, "one"), facts(tmp_path, "other")
    assert one == other
    assert seen[0] == seen[1] == sorted(seen[0])
    decisions = [fact["decision"] for fact in one if fact["event"] == "result"]
    assert {"CONTINUE", "STOP"} == set(decisions)


def test_a_time_budget_is_virtual_and_kept_exactly(tmp_path: Path) -> None:
    results = simulate(tmp_path, "run", num_samples=-1, time_budget_s=30.0)
    told = facts(tmp_path, "run")
    assert told[0]["time"] == 0.0
    (stopping,) = (fact for fact in told if fact["event"] == "experiment_stopping")
    assert (stopping["time"], stopping["reason"]) == (30.0, "its time is up")
    assert told[-1]["time"] == 30.0
    assert max(fact["time"] for fact in told) == 30.0
    assert all(result.metrics["timestamp"] <= 30 for result in results)


def test_workers_are_busy_all_the_time(tmp_path: Path) -> None:
    space = {"rate": 0.1, "seconds": 2.0}
    simulate(tmp_path, "run", space=space, num_samples=24, run={"stop": {"training_iteration": 5}})
    assert facts(tmp_path, "run")[-1]["time"] == 24 / 8 * 5 * 2.0


def test_files_of_trials_are_written_if_they_are_asked_for(tmp_path: Path) -> None:
    from tuner.callbacks import JsonLoggerCallback

    few = {"num_samples": 2, "run": {"stop": {"training_iteration": 2}}}
    (plain, _) = simulate(tmp_path, "plain", **few)
    assert not Path(plain.path).exists()
    assert (tmp_path / "plain" / "results.parquet").exists()
    assert list(plain.metrics_dataframe["training_iteration"]) == [1, 2]
    few["run"] = {**few["run"], "callbacks": [JsonLoggerCallback()]}
    (logged, _) = simulate(tmp_path, "logged", **few)
    files = {path.name for path in Path(logged.path).iterdir()}
    assert "result.json" in files
    assert "progress.csv" not in files


class PauseEach(FIFOScheduler):
    """Pauses each trial at every second result, and lets the one go on that waits longest."""

    def on_trial_result(self, experiment: Any, trial: Any, result: dict[str, Any]) -> str:
        return self.CONTINUE if result["training_iteration"] % 2 else self.PAUSE

    def choose_trial_to_run(self, experiment: Any) -> Any:
        waiting = [*experiment.pending_trials, *experiment.paused_trials]
        return next((trial for trial in waiting if experiment.fits(trial)), None)


class Counter(tune.Trainable):
    def setup(self, config: dict[str, Any]) -> None:
        self.loss = 1.0

    def step(self) -> dict[str, Any]:
        self.loss *= 1 - self.config["rate"]
        return {"loss": self.loss, "time_this_iter_s": self.config["seconds"]}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        return {"loss": self.loss}

    def load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.loss = checkpoint["loss"]


@pytest.mark.parametrize("trainable", [curve, Counter])
def test_paused_trials_lose_nothing(tmp_path: Path, trainable: Any) -> None:
    stop = {"stop": {"training_iteration": 7}}
    some = {"num_samples": 10, "run": stop}
    whole = simulate(tmp_path, "whole", trainable, **some)
    paused = simulate(tmp_path, "paused", trainable, scheduler=PauseEach(), **some)
    expected = [list(result.metrics_dataframe["loss"]) for result in whole]
    assert [list(result.metrics_dataframe["loss"]) for result in paused] == expected
    assert all(len(losses) == 7 for losses in expected)
    assert sum(fact["event"] == "checkpoint_saved" for fact in facts(tmp_path, "paused")) >= 30


def test_failed_trials_are_tried_again(tmp_path: Path) -> None:
    def train(config: dict[str, Any]) -> Iterator[Any]:
        yield {"loss": 1.0}, 2.0
        if tune.get_context().attempt < 3:
            raise ValueError("no good")
        yield {"loss": 0.5}, 2.0

    failures = {"failure_config": tune.FailureConfig(max_failures=2)}
    results = simulate(tmp_path, "run", train, space={}, num_samples=2, run=failures)
    assert results.num_errors == 0
    assert [result.metrics["loss"] for result in results] == [0.5, 0.5]
    ends = [f["time"] for f in facts(tmp_path, "run") if f["event"] == "trial_ended"]
    assert ends == [2.0, 2.0, 4.0, 4.0, 8.0, 8.0]


class Interrupting(tune.Callback):
    """Presses Ctrl-C in the middle of the first attempt of a trial."""

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: Any, **info: Any):
        if (trial.number, trial.attempt) == (12, 1) and result["training_iteration"] == 3:
            os.kill(os.getpid(), signal.SIGINT)


def test_a_restored_simulation_goes_on_at_its_time(tmp_path: Path) -> None:
    stop = {"stop": {"training_iteration": 8}}
    simulate(tmp_path, "run", num_samples=20, run={**stop, "callbacks": [Interrupting()]})
    before = facts(tmp_path, "run")
    finished = {f["trial_id"] for f in before if f["event"] == "result" and f["decision"] == "STOP"}
    assert finished
    results = tune.Tuner.restore(str(tmp_path / "run")).fit()
    assert [r.metrics["training_iteration"] for r in results] == [8] * 20
    after = facts(tmp_path, "run")[len(before) :]
    assert after[0]["event"] == "experiment_started"
    assert after[0]["time"] == before[-1]["time"]
    times = [fact["time"] for fact in after]
    assert times == sorted(times)
    assert not finished & {f["trial_id"] for f in after if f["event"] == "trial_launched"}


def test_curves_of_a_real_experiment_run_again(tmp_path: Path) -> None:
    def train(config: dict[str, Any]) -> None:
        for i in range(4):
            tune.report({"loss": config["x"] / (i + 1), "extra": {"i": i}}, elapsed_s=1.0 + i)

    space = {"x": tune.grid_search([1.0, 2.0, 3.0]), "deep": {"er": "a"}}
    fit(train, tmp_path, space=space, run={"name": "real"})
    curves = LearningCurves(tmp_path / "real")
    assert len(curves.trial_ids) == 3
    assert curves.config(curves.trial_ids[1]) == {"x": 2.0, "deep/er": "a"}
    again = simulate(tmp_path, "again", curves, space=curves.param_space(), num_samples=1)
    assert [result.metrics["loss"] for result in again] == [0.25, 0.5, 0.75]
    assert [result.metrics["time_total_s"] for result in again] == [10.0] * 3
    assert again[2].metrics["extra/i"] == 3
    assert facts(tmp_path, "again")[-1]["time"] == 10.0


def test_what_holds_no_curves_is_refused(tmp_path: Path) -> None:
    import pandas as pd

    with pytest.raises(TrainableError, match=r"there is no results\.parquet"):
        LearningCurves(tmp_path)
    (tmp_path / "results.parquet").write_text("nonsense")
    with pytest.raises(TrainableError, match="cannot be read as Parquet"):
        LearningCurves(tmp_path)
    frame = pd.DataFrame({"trial_id": ["a"], "training_iteration": [1], "loss": [0.5]})
    with pytest.raises(TrainableError, match="the column 'time_this_iter_s' is missing"):
        LearningCurves(frame)
    with pytest.raises(TrainableError, match=r"time_this_iter_s=-1\.0 of trial a"):
        LearningCurves(frame.assign(time_this_iter_s=-1.0))
    with pytest.raises(TrainableError, match="use the path of"):
        LearningCurves(3)  # type: ignore[arg-type]
    with pytest.raises(TrainableError, match="has no results"):
        LearningCurves(frame.assign(time_this_iter_s=1.0)[:0])
    curves = LearningCurves(frame.assign(time_this_iter_s=1.0))
    with pytest.raises(TrainableError, match="there is no trial 'b' among the 1 recorded"):
        list(curves({"trial_id": "b"}))
    with pytest.raises(TrainableError, match="has no 'trial_id'"):
        list(curves({}))


def test_the_guide_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNER_RESULTS_DIR", str(tmp_path))
    guide = (Path(__file__).parents[2] / "docs" / "guide" / "simulation.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    assert len(blocks) == 2
    names: dict[str, Any] = {}
    exec(blocks[0], names)
    assert len(names["results"]) == 300
    assert names["results"].get_best_result().metrics["loss"] < 0.5
    exec(blocks[1].replace("~/tuner_results/mnist", names["results"].experiment_path), names)
    assert names["curves"].trial_ids
