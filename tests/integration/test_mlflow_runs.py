"""What real experiments leave in a real MLflow server."""

from __future__ import annotations

import json
import math
import uuid
from pathlib import Path
from typing import Any

import pytest
from fit_helpers import fit
from mlflow_helpers import PARENT, history
from servers import Bucket, MlflowServer

import tuner as tune
from tuner.integrations.mlflow import MLflowLoggerCallback, setup_mlflow
from tuner.schedulers import PopulationBasedTraining

mlflow = pytest.importorskip("mlflow")


@pytest.fixture
def name() -> str:
    return f"test-{uuid.uuid4().hex[:8]}"


def sent_checkpoints(server: MlflowServer, run: Any) -> list[str]:
    files = server.client.list_artifacts(run.info.run_id)
    return sorted(file.path for file in files if file.path.startswith("checkpoint_"))


def test_a_trial_becomes_a_run(
    mlflow_server: MlflowServer,
    name: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "120")  # no news of a slow machine
    long_text = "long " * 2000

    def train(config: dict[str, Any]) -> None:
        for i in range(3):
            nested = {"acc": i, "nan": math.nan, "inf": math.inf, "text": "x"}
            tune.report({"loss": config["lr"] / (i + 1), "eval": nested, "odd[key]": 1})

    callback = MLflowLoggerCallback(
        mlflow_server.uri, experiment_name=name, tags={"team": "vision", "n": 3}
    )
    space = {"lr": tune.grid_search([0.5, 1.0]), "text": long_text, "model": {"layers": [8, 8]}}
    grid = fit(train, tmp_path, space=space, run={"name": "exp", "callbacks": [callback]})

    runs = mlflow_server.runs(name)
    assert len(runs) == 2
    for run, result in zip(runs, grid, strict=True):
        assert result.metrics is not None
        assert run.info.status == "FINISHED"
        assert run.info.run_name == run.data.tags["trial_name"]
        assert run.data.tags["trial_id"] == result.metrics["trial_id"]
        assert run.data.tags["team"] == "vision"
        assert run.data.tags["n"] == "3"
        assert PARENT not in run.data.tags
        params = run.data.params
        assert params["lr"] == str(result.config["lr"])
        assert params["model/layers"] == "[8, 8]"
        assert params["text"] == long_text[:5999] + "…"
        lr = result.config["lr"]
        assert history(mlflow_server, run, "loss") == [(1, lr), (2, lr / 2), (3, lr / 3)]
        assert history(mlflow_server, run, "eval/acc") == [(1, 0), (2, 1), (3, 2)]
        assert history(mlflow_server, run, "odd_key_") == [(1, 1), (2, 1), (3, 1)]
        assert run.data.metrics["time_total_s"] == result.metrics["time_total_s"]
        assert math.isnan(run.data.metrics["eval/nan"])
        assert run.data.metrics["eval/inf"] > 1e308
        points = mlflow_server.client.get_metric_history(run.info.run_id, "loss")
        began, ended = run.info.start_time, run.info.end_time
        assert all(began <= point.timestamp <= ended for point in points)
        path = mlflow_server.client.download_artifacts(run.info.run_id, "params.json", tmp_path)
        assert long_text in Path(path).read_text()
    assert "MLflow" not in capfd.readouterr().err


def test_every_result_arrives_in_order(
    mlflow_server: MlflowServer, name: str, tmp_path: Path
) -> None:
    def train(config: dict[str, Any]) -> None:
        for i in range(2000):
            tune.report({"value": i * config["k"]})

    callback = MLflowLoggerCallback(mlflow_server.uri, experiment_name=name)
    space = {"k": tune.grid_search([1, 2])}
    fit(train, tmp_path, space=space, run={"callbacks": [callback]})
    for k, run in enumerate(mlflow_server.runs(name), 1):
        points = history(mlflow_server, run, "value")
        assert points == [(i + 1, i * k) for i in range(2000)]


