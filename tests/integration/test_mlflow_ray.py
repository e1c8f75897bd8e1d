"""MLflow where trials run on a Ray cluster."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from fit_helpers import fit

from tuner.integrations.mlflow import MLflowLoggerCallback, setup_mlflow

mlflow = pytest.importorskip("mlflow")


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    """A cluster whose nodes know another server and another run than the script."""
    with pytest.MonkeyPatch.context() as patch:
        for variable in ("MLFLOW_TRACKING_URI", "TUNER_MLFLOW_TRACKING_URI"):
            patch.setenv(variable, "http://127.0.0.1:1")
        patch.setenv("MLFLOW_RUN_ID", "0" * 32)
        ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def train(config: dict[str, Any]) -> dict[str, Any]:
    here = setup_mlflow(config, run_name="of the trial itself")
    here.log_metric("own", config["x"])
    return {"x": config["x"]}


def test_runs_of_trials_nest_below_the_run_of_the_driver(tmp_path: Path) -> None:
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    mlflow.set_experiment("on_ray")
    with mlflow.start_run() as parent:
        grid = fit(train, tmp_path, space={"x": 3}, run={"callbacks": [MLflowLoggerCallback()]})
    assert grid.errors == []
    runs = mlflow.search_runs(
        filter_string=f"tags.mlflow.parentRunId = '{parent.info.run_id}'", output_format="list"
    )
    metrics = sorted(name for run in runs for name in run.data.metrics if name in ("own", "x"))
    assert (len(runs), metrics) == (2, ["own", "x"])
    assert {run.info.status for run in runs} == {"FINISHED"}


def plain(config: dict[str, Any]) -> dict[str, Any]:
    mlflow.set_tracking_uri(os.environ["TUNER_MLFLOW_TRACKING_URI"])
    with mlflow.start_run(run_name="plain"):
        mlflow.log_metric("own", 1)
    return train(config)


def test_the_run_of_a_job_is_the_parent_and_not_that_of_trials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    experiment = mlflow.set_experiment("job").experiment_id
    client = mlflow.MlflowClient()
    job = client.create_run(experiment).info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", job)
    grid = fit(plain, tmp_path, space={"x": 3})
    assert grid.errors == []
    assert (client.get_run(job).info.status, client.get_run(job).data.metrics) == ("RUNNING", {})
    runs = {run.info.run_name: run for run in client.search_runs([experiment])}
    assert runs["of the trial itself"].data.tags["mlflow.parentRunId"] == job
