"""What was asked of an experiment holds after its driver was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from fit_helpers import start_script, wait_until
from ports import free_port

import tuner as tune
from tuner.server import TuneClient
from tuner.server.token_file import find_token

pytestmark = pytest.mark.slow

SCRIPT = """
import os, time
import tuner as tune

def train(config):
    checkpoint = tune.get_checkpoint()
    start = 0
    if checkpoint is not None:
        with checkpoint.as_directory() as folder, open(folder + "/step") as file:
            start = int(file.read())
    for step in range(start, 100000):
        with open("step", "w") as file:
            file.write(str(step + 1))
        folder = os.getcwd() + "/state"
        os.makedirs(folder, exist_ok=True)
        os.replace("step", folder + "/step")
        done = os.path.exists(config["end"])
        tune.report(
            {"step": step, "x": config["x"], "done": done},
            checkpoint=tune.Checkpoint.from_directory(folder),
        )
        time.sleep(0.02)

tune.Tuner(
    train,
    param_space={"x": tune.uniform(0, 1), "end": os.environ["TUNER_RESULTS_DIR"] + "/end"},
    tune_config=tune.TuneConfig(num_samples=3, seed=1),
    run_config=tune.RunConfig(
        name="steered",
        verbose=0,
        executor=tune.LocalExecutor(num_cpus=2),
        checkpoint_config=tune.CheckpointConfig(num_to_keep=1),
        server=tune.ServerConfig(port=int(os.environ["PORT"])),
    ),
).fit()
"""


def running(client: TuneClient) -> list[str]:
    return [trial["trial_id"] for trial in client.get_all_trials("RUNNING")]


def statuses(client: TuneClient) -> list[str]:
    return [trial["status"] for trial in client.get_all_trials()]


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """An experiment that was steered in all ways, and then killed."""
    port = free_port()
    script = start_script(SCRIPT, tmp_path, "steered", PORT=str(port))
    try:
        wait_until(lambda: script.poll() is not None or find_token(port) is not None)
        with TuneClient(f"127.0.0.1:{port}") as client:
            wait_until(lambda: len(running(client)) == 2)
            first, second = running(client)
            client.pause_trial(first)
            wait_until(lambda: client.get_trial(first)["status"] == "PAUSED")
            client.stop_trial(second)
            wait_until(lambda: client.get_trial(second)["status"] == "TERMINATED")
            assert client.add_trial("mine", {"config": {"x": 0.125}}) != []
            client.set_num_samples(4)
            client.set_max_concurrent_trials(1)
    finally:
        os.killpg(script.pid, signal.SIGKILL)
        script.communicate()
    return tmp_path / "steered"


RESTORE = """
import sys
import tuner as tune

server = tune.ServerConfig(port=int(sys.argv[2]))
print(tune.Tuner.restore(sys.argv[1], server=server).fit())
"""


def test_requests_survive_a_kill(killed: Path) -> None:
    (killed.parent / "restore.py").write_text(RESTORE)
    port = free_port()
    restored = subprocess.Popen(
        [sys.executable, "restore.py", str(killed), str(port)],
        cwd=killed.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    wait_until(lambda: restored.poll() is not None or find_token(port) is not None)
    with TuneClient(f"127.0.0.1:{port}") as client:
        wait_until(lambda: len(running(client)) == 1)
        paused, stopped, *others = client.get_all_trials()
        assert (paused["status"], stopped["status"]) == ("PAUSED", "TERMINATED")
        assert 0.125 in [trial["config"]["x"] for trial in others]
        experiment = client.get_experiment()
        assert experiment["num_samples"] == 4
        assert experiment["max_concurrent_trials"] == 1
        steps = paused["last_result"]["step"]
        client.resume_trial(paused["trial_id"])
        (killed.parent / "end").touch()
    output, _ = restored.communicate(timeout=120)
    assert restored.returncode == 0, output
    grid = tune.Tuner.restore(str(killed)).get_results()
    assert len(grid) == 5, "four samples and the one that was added"
    assert grid.num_terminated == 5
    assert grid[0].metrics["step"] > steps, "it went on from where it was paused"