def test_population_based_training_changes_what_is_shown(
    mlflow_server: MlflowServer, name: str, tmp_path: Path
) -> None:
    class Walk(tune.Trainable):
        def setup(self, config: dict[str, Any]) -> None:
            self.score = 0.0

        def step(self) -> dict[str, Any]:
            self.score += self.config["lr"]
            return {"score": self.score}

        def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
            return {"score": self.score}

        def load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
            self.score = checkpoint["score"]

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            return True

    scheduler = PopulationBasedTraining(
        time_attr="training_iteration",
        perturbation_interval=3,
        hyperparam_mutations={"lr": [0.1, 0.2, 0.4, 0.8], "act": ["relu", "tanh"]},
        synch=True,  # so that those change that are to, however fast each is
    )
    callback = MLflowLoggerCallback(mlflow_server.uri, experiment_name=name)
    grid = fit(
        Walk,
        tmp_path,
        space={"lr": tune.grid_search([0.1, 0.2, 0.4, 0.8]), "act": "relu"},
        run={"callbacks": [callback], "stop": {"training_iteration": 12}},
        metric="score",
        mode="max",
        scheduler=scheduler,
        reuse_actors=True,
        seed=1,
    )
    changed = 0
    for run, result, first in zip(
        mlflow_server.runs(name), grid, (0.1, 0.2, 0.4, 0.8), strict=True
    ):
        assert run.data.params["lr"] == str(first)
        series = history(mlflow_server, run, "config/lr")
        if series:
            changed += 1
            assert series[0] == (0, first)
            assert series[-1][1] == result.config["lr"]
            assert run.data.tags["config/lr"] == str(result.config["lr"])
        else:
            assert result.config["lr"] == first
        lines = Path(result.path, "result.json").read_text().splitlines()
        rows = [(row["training_iteration"], row["score"]) for row in map(json.loads, lines)]
        assert sorted(history(mlflow_server, run, "score")) == sorted(rows)
    assert changed


def test_files_and_checkpoints_are_sent_when_asked(
    mlflow_server: MlflowServer, name: str, tmp_path: Path
) -> None:
    def train(config: dict[str, Any]) -> None:
        Path("notes.txt").write_text("seen")
        for i in range(2):
            folder = Path(f"work{i}")
            folder.mkdir()
            (folder / "weights.bin").write_bytes(bytes([i]))
            checkpoint = tune.Checkpoint.from_directory(str(folder))
            tune.report({"loss": i}, checkpoint=checkpoint)

    callback = MLflowLoggerCallback(mlflow_server.uri, experiment_name=name, save_artifact=True)
    grid = fit(train, tmp_path, num_samples=2, run={"callbacks": [callback]})
    for run, result in zip(mlflow_server.runs(name), grid, strict=True):
        target = tmp_path / run.info.run_id
        target.mkdir()
        mlflow_server.client.download_artifacts(run.info.run_id, "", str(target))
        ours = {path.relative_to(result.path): path for path in Path(result.path).rglob("*")}
        ours = {name: path.read_bytes() for name, path in ours.items() if path.is_file()}
        theirs = {path.relative_to(target): path for path in target.rglob("*") if path.is_file()}
        assert {name: path.read_bytes() for name, path in theirs.items()} == ours
        assert theirs[Path("checkpoint_000001/weights.bin")].read_bytes() == b"\1"
        assert Path("result.json") in theirs


def five_checkpoints(config: dict[str, Any]) -> None:
    for i in range(5):
        folder = Path(f"work{i}")
        folder.mkdir()
        (folder / "weights.bin").write_bytes(bytes([i]))
        tune.report({"loss": i}, checkpoint=tune.Checkpoint.from_directory(str(folder)))


