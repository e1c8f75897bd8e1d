"""Settings that all tests share."""

import os
import re
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import settings
from steady_environ import keep_environ_in_place

pytest_plugins = ["browser", "servers"]

keep_environ_in_place()
os.environ.pop("COLUMNS", None)  # pytest-xdist sets it for its workers
os.environ.setdefault("KERAS_BACKEND", "torch")  # what Keras is used with here

settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("repeatable")

_MISSING_TOOL = re.compile("could not import|is not installed")


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where experiments go that do not say where."""
    folder = tmp_path / "results"
    monkeypatch.setenv("TUNER_RESULTS_DIR", str(folder))
    return folder


@pytest.fixture(autouse=True)
def slow_recorders_are_no_news(monkeypatch: pytest.MonkeyPatch) -> None:
    """What tests read does not depend on how fast the machine completes files."""
    monkeypatch.setattr("tuner.recording.process._NOTICE_AFTER_S", 600.0)


@pytest.fixture(autouse=True)
def mlflow_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow keeps what other tests told it, in the environment and in a module."""
    for variable in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_ID", "MLFLOW_RUN_ID"):
        monkeypatch.setenv(variable, "")
        monkeypatch.delenv(variable)
    if "mlflow.tracking.fluent" in sys.modules:
        mlflow = sys.modules["mlflow"]
        mlflow.set_tracking_uri(None)
        mlflow.tracking.fluent._active_experiment_id = None


@pytest.fixture
def nothing_was_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of older APIs warn as in a fresh process."""
    from tuner.legacy import deprecation

    monkeypatch.setattr(deprecation, "_warned", set())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In continuous integration, a test that skips for want of a tool fails."""
    report = yield
    if os.environ.get("CI"):
        _fail_for_missing_tool(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a whole module of tests."""
    report = yield
    if os.environ.get("CI"):
        _fail_for_missing_tool(report)
    return report


def _fail_for_missing_tool(report: pytest.TestReport | pytest.CollectReport) -> None:
    if not report.skipped or not isinstance(report.longrepr, tuple):
        return
    reason = report.longrepr[2]
    if _MISSING_TOOL.search(reason):
        report.outcome = "failed"
        report.longrepr = f"CI is set, so a missing tool is a failure: {reason}"
