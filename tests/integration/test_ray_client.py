"""Scripts that are connected to a Ray cluster from outside, by a `ray://` address."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from ports import free_port

ENVIRON = {**os.environ, "RAY_AUTH_MODE": "disabled", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
TIMEOUT_S = 240.0


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Where a cluster of two CPUs takes clients."""
    port = free_port()
    folder = tempfile.mkdtemp(prefix="ray", dir="/tmp")  # the names of sockets are short
    command = [
        str(Path(sys.executable).with_name("ray")),
        "start",
        "--head",
        "--block",
        "--num-cpus=2",
        "--include-dashboard=False",
        f"--port={free_port()}",
        f"--ray-client-server-port={port}",
        f"--temp-dir={folder}",
    ]
    head = subprocess.Popen(command, env=ENVIRON, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        assert time.monotonic() < deadline, "the cluster has not started"
        assert head.poll() is None
        time.sleep(0.2)
    address = f"ray://127.0.0.1:{port}"
    assert any(can_connect(address) for _ in range(3)), "Ray's own client cannot connect"
    yield address
    head.terminate()
    head.wait(TIMEOUT_S)
    shutil.rmtree(folder, ignore_errors=True)


def can_connect(address: str) -> bool:
    """Whether Ray's client gets through; on a busy machine its server is at times too slow."""
    command = [sys.executable, "-c", f"import ray; ray.init({address!r})"]
    return subprocess.run(command, env=ENVIRON, capture_output=True).returncode == 0


SCRIPT = """
import json, os, sys
import tuner as tune

class Where(tune.Callback):
    def on_trial_complete(self, *args, **info):
        with open(sys.argv[1] + "/callback", "a") as file:
            file.write(f"{os.getpid()}\\n")

def train(config):
    for i in range(config["results"]):
        if config["fails"]:
            raise ZeroDivisionError("as wanted")
        tune.report({"i": i, "x": config["x"], "argument": sys.argv[1], "pid": os.getpid()})
        config["pause"].wait(0.1)

class Pause:
    def wait(self, seconds):
        import threading
        threading.Event().wait(seconds)

space = {"x": tune.grid_search([1, 2]), "pause": Pause(), "results": 2, "fails": False}
space |= json.loads(sys.argv[2])
grid = tune.Tuner(
    train,
    param_space=space,
    run_config=tune.RunConfig(
        name="run", storage_path=sys.argv[1], callbacks=[Where()],
        failure_config=tune.FailureConfig(fail_fast="raise" if space["fails"] else False),
    ),
).fit()
print("FOUND " + json.dumps({
    "pid": os.getpid(),
    "metrics": [{k: r.metrics.get(k) for k in ("i", "x", "argument", "pid")} for r in grid],
    "path": grid.experiment_path,
}))
"""


def start(address: str, folder: Path, **space: object) -> subprocess.Popen[str]:
    script = folder / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    return subprocess.Popen(
        [sys.executable, str(script), str(folder), json.dumps(space)],
        env={**ENVIRON, "RAY_ADDRESS": address},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def found(output: str) -> dict[str, object]:
    (line,) = (line for line in output.splitlines() if line.startswith("FOUND "))
    return dict(json.loads(line.removeprefix("FOUND ")))


def test_the_whole_experiment_runs_inside_the_cluster(address: str, tmp_path: Path) -> None:
    output, _ = start(address, tmp_path).communicate(timeout=TIMEOUT_S)
    told = found(output)
    metrics = told["metrics"]
    assert isinstance(metrics, list)
    assert [(m["i"], m["x"], m["argument"]) for m in metrics] == [
        (1, 1, str(tmp_path)),
        (1, 2, str(tmp_path)),
    ]
    assert told["path"] == str(tmp_path / "run")
    pids = (tmp_path / "callback").read_text().split()
    assert len(pids) == 2
    assert str(told["pid"]) not in pids, "callbacks are called where the controller is"
    assert "the experiment runs on the head node" in output


def own_lines(output: str) -> list[str]:
    """What the script says itself: what the cluster prints may come later."""
    return [line for line in output.splitlines() if "(Controller pid=" not in line]


def test_errors_come_out_as_they_are(address: str, tmp_path: Path) -> None:
    output, _ = start(address, tmp_path, fails=True).communicate(timeout=TIMEOUT_S)
    assert own_lines(output)[-1] == "ZeroDivisionError: as wanted"
    assert "RayTaskError" not in output
    assert "FOUND" not in output


def first_results(script: subprocess.Popen[str], folder: Path) -> list[dict[str, object]]:
    """Waits for them."""
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        files = [path.read_text() for path in folder.glob("run/*/result.json")]
        lines = [line for file in files for line in file.splitlines(keepends=True)]
        if whole := [json.loads(line) for line in lines if line.endswith("\n")]:
            return whole
        assert script.poll() is None, script.communicate()[0]
        assert time.monotonic() < deadline, "no result"
        time.sleep(0.1)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_experiment_cleanly(address: str, tmp_path: Path, signum: int) -> None:
    script = start(address, tmp_path, results=10_000)
    first_results(script, tmp_path)
    script.send_signal(signum)
    output, _ = script.communicate(timeout=TIMEOUT_S)
    assert f'Tuner.restore("{tmp_path / "run"}").fit() goes on from here' in output, output
    metrics = found(output)["metrics"]
    assert isinstance(metrics, list)
    assert all(m["i"] is None or m["i"] < 9_999 for m in metrics)


def test_a_second_signal_ends_it_at_once(address: str, tmp_path: Path) -> None:
    script = start(address, tmp_path, results=10_000)
    pids = {result["pid"] for result in first_results(script, tmp_path)}
    trials = [psutil.Process(pid) for pid in pids]
    script.send_signal(signal.SIGINT)
    script.send_signal(signal.SIGTERM)
    output, _ = script.communicate(timeout=TIMEOUT_S)
    assert own_lines(output)[-1] == "KeyboardInterrupt", output
    assert not psutil.wait_procs(trials, timeout=TIMEOUT_S)[1]


EARLY = """
import os, signal
from tuner.execution import ray_client

def function():
    os.kill(os.getpid(), signal.SIGINT)

ray_client.run_inside(function, None)
"""


def test_a_ctrl_c_before_the_experiment_heeds_it_is_no_error_of_ray(address: str) -> None:
    script = subprocess.run(
        [sys.executable, "-c", EARLY],
        env={**ENVIRON, "RAY_ADDRESS": address},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert own_lines(script.stderr)[-1] == "KeyboardInterrupt", script.stderr


OLDER = """
import os, sys
import tuner as tune

class Where(tune.Callback):
    def on_trial_complete(self, *args, **info):
        with open(sys.argv[1] + "/callback", "a") as file:
            file.write(f"{os.getpid()}\\n")

def train(config):
    tune.report({"x": config["x"]})

arguments = {"config": {"x": tune.grid_search([1, 2])}, "storage_path": sys.argv[1]}
analysis = tune.run(train, name="run", callbacks=[Where()], metric="x", mode="max", **arguments)
spec = {"run": train, **arguments}
trials = tune.run_experiments({"a": spec, "b": spec}, callbacks=[Where()])
print("FOUND", analysis.best_config, [trial.last_result["x"] for trial in trials], os.getpid())
"""


def test_the_older_calls_run_inside_as_well(address: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", OLDER, str(tmp_path)],
        env={**ENVIRON, "RAY_ADDRESS": address},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("FOUND "))
    assert line.startswith("FOUND {'x': 2} [1, 2, 1, 2] "), done.stderr
    pids = (tmp_path / "callback").read_text().split()
    assert len(pids) == 6
    assert line.split()[-1] not in pids, "callbacks are called where the controller is"
