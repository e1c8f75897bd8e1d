"""The MLflow tests once more in the environment of an AzureML job, which has an older MLflow."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest
from servers import MLFLOW_SERVER, MlflowServer

ROOT = Path(__file__).parents[2]
CONDA = ROOT / "examples" / "azureml" / "environment" / "conda.yml"
NEEDED = r"^ *- ((?:azure-common|azureml-mlflow|mlflow-skinny)==[\w.]+)"  # of what the job has
TOOLS = ["hypothesis", "pytest", "pytest-timeout"]
PLUGIN = """
from importlib.metadata import entry_points
import mlflow.version
(store,) = [each for each in entry_points(group="mlflow.tracking_store") if each.name == "azureml"]
store.load()
print(mlflow.version.VERSION)
"""
TESTS = ("runs", "nesting", "setup")
CHOSEN = "becomes_a_run or nest or goes_on or files or outside or plain"


def job_pins() -> list[str]:
    """What the job's environment installs for the callback: MLflow, and what connects it."""
    pins = re.findall(NEEDED, CONDA.read_text(), re.MULTILINE)
    assert len(pins) == 3, pins
    return pins


@pytest.fixture(scope="module")
def job_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with what the job and this library need, not more."""
    folder = tmp_path_factory.mktemp("azureml")
    venv.create(folder, with_pip=True)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    command = [folder / "bin" / "python", "-m", "pip", "install", "--quiet"]
    environ = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [*command, *job_pins(), *TOOLS, *project["dependencies"]],
        capture_output=True,
        text=True,
        env=environ,
    )
    assert done.returncode == 0, done.stderr
    return folder / "bin" / "python"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_in_the_environment_of_an_azureml_job(
    job_python: Path, mlflow_server: MlflowServer
) -> None:
    """About a minute to install what it needs, and another one to run."""
    plugin = subprocess.run([job_python, "-c", PLUGIN], capture_output=True, text=True)
    assert plugin.returncode == 0, plugin.stderr
    assert f"mlflow-skinny=={plugin.stdout.strip()}" in job_pins()
    environ = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        MLFLOW_SERVER: f"{mlflow_server.port} {mlflow_server.folder}",
    }
    tests = [ROOT / "tests" / "integration" / f"test_mlflow_{name}.py" for name in TESTS]
    done = subprocess.run(
        [job_python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", CHOSEN, *tests],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped" not in done.stdout
    assert sys.prefix not in done.stdout
