"""`ExperimentAnalysis` of experiments that ran: here, far away, killed, and by `ray.tune`."""

from __future__ import annotations

import math
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas
import pytest
from fit_helpers import fit, run_script, start_script, wait_until
from remote_helpers import elsewhere
from servers import Bucket

import tuner as tune
from tuner.analysis import ExperimentAnalysis

SCOPES: list[Any] = ["last", "all", "avg", "last-5-avg", "last-10-avg"]


def train(config: dict[str, Any]) -> None:
    """Twelve results that come down and go up again; some with checkpoints, some NaN."""
    if config["x"] == 5:
        raise RuntimeError("before the first report")
    for n in range(12):
        loss = abs(n - 6) / config["x"] + config["x"] / 4
        if config["x"] == 4:
            loss = math.nan
        metrics = {"loss": loss, "eval": {"acc": math.sin(n * config["x"])}}
        if n % 3 or config["x"] == 2:
            tune.report(metrics)
            continue
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "n").write_text(str(n))
            tune.report(metrics, checkpoint=tune.Checkpoint.from_directory(folder))


OPTIONS: dict[str, Any] = {
    "space": {"x": tune.grid_search([1, 2, 3, 4, 5]), "net": {"depth": 3}},
    "metric": "loss",
    "mode": "min",
}


def names(paths: Any) -> list[str]:
    return [os.path.basename(path) for path in paths]


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> tune.ResultGrid:
    return fit(train, tmp_path_factory.mktemp("here"), run={"name": "exp"}, **OPTIONS)


def test_it_agrees_with_the_results_of_the_run(grid: tune.ResultGrid) -> None:
    analysis = ExperimentAnalysis(grid.experiment_path)
    assert [each.status for each in analysis.trials] == [each.status for each in grid]
    for mode in ("min", "max"):
        for metric in ("loss", "eval/acc"):
            for scope in SCOPES:
                theirs = grid.get_best_result(metric, mode, scope)
                assert analysis.get_best_logdir(metric, mode, scope) == theirs.path
            frame = grid.get_dataframe(metric, mode)
            pandas.testing.assert_frame_equal(analysis.dataframe(metric, mode), frame)
    best = grid.get_best_result()
    assert (analysis.best_config, analysis.best_result) == (best.config, best.metrics)
    assert analysis.best_checkpoint == best.get_best_checkpoint("loss", "min")
    assert analysis.get_last_checkpoint(best.path) == best.checkpoint
    assert analysis.best_dataframe.equals(best.metrics_dataframe)
    assert [*analysis.trial_dataframes] == [each.path for each in grid]
    failed = analysis.trials[4]
    assert failed.status == "ERROR"
    assert "before the first report" in (failed.error or "")
    assert analysis.results[failed.trial_id] == {}
    stats = analysis.stats()
    assert stats["start_time"] < stats["timestamp"] < time.time()
    assert analysis.runner_data()["run_config"]["name"] == "exp"


def test_a_pickle_travels_to_another_process(grid: tune.ResultGrid, tmp_path: Path) -> None:
    analysis = ExperimentAnalysis(grid.experiment_path)
    (tmp_path / "analysis.pkl").write_bytes(pickle.dumps(analysis))
    printed = run_script(
        "import pickle\n"
        "analysis = pickle.load(open('analysis.pkl', 'rb'))\n"
        "print(analysis.best_config, len(analysis.best_dataframe))\n"
        "print(analysis.best_checkpoint.path)\n",
        tmp_path,
    )
    best = grid.get_best_result()
    path = best.get_best_checkpoint("loss", "min").path
    assert printed.strip() == f"{best.config} 12\n{path}"


