"""The arguments of the MLflow integration, and what the driver tells its processes."""

from __future__ import annotations

import inspect
import os
import pickle
import subprocess
import sys
from types import SimpleNamespace

import pytest

from tuner.config import RunConfig
from tuner.errors import ConfigError, MissingDependencyError
from tuner.integrations.mlflow import MLflowLoggerCallback, setup_mlflow, surrounding_variables

PARENT = "TUNER_MLFLOW_PARENT_RUN_ID"
URI = "TUNER_MLFLOW_TRACKING_URI"
SURROUNDING = "TUNER_MLFLOW_SURROUNDING_RUN_ID"
URI_OF_DRIVER = "TUNER_MLFLOW_DRIVER_TRACKING_URI"


@pytest.mark.parametrize("name", ["MLflowLoggerCallback", "setup_mlflow"])
def test_parameters_are_those_of_ray(name: str) -> None:
    theirs = getattr(pytest.importorskip("ray.air.integrations.mlflow"), name)
    ours = {"MLflowLoggerCallback": MLflowLoggerCallback, "setup_mlflow": setup_mlflow}[name]

    def shape(function: object) -> list[tuple[str, object, object]]:
        parameters = inspect.signature(function).parameters.values()
        return [(each.name, each.kind, each.default) for each in parameters]

    assert shape(ours) == shape(theirs)


def test_importing_it_does_not_import_mlflow() -> None:
    code = (
        "import sys, tuner, tuner.integrations.mlflow as m; m.MLflowLoggerCallback('http://x'); "
        "sys.exit('mlflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_missing_mlflow_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    monkeypatch.delitem(sys.modules, "mlflow")
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "path_importer_cache", {})
    for use in (MLflowLoggerCallback, setup_mlflow):
        with pytest.raises(MissingDependencyError, match=r'pip install "tuner\[mlflow\]"'):
            use()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tags": ["a"]}, r"tags=\['a'\] must be a dictionary"),
        ({"experiment_name": 3}, "experiment_name=3 must be a string"),
        ({"tracking_uri": 3}, "tracking_uri=3 must be a string"),
    ],
)
def test_impossible_arguments_are_named(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        MLflowLoggerCallback(**arguments)


@pytest.mark.parametrize(
    "name", ["tracking_uri", "registry_uri", "experiment_id", "experiment_name", "run_name"]
)
def test_impossible_arguments_of_setup_are_named(name: str) -> None:
    with pytest.raises(ConfigError, match=f"setup_mlflow: {name}=5 must be a string"):
        setup_mlflow({}, **{name: 5})


def test_two_that_write_to_the_same_are_an_error() -> None:
    a, b = (MLflowLoggerCallback("http://x", experiment_name=name) for name in "ab")
    RunConfig(callbacks=[a, b])
    with pytest.raises(ConfigError, match="the MLflow experiment 'a' at http://x"):
        RunConfig(callbacks=[a, b, MLflowLoggerCallback("http://x", experiment_name="a")])
    with pytest.raises(ConfigError, match="at the default server"):
        RunConfig(callbacks=[MLflowLoggerCallback(), MLflowLoggerCallback()])


def test_a_token_is_set_and_not_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "old")
    callback = MLflowLoggerCallback("http://x", tracking_token="very secret")
    assert os.environ["MLFLOW_TRACKING_TOKEN"] == "very secret"
    assert b"very secret" not in pickle.dumps(callback)


def test_processes_learn_of_the_server_and_the_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "mlflow", raising=False)
    callback = MLflowLoggerCallback("http://x", tags={"mlflow.parentRunId": "p"})
    assert surrounding_variables([callback]) == {PARENT: "p", URI: "http://x"}
    assert surrounding_variables([]) == {}


def test_the_parent_in_the_tags_comes_before_the_active_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    active = SimpleNamespace(info=SimpleNamespace(run_id="active"))
    mlflow = SimpleNamespace(active_run=lambda: active, get_tracking_uri=lambda: "http://y")
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    for_loggers = {SURROUNDING: "active", URI_OF_DRIVER: "http://y"}
    of_the_run = {PARENT: "active", URI: "http://y", **for_loggers}
    assert surrounding_variables([MLflowLoggerCallback()]) == of_the_run
    assert surrounding_variables([]) == of_the_run
    callback = MLflowLoggerCallback("http://x", tags={"mlflow.parentRunId": "p"})
    of_the_first = {PARENT: "p", URI: "http://x", **for_loggers}
    assert surrounding_variables([callback, MLflowLoggerCallback()]) == of_the_first


def test_it_says_how_long_it_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNER_MLFLOW_WAIT_S", "7")
    words = "MLflow (at most 7 s without progress, TUNER_MLFLOW_WAIT_S)"
    assert MLflowLoggerCallback("http://x").delivers_to == words


def test_it_says_that_it_needs_a_recorder() -> None:
    with pytest.raises(ConfigError, match="recorder"):
        MLflowLoggerCallback("http://x").setup()
