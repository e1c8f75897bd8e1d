"""Databases that MLflow has not made yet, or only in part."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from fit_helpers import fit

import tuner as tune
from tuner.integrations.mlflow import MLflowLoggerCallback, setup_mlflow
from tuner.integrations.mlflow_destination import Unavailable, classified

mlflow = pytest.importorskip("mlflow")
OperationalError = pytest.importorskip("sqlalchemy.exc").OperationalError


def test_trials_that_open_a_new_database_at_once_make_it_once(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/new/mlflow.db"

    def train(config: dict[str, Any]) -> None:
        setup_mlflow(config, uri, experiment_name="exp", create_experiment_if_not_exists=True)
        tune.report({"loss": 1})

    callback = MLflowLoggerCallback(uri, experiment_name="exp")
    results = fit(train, tmp_path, num_samples=3, run={"callbacks": [callback]})
    assert results.errors == []
    client = mlflow.tracking.MlflowClient(uri)
    experiment = client.get_experiment_by_name("exp")
    runs = client.search_runs([experiment.experiment_id])
    assert [run.info.status for run in runs] == ["FINISHED"] * 6


def test_a_database_that_was_made_in_part_is_named_at_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As one that is killed while it makes the tables leaves it; waiting mends nothing."""
    path = tmp_path / "mlflow.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE _alembic_tmp_tags (key TEXT)")
    with pytest.raises(tune.TuneError, match=r"mlflow\.db, .* in part.*tags already exists"):
        setup_mlflow({}, f"sqlite:///{path}")
    assert "tries again" not in caplog.text


def test_a_database_that_cannot_be_read_now_is_no_server_that_does_not_answer() -> None:
    with pytest.raises(Unavailable) as raised, classified():
        raise OperationalError("SELECT 1", {}, Exception("database is locked"))
    assert raised.value.how == "cannot be used"
