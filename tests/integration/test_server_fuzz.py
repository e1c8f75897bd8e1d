"""Asks a running experiment all that the server's document allows, and much that it does not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from steered_experiment import steered

from tuner.errors import ServerError

pytest.importorskip("schemathesis")
pytestmark = pytest.mark.slow

SETTINGS = """
[[operations]]
include-path = "/events"
parameters = { follow = false }
"""
TIMEOUT_S = 300


REFUSING = (
    SETTINGS
    + """
[[operations]]
include-name = "POST /trials"
checks.positive_data_acceptance.expected-statuses = ["2xx", 409, 422]
"""
)
SPACE = """{
    "x": tune.uniform(0, 1),
    "kind": tune.choice(["a", "b"]),
    "double": tune.sample_from(lambda config: 2 * config["x"]),
    "deep": {"n": tune.randint(0, 9)},
}"""
RESOURCES = 'tune.with_resources(train, lambda config: {"cpu": 1 if config["double"] < 1 else 2})'
NAME = "trial_name_creator=lambda trial: f\"trial {trial.config['double']:.3f}\","


def fuzz(
    folder: Path, address: str, token: str, *options: str, settings: str = SETTINGS, names: str = ""
) -> None:
    (folder / "schemathesis.toml").write_text(settings)
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{address}/openapi.json"]
    done = subprocess.run(
        [*command, "--header", f"Authorization: Bearer {token}", "--seed", "1", *options],
        cwd=folder,
        env={
            **os.environ,
            "SCHEMATHESIS_HOOKS": "server_fuzz_hooks",
            "TUNER_FUZZ_NAMES": names,
            "PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), *sys.path]),
        },
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout


def test_the_server_keeps_to_its_document(tmp_path: Path) -> None:
    """With every check that schemathesis has; the experiment then goes on as before."""
    with steered(tmp_path, space="{}") as (client, token):
        stop = "/experiment/stop"
        every = ["--checks", "all", "--continue-on-failure", "--request-timeout", "30"]
        fuzz(tmp_path, client.address, token, *every, "--max-examples=30", "--exclude-path", stop)
        fuzz(tmp_path, client.address, token, *every, "--mode=negative", "--include-path", stop)
        assert client.get_experiment()["status"] == "RUNNING"
        (trial_id,) = client.add_trial("last", {})
        assert client.get_trial(trial_id)["status"] == "PENDING"
        client.stop_experiment()


def test_what_the_users_code_makes_of_configurations_keeps_to_the_document(tmp_path: Path) -> None:
    """Some are taken, some refused; functions of the user fail on many, and harm nothing."""
    space = {"space": SPACE, "trainable": RESOURCES, "options": NAME}
    with steered(tmp_path, **space) as (client, token):
        every = ["--checks", "all", "--continue-on-failure", "--request-timeout", "30"]
        adding = ["--max-examples=120", "--include-name=POST /trials"]
        names = "x kind double deep"
        fuzz(tmp_path, client.address, token, *every, *adding, settings=REFUSING, names=names)
        with pytest.raises(ServerError) as caught:
            client.add_trial("", {"config": {"x": "text"}})
        assert caught.value.status == 422
        assert client.get_experiment()["status"] == "RUNNING"
        assert len(client.get_all_trials()) > 2
        (trial_id,) = client.add_trial("last", {"config": {"x": 0.25}})
        assert client.get_trial(trial_id)["config"]["double"] == 0.5
        client.stop_experiment()