def test_checkpoints_that_are_not_kept_are_not_sent(
    mlflow_server: MlflowServer, name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    callback = MLflowLoggerCallback(mlflow_server.uri, experiment_name=name, save_artifact=True)
    kept = tune.CheckpointConfig(num_to_keep=2)
    grid = fit(five_checkpoints, tmp_path, run={"callbacks": [callback], "checkpoint_config": kept})
    for run, result in zip(mlflow_server.runs(name), grid, strict=True):
        theirs = sent_checkpoints(mlflow_server, run)
        ours = sorted(path.name for path in Path(result.path).glob("checkpoint_*"))
        assert theirs == ours == ["checkpoint_000003", "checkpoint_000004"]
    assert "MLflow" not in caplog.text


def test_checkpoints_that_are_not_kept_are_not_fetched_from_remote_storage(
    mlflow_server: MlflowServer,
    name: str,
    s3_server: Bucket,
    staging: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    callback = MLflowLoggerCallback(mlflow_server.uri, experiment_name=name, save_artifact=True)
    run_config = tune.RunConfig(
        name="exp",
        storage_path=s3_server.url,
        verbose=0,
        callbacks=[callback],
        checkpoint_config=tune.CheckpointConfig(num_to_keep=2),
    )
    tune.Tuner(five_checkpoints, run_config=run_config).fit()
    (run,) = mlflow_server.runs(name)
    assert sent_checkpoints(mlflow_server, run) == ["checkpoint_000003", "checkpoint_000004"]
    assert "MLflow" not in caplog.text


def test_checkpoints_come_from_remote_storage(
    mlflow_server: MlflowServer, name: str, s3_server: Bucket, staging: Path
) -> None:
    def train(config: dict[str, Any]) -> None:
        Path("work").mkdir()
        Path("work", "weights.bin").write_bytes(b"7")
        tune.report({"loss": 1}, checkpoint=tune.Checkpoint.from_directory("work"))

    callback = MLflowLoggerCallback(mlflow_server.uri, experiment_name=name, save_artifact=True)
    run_config = tune.RunConfig(
        name="exp", storage_path=s3_server.url, verbose=0, callbacks=[callback]
    )
    tune.Tuner(train, run_config=run_config).fit()
    (run,) = mlflow_server.runs(name)
    files = mlflow_server.client.list_artifacts(run.info.run_id, "checkpoint_000000")
    assert [file.path for file in files] == ["checkpoint_000000/weights.bin"]


def test_how_trials_ended(mlflow_server: MlflowServer, name: str, tmp_path: Path) -> None:
    uri = mlflow_server.uri

    def train(config: dict[str, Any]) -> None:
        setup_mlflow(config, uri, experiment_name=f"{name}-own", run_name=config["how"])
        tune.report({"loss": 1})
        if config["how"] == "fails":
            raise ValueError("no such luck")
        tune.report({"loss": 2})

    mlflow_server.client.create_experiment(f"{name}-own")
    callback = MLflowLoggerCallback(
        mlflow_server.uri, experiment_name=name, log_params_on_trial_end=True
    )
    space = {"how": tune.grid_search(["ends", "fails"])}
    fit(train, tmp_path, space=space, run={"callbacks": [callback]})
    ended, failed = mlflow_server.runs(name)
    assert [ended.info.status, failed.info.status] == ["FINISHED", "FAILED"]
    assert failed.data.tags["error"] == "ValueError: no such luck"
    assert [run.data.params for run in (ended, failed)] == [{"how": "ends"}, {"how": "fails"}]
    own = {run.info.run_name: run.info.status for run in mlflow_server.runs(f"{name}-own")}
    assert own == {"ends": "FINISHED", "fails": "FAILED"}


def test_a_retried_trial_goes_on_in_the_run_that_it_had_started(
    mlflow_server: MlflowServer, name: str, tmp_path: Path
) -> None:
    uri = mlflow_server.uri

    def train(config: dict[str, Any]) -> None:
        inner = setup_mlflow(
            config, uri, experiment_name=name, create_experiment_if_not_exists=True
        )
        inner.log_metric("attempt", 1)
        if not Path("failed").exists():
            Path("failed").touch()
            raise ValueError("once")
        tune.report({"loss": 1})

    failures = tune.FailureConfig(max_failures=1)
    fit(train, tmp_path, space={"lr": 1}, run={"failure_config": failures})
    (run,) = mlflow_server.runs(name)
    assert run.info.status == "FINISHED"
    assert len(history(mlflow_server, run, "attempt")) == 2


def test_a_paused_trial_goes_on_in_the_run_that_it_had_started(
    mlflow_server: MlflowServer, name: str, tmp_path: Path
) -> None:
    uri = mlflow_server.uri

    def train(config: dict[str, Any]) -> None:
        inner = setup_mlflow(
            config, uri, experiment_name=name, create_experiment_if_not_exists=True
        )
        checkpoint, start = tune.get_checkpoint(), 0
        if checkpoint is not None:
            with checkpoint.as_directory() as folder:
                start = int(Path(folder, "i").read_text())
        for i in range(start, 6):
            inner.log_metric("mine", i, step=i)
            Path("work").mkdir(exist_ok=True)
            Path("work", "i").write_text(str(i + 1))
            kept = tune.Checkpoint.from_directory("work")
            tune.report({"score": config["lr"] * i}, checkpoint=kept)

    scheduler = PopulationBasedTraining(
        time_attr="training_iteration",
        perturbation_interval=2,
        hyperparam_mutations={"lr": [0.5, 4]},
        quantile_fraction=0.5,
        synch=True,
    )
    grid = fit(
        train,
        tmp_path,
        space={"lr": tune.grid_search([1, 2])},
        metric="score",
        mode="max",
        scheduler=scheduler,
        seed=1,
    )
    runs = mlflow_server.runs(name)
    assert [run.info.status for run in runs] == ["FINISHED"] * 2
    assert [run.data.params["lr"] for run in runs] == ["1", "2"]
    assert {step for run in runs for step, _ in history(mlflow_server, run, "mine")} == {*range(6)}
    for run, result in zip(runs, grid, strict=True):
        if str(result.config["lr"]) != run.data.params["lr"]:
            assert run.data.tags["config/lr"] == str(result.config["lr"])
    assert any("config/lr" in run.data.tags for run in runs)
