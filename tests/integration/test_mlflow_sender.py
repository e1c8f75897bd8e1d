"""The process that sends to MLflow, when it dies or has to give up."""

from __future__ import annotations

import os
import signal
import uuid
from pathlib import Path

import pytest
from fit_helpers import marked_processes, start_script, wait_until
from servers import MlflowServer

from tuner.integrations import mlflow_process
from tuner.integrations.mlflow_destination import Address
from tuner.integrations.mlflow_process import SenderProcess
from tuner.integrations.mlflow_sender import Task

pytest.importorskip("mlflow")

SCRIPT = """
import os, time
import tuner as tune
from tuner.integrations.mlflow import MLflowLoggerCallback

def train(config):
    while not os.path.exists(os.environ["OPEN"]):
        time.sleep(0.05)
        tune.report({"value": 1})

if __name__ == "__main__":
    callback = MLflowLoggerCallback(os.environ["SERVER"], experiment_name="exp")
    tune.Tuner(train, run_config=tune.RunConfig(name="exp", verbose=0, callbacks=[callback])).fit()
"""


def test_a_sender_that_is_killed_is_started_again(
    own_mlflow_server: MlflowServer, tmp_path: Path
) -> None:
    server = own_mlflow_server
    server.start()
    mark, gate = uuid.uuid4().hex, tmp_path / "open"
    driver = start_script(SCRIPT, tmp_path, mark, SERVER=server.uri, OPEN=str(gate))

    def senders() -> list[int]:
        return [pid for pid, line in marked_processes(mark).items() if "mlflow_sender" in line]

    killed: set[int] = set()

    def is_back() -> bool:
        return bool(set(senders()) - killed)

    wait_until(lambda: bool(server.runs("exp")))
    for _ in range(2):
        wait_until(is_back)
        (pid,) = set(senders()) - killed
        os.kill(pid, signal.SIGKILL)
        killed.add(pid)
    wait_until(is_back)
    (before,) = server.runs("exp")
    reached = before.data.metrics.get("training_iteration", 0)
    wait_until(lambda: server.runs("exp")[0].data.metrics.get("training_iteration", 0) > reached)
    gate.touch()
    output, _ = driver.communicate(timeout=240)
    assert output.count("ended by signal 9; it is started again") == 1
    assert "has not taken" not in output
    (run,) = server.runs("exp")
    points = server.client.get_metric_history(run.info.run_id, "value")
    last = run.data.metrics["training_iteration"]
    assert [point.step for point in points] == list(range(1, int(last) + 1))
    assert run.info.status == "FINISHED"


def test_a_sender_that_always_dies_is_given_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlflow_process, "_EXIT_S", 120.0)
    missing = str(tmp_path / "missing")  # without a journal it can do nothing
    task = Task(missing, None, None, Address("http://127.0.0.1:1"), False, False, "mlflow-1")
    sender = SenderProcess(task)
    for _ in range(5):
        sender._process.wait()
        sender.keep_alive()
    (message,) = sender.finish(lambda: None)
    assert message.startswith("MLflow has not taken everything (the process that sends to MLflow")
    assert "exit code 1" in message
    assert caplog.text.count("is started again") == 1
