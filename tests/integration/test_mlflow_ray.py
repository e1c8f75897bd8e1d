"""MLflow where trials run on a Ray cluster."""

from __future__ import annotations

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
    """A cluster whose nodes know another server than the script."""
    with pytest.MonkeyPatch.context() as patch:
        for variable in ("MLFLOW_TRACKING_URI", "TUNER_MLFLOW_TRACKING_URI"):
            patch.setenv(variable, "http://127.0.0.1:1")
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
