"""Two callbacks of one experiment that send to the same, or seem not to."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
from fit_helpers import fit
from mlflow_helpers import three_results
from servers import MlflowServer

import tuner as tune
from tuner.integrations.mlflow import MLflowLoggerCallback
from tuner.integrations.mlflow_destination import Address, Destination
from tuner.integrations.mlflow_runs import EXPERIMENT_TAG, KEY_TAG, SENDER_TAG

mlflow = pytest.importorskip("mlflow")


@pytest.fixture
def name() -> str:
    return f"test-{uuid.uuid4().hex[:8]}"


def test_two_that_send_to_the_same_are_refused_before_anything_runs(
    mlflow_server: MlflowServer, name: str, tmp_path: Path
) -> None:
    mlflow.set_tracking_uri(mlflow_server.uri)
    callbacks = [MLflowLoggerCallback(mlflow_server.uri), MLflowLoggerCallback()]
    with pytest.raises(tune.TuneError, match=f"'{name}' at {mlflow_server.uri}, or name another"):
        fit(three_results, tmp_path, run={"name": name, "callbacks": callbacks})
    assert not list(tmp_path.rglob("journal"))
    assert mlflow_server.client.get_experiment_by_name(name) is None


def test_a_restore_below_one_parent_is_refused(
    mlflow_server: MlflowServer, name: str, tmp_path: Path
) -> None:
    uri, names = mlflow_server.uri, (f"{name}-a", f"{name}-b")
    callbacks = [MLflowLoggerCallback(uri, experiment_name=each) for each in names]
    path = fit(three_results, tmp_path, run={"callbacks": callbacks}).experiment_path
    mlflow.set_tracking_uri(uri)
    with mlflow.start_run() as parent, pytest.raises(tune.TuneError, match=parent.info.run_id):
        tune.Tuner.restore(path).fit()
    tune.Tuner.restore(path).fit()
    of_a, of_b = (mlflow_server.runs(each) for each in names)
    assert len(of_a) == len(of_b) == 1
    assert of_a[0].data.tags[SENDER_TAG] != of_b[0].data.tags[SENDER_TAG]


def test_a_sender_finds_its_own_runs_and_those_of_older_releases(
    mlflow_server: MlflowServer, name: str
) -> None:
    destination = Destination(Address(mlflow_server.uri, experiment_name=name), [])
    of_older = {EXPERIMENT_TAG: "exp", KEY_TAG: "t0"}
    old = destination.create("t0", of_older, 0.0)
    runs = {
        sender: destination.create("t1", {**of_older, KEY_TAG: "t1", SENDER_TAG: sender}, 0.0)
        for sender in ("mlflow-1", "mlflow-2")
    }
    for sender, run_id in runs.items():
        found = {key: run.run_id for key, run in destination.find("exp", sender).items()}
        assert found == {"t0": old, "t1": run_id}


def test_a_callback_without_a_server_takes_that_of_the_driver_not_of_the_first_one(
    mlflow_server: MlflowServer, name: str, tmp_path: Path
) -> None:
    mlflow.set_tracking_uri(mlflow_server.uri)
    first = MLflowLoggerCallback(f"sqlite:///{tmp_path}/other.db", experiment_name=name)
    callbacks = [first, MLflowLoggerCallback(experiment_name=name)]
    fit(three_results, tmp_path, run={"callbacks": callbacks})
    assert len(mlflow_server.runs(name)) == 1
