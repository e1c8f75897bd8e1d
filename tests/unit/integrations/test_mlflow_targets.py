"""Which callbacks would give every trial two runs."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from tuner.errors import ConfigError
from tuner.integrations.mlflow import MLflowLoggerCallback as Logger
from tuner.integrations.mlflow_targets import check_targets

PARENT = "mlflow.parentRunId"


def in_driver(monkeypatch: pytest.MonkeyPatch, uri: str, run_id: str | None = None) -> None:
    """Has MLflow use a server in this process, maybe within a run."""
    active = None if run_id is None else SimpleNamespace(info=SimpleNamespace(run_id=run_id))
    mlflow = SimpleNamespace(active_run=lambda: active, get_tracking_uri=lambda: uri)
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)


@pytest.fixture(autouse=True)
def without_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "mlflow", raising=False)
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)


def refused(*callbacks: Logger) -> str:
    with pytest.raises(ConfigError) as raised:
        check_targets(callbacks, "exp")
    return str(raised.value)


def test_the_server_that_is_given_and_the_one_of_the_driver_are_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    in_driver(monkeypatch, "http://x")
    assert "the MLflow experiment 'exp' at http://x, or name" in refused(
        Logger("http://x/"), Logger()
    )
    assert "at http://x" in refused(Logger(), Logger("http://y"), Logger("http://x"))
    check_targets([Logger("http://y"), Logger()], "exp")


def test_so_are_the_one_that_is_given_and_the_one_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://x")
    assert "at http://x" in refused(Logger("http://x"), Logger())


def test_below_a_parent_the_name_of_the_experiment_does_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    callbacks = [Logger("http://x", experiment_name=name) for name in "ab"]
    check_targets(callbacks, "exp")
    in_driver(monkeypatch, "http://x", "r1")
    assert "the MLflow experiment of the parent run r1 at http://x" in refused(*callbacks)
    check_targets([callbacks[0], Logger("http://x", tags={PARENT: "r2"})], "exp")


def test_the_name_of_the_experiment_may_come_from_anywhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert "'exp' at the default" in refused(Logger(), Logger(experiment_name="exp"))
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "given")
    assert "'given' at the default" in refused(Logger(), Logger(experiment_name="given"))
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "7")
    check_targets([Logger(), Logger(experiment_name="given")], "exp")
