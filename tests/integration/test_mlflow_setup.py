"""`setup_mlflow`: where its runs go, and what it refuses."""

from __future__ import annotations

import logging
import os
import uuid
from pathlib import Path
from typing import Any

import pytest
from fit_helpers import fit
from servers import MlflowServer

import tuner as tune
from tuner.integrations import mlflow_trial
from tuner.integrations.mlflow import MLflowLoggerCallback, setup_mlflow

mlflow = pytest.importorskip("mlflow")


@pytest.fixture
def name() -> str:
    return f"test-{uuid.uuid4().hex[:8]}"


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


class Clock:
    """Time in which nothing but waiting takes long."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_setup_names_a_server_that_does_not_answer(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(mlflow_trial, "time", Clock())
    monkeypatch.setenv("TUNER_MLFLOW_WAIT_S", "1")
    retries = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
    monkeypatch.setenv(retries, "5")
    with pytest.raises(tune.TuneError, match=r"setup_mlflow: MLflow at http://127\.0\.0\.1:1 "):
        setup_mlflow({}, "http://127.0.0.1:1")
    assert caplog.text.count("setup_mlflow tries again") == 1
    assert os.environ[retries] == "5"


def test_setup_outside_of_a_trial(mlflow_server: MlflowServer, name: str) -> None:
    level = logging.getLogger("mlflow").level
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
    assert logging.getLogger("mlflow").level == level != logging.ERROR, "MLflow speaks to its user"


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
