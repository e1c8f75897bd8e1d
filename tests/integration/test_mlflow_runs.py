"""What real experiments leave in a real MLflow server."""

from __future__ import annotations

import json
import math
import os
import uuid
from pathlib import Path
from typing import Any

import pytest
from fit_helpers import fit
from servers import Bucket, MlflowServer

import tuner as tune
from tuner.integrations.mlflow import MLflowLoggerCallback, setup_mlflow
from tuner.schedulers import PopulationBasedTraining

mlflow = pytest.importorskip("mlflow")

PARENT = "mlflow.parentRunId"


@pytest.fixture
def name() -> str:
    return f"test-{uuid.uuid4().hex[:8]}"


@pytest.fixture(autouse=True)
def _leave_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow writes down in the environment what it is told."""
    for variable in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_ID", "MLFLOW_RUN_ID"):
        monkeypatch.setenv(variable, "")
        monkeypatch.delenv(variable)
    yield
    mlflow.set_tracking_uri(None)


def three_results(config: dict[str, Any]) -> None:
    for i in range(3):
        tune.report({"loss": config.get("lr", 1) / (i + 1)})


def history(server: MlflowServer, run: Any, key: str) -> list[tuple[int, float]]:
    points = server.client.get_metric_history(run.info.run_id, key)
    return [(point.step, point.value) for point in points]


def sent_checkpoints(server: MlflowServer, run: Any) -> list[str]:
    files = server.client.list_artifacts(run.info.run_id)
    return sorted(file.path for file in files if file.path.startswith("checkpoint_"))


def test_a_trial_becomes_a_run(
    mlflow_server: MlflowServer, name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
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


def test_runs_nest_below_the_run_that_a_tag_names(
    mlflow_server: MlflowServer, name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    client = mlflow_server.client
    parent = client.create_run(client.create_experiment(name)).info.run_id
    callback = MLflowLoggerCallback(
        mlflow_server.uri, experiment_name="another", tags={PARENT: parent}
    )
    fit(three_results, tmp_path, num_samples=2, run={"callbacks": [callback]})
    children = [run for run in mlflow_server.runs(name) if run.info.run_id != parent]
    assert [run.data.tags[PARENT] for run in children] == [parent, parent]
    assert "not to experiment_name='another'" in capfd.readouterr().err
    assert client.get_experiment_by_name("another") is None


def test_a_parent_that_is_missing_or_deleted_is_told(
    mlflow_server: MlflowServer, name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    client = mlflow_server.client
    deleted = client.create_run(client.create_experiment(name)).info.run_id
    client.delete_run(deleted)
    for parent in (deleted, "0" * 32):
        callback = MLflowLoggerCallback(
            mlflow_server.uri, experiment_name=name, tags={PARENT: parent}
        )
        fit(three_results, tmp_path, num_samples=1, run={"callbacks": [callback]})
    runs = mlflow_server.runs(name)
    assert {run.data.tags.get(PARENT) for run in runs} == {deleted, None}
    said = capfd.readouterr().err
    assert said.count(f"run {deleted} was deleted") == 1
    assert said.count(f"no run {'0' * 32}: no run is nested") == 1


def test_a_deleted_experiment_is_told_once(
    mlflow_server: MlflowServer,
    name: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    mlflow_server.client.delete_experiment(mlflow_server.client.create_experiment(name))
    callback = MLflowLoggerCallback(mlflow_server.uri, experiment_name=name)
    fit(three_results, tmp_path, num_samples=1, run={"callbacks": [callback]})
    said = capfd.readouterr().err + caplog.text
    assert said.count("gets nothing of this experiment") == 1
    assert "has not taken" not in said


@pytest.mark.parametrize("executor", ["local", "inline"])
def test_runs_nest_below_the_active_run(
    mlflow_server: MlflowServer, name: str, tmp_path: Path, executor: str
) -> None:
    """Those of the callback and those that trials start themselves, which are their siblings."""

    def train(config: dict[str, Any]) -> None:
        inner = setup_mlflow(config, run_name=f"own {config['i']}")
        inner.log_metric("mine", config["i"], step=1)
        tune.report({"loss": 1})
        if config["i"] == 2:
            inner.end_run()

    mlflow.set_tracking_uri(mlflow_server.uri)
    mlflow.set_experiment(name)
    with mlflow.start_run(run_name="a parent") as parent:
        fit(
            train,
            tmp_path,
            space={"i": tune.grid_search([1, 2])},
            run={"callbacks": [MLflowLoggerCallback()], "name": "x", "executor": executor},
        )
        assert mlflow.active_run().info.run_id == parent.info.run_id
    assert "TUNER_MLFLOW_PARENT_RUN_ID" not in os.environ
    first, *children = mlflow_server.runs(name)
    assert first.info.run_id == parent.info.run_id
    assert [run.data.tags[PARENT] for run in children] == [parent.info.run_id] * 4
    assert [run.info.status for run in children] == ["FINISHED"] * 4
    own = [run for run in children if run.info.run_name.startswith("own")]
    assert [run.data.metrics for run in own] == [{"mine": 1.0}, {"mine": 2.0}]
    assert [run.data.params for run in own] == [{"i": "1"}, {"i": "2"}]


@pytest.mark.parametrize("variable", ["MLFLOW_RUN_ID", "AZUREML_RUN_ID"])
def test_runs_nest_below_the_run_of_the_job(
    mlflow_server: MlflowServer,
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
) -> None:
    client = mlflow_server.client
    job = client.create_run(client.create_experiment(name)).info.run_id
    monkeypatch.setenv(variable, job)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server.uri)

    def train(config: dict[str, Any]) -> None:
        setup_mlflow(config)
        tune.report({"loss": 1})

    fit(train, tmp_path, run={"callbacks": [MLflowLoggerCallback()]})
    children = [run for run in mlflow_server.runs(name) if run.info.run_id != job]
    assert [run.data.tags[PARENT] for run in children] == [job, job]
    assert client.get_run(job).info.status == "RUNNING"


def plain_and_ours(config: dict[str, Any]) -> None:
    here = os.environ["MLFLOW_EXPERIMENT_ID"]
    for i in range(2):
        with mlflow.start_run(run_name="plain", experiment_id=here):
            mlflow.log_param("i", config["i"] + i)
    setup_mlflow(config, run_name="ours")
    tune.report({"loss": 1})


@pytest.mark.parametrize("executor", ["local", "inline"])
@pytest.mark.parametrize("variables", [["MLFLOW_RUN_ID"], ["MLFLOW_RUN_ID", "AZUREML_RUN_ID"]])
def test_plain_mlflow_in_trials_leaves_the_run_of_the_job_alone(
    mlflow_server: MlflowServer,
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    executor: str,
    variables: list[str],
) -> None:
    client = mlflow_server.client
    experiment = client.create_experiment(name)
    job = client.create_run(experiment).info.run_id
    for variable in variables:
        monkeypatch.setenv(variable, job)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server.uri)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", experiment)

    grid = fit(
        plain_and_ours,
        tmp_path,
        space={"i": tune.grid_search([1, 5])},
        run={"callbacks": [], "executor": executor},
    )
    assert grid.errors == []
    assert os.environ["MLFLOW_RUN_ID"] == job
    runs = {run.info.run_id: run for run in mlflow_server.runs(name)}
    of_job = runs.pop(job)
    assert (of_job.info.status, of_job.data.params, of_job.data.metrics) == ("RUNNING", {}, {})
    found = [(run.info.run_name, run.data.tags.get(PARENT)) for run in runs.values()]
    assert sorted(found, key=str) == [("ours", job)] * 2 + [("plain", None)] * 4


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


@pytest.mark.timeout(60)
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


@pytest.mark.timeout(60)
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


def test_setup_names_an_experiment_that_does_not_exist(
    mlflow_server: MlflowServer, name: str
) -> None:
    with pytest.raises(tune.TuneError, match=f"no experiment '{name}'.*create_experiment"):
        setup_mlflow({}, mlflow_server.uri, experiment_name=name)


def test_setup_names_an_id_that_does_not_exist(mlflow_server: MlflowServer, name: str) -> None:
    with pytest.raises(tune.TuneError, match=r"no experiment_id='99999'.*experiment_name"):
        setup_mlflow({}, mlflow_server.uri, experiment_id="99999")
    setup_mlflow(
        {},
        mlflow_server.uri,
        experiment_id="99999",
        experiment_name=name,
        create_experiment_if_not_exists=True,
    ).end_run()
    assert len(mlflow_server.runs(name)) == 1


@pytest.mark.parametrize("named", [True, False])
def test_setup_without_a_name_goes_where_the_callback_does(
    mlflow_server: MlflowServer, name: str, tmp_path: Path, named: bool
) -> None:
    def train(config: dict[str, Any]) -> None:
        setup_mlflow(config, run_name="own")
        tune.report({"loss": 1})

    callback = MLflowLoggerCallback(mlflow_server.uri, experiment_name=name if named else None)
    run = {"callbacks": [callback], "name": "exp" if named else name}
    assert fit(train, tmp_path, num_samples=1, run=run).errors == []
    assert len([run for run in mlflow_server.runs(name) if run.info.run_name == "own"]) == 1
    assert len(mlflow_server.runs(name)) == 2


def test_setup_names_a_server_that_does_not_answer(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TUNER_MLFLOW_WAIT_S", "1")
    retries = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
    monkeypatch.setenv(retries, "5")
    with pytest.raises(tune.TuneError, match=r"setup_mlflow: MLflow at http://127\.0\.0\.1:1 "):
        setup_mlflow({}, "http://127.0.0.1:1")
    assert caplog.text.count("setup_mlflow tries again") == 1
    assert os.environ[retries] == "5"


def test_setup_outside_of_a_trial(mlflow_server: MlflowServer, name: str) -> None:
    inner = setup_mlflow(
        {"lr": 1},
        mlflow_server.uri,
        experiment_name=name,
        create_experiment_if_not_exists=True,
        run_name="alone",
        tags={"team": "vision"},
    )
    inner.log_metric("loss", 1)
    inner.end_run()
    (run,) = mlflow_server.runs(name)
    assert (run.info.run_name, run.data.tags["team"]) == ("alone", "vision")
    assert (run.data.params, run.data.metrics) == ({"lr": "1"}, {"loss": 1.0})


def test_without_a_server_it_is_a_database_in_the_drivers_directory(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch, mlflow_server: MlflowServer
) -> None:
    """Where trials, which have directories of their own, find it too."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mlflow.db").write_bytes((mlflow_server.folder / "mlflow.db").read_bytes())

    def train(config: dict[str, Any]) -> None:
        setup_mlflow(config, experiment_name=name, create_experiment_if_not_exists=True)
        tune.report({"loss": 1})

    callback = MLflowLoggerCallback(experiment_name=name)
    fit(train, tmp_path, run={"callbacks": [callback]})
    client = mlflow.tracking.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    experiment = client.get_experiment_by_name(name)
    runs = client.search_runs([experiment.experiment_id])
    assert [run.info.status for run in runs] == ["FINISHED"] * 2
