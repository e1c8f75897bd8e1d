"""The AzureML jobs in examples/azureml/ are what the service's own package takes them for."""

from __future__ import annotations

import os
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
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
    words = shlex.split(job.command)
    assert words[0] == "PYTHONPATH=$PWD", "the library is not installed there"
    scripts = [ROOT / word for word in words if word.endswith(".py")]
    assert all(script.is_file() for script in scripts)
    assert scripts[-1].name == "pbt_ppo.py"
    options = [word for word in words if word.startswith("--")]
    assert all(f'"{option}"' in scripts[-1].read_text() for option in options)
    assert job.compute == "cpu-cluster"
    assert job.environment.image.startswith("mcr.microsoft.com/azureml/")


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


def test_one_node_needs_no_launcher() -> None:
    job = load_job(AZUREML / "job.yml")
    assert job.resources.instance_count == 1
    assert job.distribution is None
    assert "launch.py" not in job.command


def test_several_nodes_run_the_launcher_once_each() -> None:
    job = load_job(AZUREML / "job_multi_node.yml")
    assert job.resources.instance_count > 1
    assert job.distribution.type.lower() == "pytorch"
    assert job.distribution.process_count_per_instance == 1
    launcher, script = (word for word in shlex.split(job.command) if word.endswith(".py"))
    assert launcher == "examples/azureml/launch.py"
    assert script == "examples/pbt_ppo.py"


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
