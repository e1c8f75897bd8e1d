"""The AzureML jobs in examples/azureml/ are what the service's own package takes them for."""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from fit_helpers import start_script, wait_until
from packaging.requirements import Requirement

load_job = pytest.importorskip("azure.ai.ml").load_job

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

ROOT = Path(__file__).parents[2]
AZUREML = ROOT / "examples" / "azureml"
JOBS = ["job.yml", "job_multi_node.yml"]


@pytest.fixture(params=JOBS)
def job(request: pytest.FixtureRequest) -> Any:
    return load_job(AZUREML / request.param)


def test_every_job_is_tested() -> None:
    assert sorted(path.name for path in AZUREML.glob("*.yml")) == JOBS


def test_a_job_is_valid_and_its_command_can_run(job: Any) -> None:
    assert job._validate().passed
    assert (AZUREML / job.code).resolve() == ROOT
    assert set(re.findall(r"\$\{\{inputs\.(\w+)\}\}", job.command)) == set(job.inputs)
    check_inputs_and_scripts(job)
    assert job.compute == "cpu-cluster"
    assert job.environment.image.startswith("mcr.microsoft.com/azureml/")


def check_inputs_and_scripts(job: Any) -> None:
    assert set(re.findall(r"\$\{\{inputs\.(\w+)\}\}", job.command)) <= set(job.inputs)
    words = shlex.split(job.command)
    assert words[0] == "PYTHONPATH=$PWD", "the library is not installed there"
    scripts = [ROOT / word for word in words if word.endswith(".py")]
    assert all(script.is_file() for script in scripts)
    options = [word for word in words if word.startswith("--")]
    assert all(f'"{option}"' in scripts[-1].read_text() for option in options)


def test_what_a_job_uploads_is_the_library_and_the_examples(job: Any) -> None:
    from azure.ai.ml._utils._asset_utils import get_ignore_file, get_upload_files_from_folder

    code = AZUREML / job.code
    files = get_upload_files_from_folder(code, ignore_file=get_ignore_file(code))
    names = {os.path.relpath(name, ".") for _, name in files}
    assert "examples/azureml/launch.py" in names
    assert "tuner/tuner.py" in names
    assert "tuner/integrations/tensorboard.py" in names, "a symbolic link leads there"
    assert {name.split("/")[0] for name in names if "/" in name} == {
        "examples",
        "integrations",
        "tuner",
    }
    assert not [name for name in names if "__pycache__" in name or ".git/" in name]
    assert sum(os.path.getsize(path) for path, _ in files) < 5e6


def test_one_node_is_a_cluster_too() -> None:
    job = load_job(AZUREML / "job.yml")
    assert job.resources.instance_count == 1
    assert job.distribution is None
    assert scripts_of(job) == ["examples/azureml/launch.py", "examples/pbt_ppo.py"]


def test_several_nodes_run_the_launcher_once_each() -> None:
    job = load_job(AZUREML / "job_multi_node.yml")
    assert job.resources.instance_count > 1
    assert job.distribution.type.lower() == "pytorch"
    assert job.distribution.process_count_per_instance == 1
    assert scripts_of(job) == ["examples/azureml/launch.py", "examples/pbt_ppo.py"]


def scripts_of(job: Any) -> list[str]:
    """The scripts that a job's command names, in order."""
    return [word for word in shlex.split(job.command) if word.endswith(".py")]


def commands_of_the_readme() -> list[list[str]]:
    """The words of each `az ml job create` there."""
    text = (AZUREML / "README.md").read_text().replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines()]
    return [shlex.split(line) for line in lines if line.startswith("az ml job create")]


@pytest.mark.parametrize("words", commands_of_the_readme(), ids=" ".join)
def test_the_commands_of_the_readme_make_valid_jobs(words: list[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--file", required=True)
    parser.add_argument("--stream", action="store_true")
    parser.add_argument("--set", nargs="+", default=[])
    options = parser.parse_args(words[4:])
    changes = [dict([change.split("=", 1)]) for change in options.set]
    job = load_job(ROOT / options.file, params_override=changes)
    assert job._validate().passed
    check_inputs_and_scripts(job)
    for change in changes:
        for name, value in change.items():
            changed = job
            for part in name.split("."):
                changed = changed[part] if isinstance(changed, dict) else getattr(changed, part)
            assert str(getattr(changed, "_data", changed)) == value


def test_the_environment_has_what_the_library_needs(job: Any) -> None:
    conda = job.environment.conda_file["dependencies"]
    assert "python=3.11" in conda
    (pip,) = (each["pip"] for each in conda if isinstance(each, dict))
    listed = {
        Requirement(line).name.lower(): Requirement(line)
        for line in pip
        if not line.startswith("--")
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    needed = [*project["dependencies"], *extras["azure"], *extras["rllib"]]
    for line in needed:
        requirement = Requirement(line)
        here = listed[requirement.name.lower()]
        assert here.extras >= requirement.extras
        assert str(requirement.specifier) in str(here.specifier) or all(
            requirement.specifier.contains(each.version) for each in here.specifier
        )
    assert str(listed["azureml-mlflow"].specifier) == "==1.62.0"


INTERRUPTED = """
from pathlib import Path
import tuner as tune

def train(config):
    tune.report({"i": 1})
    with open(config["go"] + ".attempts", "a") as file:
        file.write(".")
    while not Path(config["go"]).exists():
        pass
    tune.report({"i": 2})

tune.Tuner(
    train,
    param_space={"go": str(Path("go").absolute()), "x": tune.grid_search([1, 2])},
    run_config=tune.RunConfig(name="interrupted"),
).fit()
"""


def test_restore_goes_on_with_what_was_killed_in_the_folder_of_the_job(tmp_path: Path) -> None:
    storage = {"TUNER_RESULTS_DIR": "outputs/tuner_results"}  # as job.yml has it, not absolute
    process = start_script(INTERRUPTED, tmp_path, "interrupted", **storage)
    experiment = tmp_path / "outputs" / "tuner_results" / "interrupted"
    wait_until(lambda: len(list(experiment.glob("*/progress.csv"))) == 2)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    (tmp_path / "go").touch()
    done = subprocess.run(
        [sys.executable, str(AZUREML / "restore.py"), str(experiment.relative_to(tmp_path))],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("\n2 trials ended, 0 failed\n")
    rows = [
        json.loads(path.read_text().splitlines()[-1]) for path in experiment.glob("*/result.json")
    ]
    assert [row["i"] for row in rows] == [2, 2]


def test_what_is_interrupted_once_more_does_not_count_as_completed(tmp_path: Path) -> None:
    attempts = tmp_path / "go.attempts"
    process = start_script(INTERRUPTED, tmp_path, "interrupted")
    wait_until(lambda: attempts.exists() and len(attempts.read_text()) == 2)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    with subprocess.Popen(
        [sys.executable, str(AZUREML / "restore.py"), str(tmp_path / "interrupted")],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as restored:
        wait_until(lambda: len(attempts.read_text()) == 4)
        restored.terminate()
        output, _ = restored.communicate(timeout=240)
    assert restored.returncode == 1
    assert output.endswith("\nInterrupted: 2 trials are to go on\n")