def test_without_loggers_histories_come_from_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, grid: tune.ResultGrid
) -> None:
    monkeypatch.setenv("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    here = fit(train, tmp_path, **OPTIONS).experiment_path
    assert not [*Path(here).glob("*/result.json")]
    analysis = ExperimentAnalysis(here)
    assert [len(frame) for frame in analysis.trial_dataframes.values()] == [12, 12, 12, 12, 0]
    assert analysis.best_config == grid.get_best_result().config


@pytest.mark.usefixtures("staging")
def test_on_remote_storage(
    s3_server: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, grid: tune.ResultGrid
) -> None:
    url = f"{s3_server.url}/far"
    fit(train, url, run={"name": "exp"}, **OPTIONS)  # type: ignore[arg-type]
    here = ExperimentAnalysis(grid.experiment_path)
    fs = s3_server.filesystem()
    with elsewhere(tmp_path / "other_machine", monkeypatch):
        for path, given in ((f"{url}/exp", None), (f"{s3_server.name}/far/exp", fs)):
            there = ExperimentAnalysis(path, storage_filesystem=given)
            assert there.experiment_path == f"{s3_server.name}/far/exp"
            assert there.best_config == here.best_config
            (mine,), (yours,) = names([there.best_logdir]), names([here.best_logdir])
            assert mine.partition("x=")[2] == yours.partition("x=")[2]
            assert there.best_dataframe["loss"].equals(here.best_dataframe["loss"])
            checkpoint = there.best_checkpoint
            assert checkpoint is not None
            with checkpoint.as_directory() as folder:
                assert Path(folder, "n").read_text() == "6"
            for name in (f"{url}/exp/{mine}", there.best_logdir, mine, there.best_trial):
                assert checkpoint == there.get_best_checkpoint(name)
            copy = pickle.loads(pickle.dumps(there))
            assert copy.best_trial.checkpoint == there.get_last_checkpoint(there.best_trial)


UNENDED = """
import os, tempfile, threading
import tuner as tune

def train(config):
    for n in range(3):
        with tempfile.TemporaryDirectory() as folder:
            open(os.path.join(folder, "n"), "w").write(str(n))
            tune.report(
                {"loss": config["x"] - n}, checkpoint=tune.Checkpoint.from_directory(folder)
            )
    if config["x"] == 3:
        tune.report({"loss": 2.5})
        threading.Event().wait()

if __name__ == "__main__":
    tune.Tuner(
        train,
        param_space={"x": tune.grid_search([1, 2, 3, 4])},
        tune_config=tune.TuneConfig(metric="loss", mode="max", max_concurrent_trials=1),
        run_config=tune.RunConfig(
            name="unended",
            storage_path=os.environ["STORAGE"],
            verbose=0,
            sync_config=tune.SyncConfig(sync_period=3600),
        ),
    ).fit()
"""


def test_an_experiment_that_runs_and_is_killed(tmp_path: Path) -> None:
    process = start_script(UNENDED, tmp_path, "unended", STORAGE="results")
    experiment = tmp_path / "results" / "unended"
    wait_until(lambda: len([*experiment.glob("*x=3/checkpoint_000002")]) == 1)
    wait_until(lambda: len(ExperimentAnalysis(experiment).best_dataframe) == 4)
    while_it_runs = ExperimentAnalysis(experiment)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    for analysis in (while_it_runs, ExperimentAnalysis(experiment)):
        check_unended(analysis)
        assert analysis.best_result["loss"] == 2.5
        checkpoints = analysis.get_trial_checkpoints_paths(analysis.best_trial)
        assert names(path for path, _ in checkpoints) == [f"checkpoint_00000{i}" for i in range(3)]
        best = analysis.best_checkpoint
        assert best is not None
        assert names([best.path]) == ["checkpoint_000000"]
        assert os.path.isdir(best.path)


def test_an_experiment_on_remote_storage_that_is_killed(
    s3_server: Bucket, tmp_path: Path, staging: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was not uploaded so far is on the machine where it runs, until the recorder is done."""
    process = start_script(UNENDED, tmp_path, "unended_far", STORAGE=s3_server.url)
    url, remote = f"{s3_server.url}/unended", f"{s3_server.name}/unended"
    fs = s3_server.filesystem()
    wait_until(lambda: fs.glob(f"{remote}/*x=3/checkpoint_000002/n") != [])
    wait_until(lambda: len(ExperimentAnalysis(url).best_dataframe) == 4)
    while_it_runs = ExperimentAnalysis(url)
    assert Path(while_it_runs.experiment_path).is_relative_to(staging)
    with elsewhere(tmp_path / "other_machine", monkeypatch):
        assert ExperimentAnalysis(url).experiment_path == remote
        assert not ExperimentAnalysis(url).trials
    check_unended(while_it_runs)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    wait_until(lambda: ExperimentAnalysis(url).experiment_path == remote)
    check_unended(ExperimentAnalysis(url))
    with elsewhere(tmp_path / "other_machine", monkeypatch):
        check_unended(ExperimentAnalysis(url))


def check_unended(analysis: ExperimentAnalysis) -> None:
    assert [each.status for each in analysis.trials] == ["TERMINATED", "TERMINATED", "RUNNING"]
    for each in (analysis, pickle.loads(pickle.dumps(analysis))):
        assert each.best_config == {"x": 3}
        assert each.best_dataframe["loss"].tolist() == [3, 2, 1, 2.5]
        checkpoint = each.best_trial.checkpoint
        assert checkpoint == each.get_last_checkpoint(each.best_trial)
        with checkpoint.as_directory() as folder:
            assert Path(folder, "n").read_text() == "2"


RAY = """
import math, os, sys, tempfile
import ray
from ray import tune

def train(config):
    if config["x"] == 5:
        raise RuntimeError("before the first report")
    for n in range(12):
        loss = math.nan if config["x"] == 4 else abs(n - 6) / config["x"] + config["x"] / 4
        metrics = {"loss": loss, "eval": {"acc": math.sin(n * config["x"])}}
        with tempfile.TemporaryDirectory() as folder:
            with open(os.path.join(folder, "n"), "w") as file:
                file.write(str(n))
            saved = not n % 3 and config["x"] != 2
            tune.report(
                metrics, checkpoint=tune.Checkpoint.from_directory(folder) if saved else None
            )

class Counter(tune.Trainable):
    def setup(self, config):
        self.n = 0

    def step(self):
        self.n += 1
        return {"loss": abs(self.n - 5) * self.config["x"]}

    def save_checkpoint(self, folder):
        with open(os.path.join(folder, "n"), "w") as file:
            file.write(str(self.n))

    def load_checkpoint(self, folder):
        pass

if __name__ == "__main__":
    ray.init("local", num_cpus=3, include_dashboard=False, log_to_driver=False)
    tune.Tuner(
        train,
        param_space={"x": tune.grid_search([1, 2, 3, 4, 5]), "net": {"depth": 3}},
        tune_config=tune.TuneConfig(metric="loss", mode="min"),
        run_config=tune.RunConfig(name="exp", storage_path=os.path.abspath("ray"), verbose=0),
    ).fit()
    tune.Tuner(
        Counter,
        param_space={"x": tune.grid_search([1, 2])},
        run_config=tune.RunConfig(
            name="classes",
            storage_path=os.path.abspath("ray"),
            stop={"training_iteration": 8},
            checkpoint_config=tune.CheckpointConfig(
                num_to_keep=3,
                checkpoint_frequency=2,
                checkpoint_score_attribute="loss",
                checkpoint_score_order="min",
            ),
            verbose=0,
        ),
    ).fit()
    ray.shutdown()
"""


@pytest.fixture(scope="module")
def of_ray(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An experiment that `ray.tune` ran."""
    pytest.importorskip("ray.tune")
    folder = tmp_path_factory.mktemp("of_ray")
    (folder / "script.py").write_text(RAY)
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=folder, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "ray" / "exp"


@pytest.fixture(scope="module")
def both(of_ray: Path) -> tuple[ExperimentAnalysis, Any]:
    """The same folder, opened by us and by `ray.tune`."""
    theirs = pytest.importorskip("ray.tune").ExperimentAnalysis
    options = {"default_metric": "loss", "default_mode": "min"}
    return ExperimentAnalysis(of_ray, **options), theirs(str(of_ray), **options)


@pytest.mark.slow
def test_a_folder_of_ray_has_the_same_best_trials(both: tuple[ExperimentAnalysis, Any]) -> None:
    ours, theirs = both
    assert ours.experiment_path == theirs.experiment_path
    assert {each.trial_id: each.status for each in ours.trials} == {
        each.trial_id: each.status for each in theirs.trials
    }
    for metric in ("loss", "eval/acc"):
        for mode in ("min", "max"):
            for scope in SCOPES:
                arguments = (metric, mode, scope)
                assert ours.get_best_config(*arguments) == theirs.get_best_config(*arguments)
                best = theirs.get_best_trial(*arguments)
                assert ours.get_best_trial(*arguments).trial_id == best.trial_id
    assert ours.best_trial.trial_id == theirs.best_trial.trial_id
    assert ours.best_config == theirs.best_config
    assert ours.best_result == theirs.best_result


@pytest.mark.slow
def test_a_folder_of_ray_has_the_same_checkpoints(both: tuple[ExperimentAnalysis, Any]) -> None:
    ours, theirs = both
    for trial in theirs.trials:
        mine = ours.get_last_checkpoint(trial.trial_id)
        yours = theirs.get_last_checkpoint(trial)
        assert (mine and mine.path) == (yours and yours.path)
        for mode in ("min", "max"):
            for metric in ("eval/acc", "training_iteration"):
                mine = ours.get_best_checkpoint(trial.trial_id, metric, mode)
                yours = theirs.get_best_checkpoint(trial, metric, mode)
                assert (mine and mine.path) == (yours and yours.path)
    assert ours.best_checkpoint is not None
    assert ours.best_checkpoint.path == theirs.best_checkpoint.path


@pytest.mark.slow
def test_a_folder_of_ray_has_the_same_tables(both: tuple[ExperimentAnalysis, Any]) -> None:
    ours, theirs = both
    (failed,) = (each for each in ours.trials if each.status == "ERROR")
    assert ours.results == {**theirs.results, failed.trial_id: {}}
    for key, config in theirs.get_all_configs(prefix=True).items():
        assert ours.get_all_configs(prefix=True)[key] == config
        assert ours.get_all_configs()[key] == theirs.get_all_configs()[key]
    for key, frame in theirs.trial_dataframes.items():
        same_frames(ours.trial_dataframes[key], frame)
    same_frames(ours.best_dataframe, theirs.best_dataframe)
    same_frames(ours.best_result_df, theirs.best_result_df)
    same_frames(ours.results_df.sort_index(), theirs.results_df.sort_index())
    reported = [each for each in ours.trials if each.last_result]
    for arguments in ((), ("eval/acc", "max"), ("eval/acc", "min")):
        mine, yours = (
            each.dataframe(*arguments).sort_values("trial_id", ignore_index=True) for each in both
        )
        # Theirs has ids in "logdir", does not know which of the last results are `done`, and has
        # a column for what only other results have.
        same_frames(mine, yours.drop(columns=["done", "logdir", "should_checkpoint"]))
        assert mine["logdir"].tolist() == [each.path for each in reported]


def same_frames(mine: pandas.DataFrame, yours: pandas.DataFrame) -> None:
    """The same values under the same names; ours may have more columns."""
    assert {*yours.columns} <= {*mine.columns}
    plain = [each.astype(object).where(each.notna(), None) for each in (mine, yours)]
    pandas.testing.assert_frame_equal(plain[0][yours.columns], plain[1])


@pytest.mark.slow
def test_a_folder_of_ray_on_remote_storage(of_ray: Path, s3_server: Bucket) -> None:
    s3_server.filesystem().put(str(of_ray), f"{s3_server.name}/exp", recursive=True)
    here = ExperimentAnalysis(of_ray, default_metric="loss", default_mode="min")
    there = ExperimentAnalysis(f"{s3_server.url}/exp", default_metric="loss", default_mode="min")
    assert there.best_logdir == f"{s3_server.name}/exp/{names([here.best_logdir])[0]}"
    assert there.results == here.results
    assert there.best_dataframe.equals(here.best_dataframe)
    checkpoint = there.best_checkpoint
    assert checkpoint is not None
    with checkpoint.as_directory() as folder:
        assert Path(folder, "n").read_text() == "6"
    assert there.best_trial.checkpoint == there.get_last_checkpoint(there.best_trial)


@pytest.mark.slow
def test_checkpoints_of_classes_belong_to_the_results_that_ray_saved_them_with(
    of_ray: Path,
) -> None:
    folder = of_ray.with_name("classes")
    ours = ExperimentAnalysis(folder)
    theirs = pytest.importorskip("ray.tune").ExperimentAnalysis(str(folder))
    for trial in theirs.trials:
        for mode in ("min", "max"):
            mine = ours.get_best_checkpoint(trial.trial_id, "loss", mode)
            assert mine is not None
            assert mine.path == theirs.get_best_checkpoint(trial, "loss", mode).path
        saved = {
            int(Path(path, "n").read_text()): iteration
            for path, iteration in ours.get_trial_checkpoints_paths(trial.trial_id)
        }
        assert saved == {4: 4, 6: 6, 8: 8}


class Counter(tune.Trainable):
    """Goes on with what the class of the same name in `RAY` has saved."""

    def step(self) -> dict[str, Any]:
        self.n += 1
        return {"n": self.n}

    def load_checkpoint(self, folder: str) -> None:
        self.n = int(Path(folder, "n").read_text())


@pytest.mark.slow
def test_a_run_counts_on_from_a_checkpoint_of_a_class_of_ray(of_ray: Path, tmp_path: Path) -> None:
    trial = ExperimentAnalysis(of_ray.with_name("classes")).trials[0]
    first, _ = ExperimentAnalysis(of_ray.with_name("classes")).get_trial_checkpoints_paths(trial)[0]
    analysis = tune.run(
        Counter, restore=first, stop={"training_iteration": 6}, storage_path=tmp_path, verbose=0
    )
    assert analysis.trials[0].last_result["n"] == 6
