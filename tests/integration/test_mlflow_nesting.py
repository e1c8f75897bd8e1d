"""Below which run those of trials nest, and in which MLflow experiment they are."""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import Any

import pytest
from fit_helpers import fit
from mlflow_helpers import PARENT, three_results
from servers import MlflowServer

import tuner as tune
from tuner.integrations.mlflow import MLflowLoggerCallback, setup_mlflow

mlflow = pytest.importorskip("mlflow")


@pytest.fixture
def name() -> str:
    return f"test-{uuid.uuid4().hex[:8]}"


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
