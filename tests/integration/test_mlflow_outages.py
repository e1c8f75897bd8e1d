"""Kills of the driver and of the server, and servers that are away, slow or silent."""

from __future__ import annotations

import os
import signal
import socket
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from fit_helpers import fit, marked_processes, start_script, wait_until
from flaky_proxy import FlakyProxy
from servers import MlflowServer

import tuner as tune
from tuner.experiment.trial import Trial
from tuner.integrations.mlflow import MLflowLoggerCallback
from tuner.integrations.mlflow_destination import Address, Destination, Unavailable
from tuner.integrations.mlflow_runs import Batch, Run

pytest.importorskip("mlflow")

SCRIPT = """
import os, time
from pathlib import Path
import tuner as tune
from tuner.integrations.mlflow import MLflowLoggerCallback

def train(config):
    checkpoint, start = tune.get_checkpoint(), 0
    if checkpoint is not None:
        with checkpoint.as_directory() as folder:
            start = int(Path(folder, "i").read_text())
    for i in range(start, 200):
        if i == 120:
            Path(os.environ["GATES"], f"reached{config['k']}").touch()
            while not Path(os.environ["GATES"], "open").exists():
                time.sleep(0.01)
        Path("work").mkdir(exist_ok=True)
        Path("work", "i").write_text(str(i + 1))
        kept = tune.Checkpoint.from_directory("work") if i % 50 == 49 else None
        tune.report({"value": i * config["k"]}, checkpoint=kept)

if __name__ == "__main__":
    callback = MLflowLoggerCallback(os.environ["SERVER"], experiment_name="exp")
    tune.Tuner(
        train,
        param_space={"k": tune.grid_search([1, 2])},
        run_config=tune.RunConfig(name="exp", verbose=0, callbacks=[callback]),
    ).fit()
"""


@pytest.fixture
def gates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where trials say that they have come half the way, and wait for a file `open`."""
    folder = tmp_path / "gates"
    folder.mkdir()
    monkeypatch.setenv("GATES", str(folder))
    return folder


def values(server: MlflowServer) -> list[list[tuple[int, float]]]:
    """Step and value of the metric `value` of each run, as they are in the database."""
    found = []
    for run in server.runs("exp"):
        points = server.client.get_metric_history(run.info.run_id, "value")
        found.append([(point.step, point.value) for point in points])
    return found


def wanted(num: int = 200) -> list[list[tuple[int, float]]]:
    return [[(i + 1, i * k) for i in range(num)] for k in (1, 2)]


def ten_results(config: dict[str, Any]) -> None:
    for i in range(10):
        tune.report({"value": i * config["k"]})


def ten_results_in_the_end(config: dict[str, Any]) -> None:
    wait_until(Path(os.environ["GATES"], "open").exists, 240)
    ten_results(config)


def fit_ten(server: MlflowServer, folder: Path, train: Any = ten_results) -> tune.ResultGrid:
    callback = MLflowLoggerCallback(server.uri, experiment_name="exp")
    space = {"k": tune.grid_search([1, 2])}
    return fit(train, folder, space=space, run={"name": "exp", "callbacks": [callback]})


def start(server: MlflowServer, folder: Path, gates: Path, **env: str) -> tuple[Any, str]:
    """A driver whose trials have come half the way, and the mark of its processes."""
    mark = uuid.uuid4().hex
    driver = start_script(SCRIPT, folder, mark, SERVER=server.uri, **env)
    wait_until(lambda: len(list(gates.glob("reached*"))) == 2)
    return driver, mark


@pytest.mark.parametrize("victim", ["driver", "everything"])
def test_kill_and_restore(
    own_mlflow_server: MlflowServer, tmp_path: Path, gates: Path, victim: str
) -> None:
    """Runs go on, and no point is missing or doubled, of any metric."""
    server = own_mlflow_server
    server.start()
    driver, mark = start(server, tmp_path, gates)
    wait_until(lambda: any(values(server)))
    if victim == "everything":
        for pid in marked_processes(mark):
            with suppress(ProcessLookupError):  # it has died with another one
                os.kill(pid, signal.SIGKILL)
    else:
        driver.kill()
    driver.wait()
    wait_until(lambda: not marked_processes(mark))
    before = server.runs("exp")
    if victim == "driver":  # the recorder and the sender complete what was journaled
        assert [run.info.status for run in before] == ["KILLED", "KILLED"]
        assert values(server) == [points[:120] for points in wanted()]

    (gates / "open").touch()
    tune.Tuner.restore(str(tmp_path / "exp")).fit()
    runs = server.runs("exp")
    # The kill may have come before the second run was begun.
    assert {run.info.run_id for run in before} <= {run.info.run_id for run in runs}
    assert len(runs) == 2
    assert [run.info.status for run in runs] == ["FINISHED", "FINISHED"]
    assert values(server) == wanted()
    for run in runs:
        for key in run.data.metrics:
            steps = [point.step for point in server.client.get_metric_history(run.info.run_id, key)]
            assert steps == list(range(1, 201)), key


def test_a_server_that_is_killed_and_started_again(
    own_mlflow_server: MlflowServer, tmp_path: Path, gates: Path
) -> None:
    server = own_mlflow_server
    server.start()
    driver, _ = start(server, tmp_path, gates, TUNER_MLFLOW_WAIT_S="300")
    wait_until(lambda: values(server) == [points[:120] for points in wanted()])
    server.kill()
    (gates / "open").touch()
    journal = tmp_path / "exp" / "journal" / "00000001.jsonl"
    wait_until(lambda: b"experiment_ended" in journal.read_bytes())  # it did not wait for MLflow
    assert driver.poll() is None
    server.start()
    output, _ = driver.communicate(timeout=240)
    assert driver.returncode == 0
    assert values(server) == wanted()
    assert output.count("does not answer") == 1
    assert output.count("answers again") == 1


def test_a_server_that_is_away_until_a_restore(
    own_mlflow_server: MlflowServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = own_mlflow_server
    monkeypatch.setenv("TUNER_MLFLOW_WAIT_S", "0.5")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "120")  # the sender takes long to begin
    grid = fit_ten(server, tmp_path)
    assert [result.metrics["value"] for result in grid if result.metrics] == [9, 18]
    said = capfd.readouterr().err + caplog.text
    assert said.count("does not answer") == 1
    assert said.count("MLflow has not taken 20 results of 2 trials") == 1
    assert f'Tuner.restore("{tmp_path}/exp").fit() delivers' in said
    assert "Traceback" not in said
    assert (tmp_path / "exp" / "results.parquet").exists()

    monkeypatch.delenv("TUNER_MLFLOW_WAIT_S")
    server.start()
    tune.Tuner.restore(str(tmp_path / "exp")).fit()
    assert values(server) == wanted(10)
    assert [run.info.status for run in server.runs("exp")] == ["FINISHED", "FINISHED"]
    assert "MLflow" not in capfd.readouterr().err
    assert len(caplog.messages) == 1  # the one from before


def open_when_asked(silent: socket.socket, gates: Path) -> float:
    """Lets trials go on when the sender has begun; at which time that was."""
    silent.settimeout(240)
    connection, _ = silent.accept()
    (gates / "open").touch()
    opened = time.monotonic()
    with connection:
        while connection.recv(65536):
            pass
    return opened


def test_a_server_that_accepts_and_never_answers(
    tmp_path: Path,
    gates: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("TUNER_MLFLOW_WAIT_S", "1")
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_TIMEOUT", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as silent, ThreadPoolExecutor() as pool:
        server = MlflowServer(tmp_path, silent.getsockname()[1])
        asked = pool.submit(open_when_asked, silent, gates)
        fit_ten(server, tmp_path, ten_results_in_the_end)
        assert time.monotonic() - asked.result() < 60
    assert "MLflow has not taken 20 results of 2 trials" in caplog.text
    assert (tmp_path / "exp" / "results.parquet").exists()


def one_result(config: dict[str, Any]) -> None:
    tune.report({"value": config["k"]})


def test_a_far_server_is_sent_several_runs_at_a_time_and_waited_for_as_long_as_it_takes_some(
    own_mlflow_server: MlflowServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("TUNER_MLFLOW_WAIT_S", "10")  # far less than all requests take
    own_mlflow_server.start()
    numbers = list(range(60))
    with FlakyProxy(own_mlflow_server.port, latency_s=1.0) as proxy:
        callback = MLflowLoggerCallback(proxy.url, experiment_name="exp")
        space = {"k": tune.grid_search(numbers)}
        fit(one_result, tmp_path, space=space, run={"callbacks": [callback]})
        assert 1 < proxy.most_at_once <= 8
    assert "MLflow" not in caplog.text
    runs = own_mlflow_server.runs("exp")
    assert [run.info.status for run in runs] == ["FINISHED"] * 60
    assert sorted(run.data.metrics["value"] for run in runs) == numbers


def test_answers_that_are_lost(own_mlflow_server: MlflowServer, tmp_path: Path) -> None:
    """What the server has taken without the sender knowing is not there twice."""
    own_mlflow_server.start()
    with FlakyProxy(own_mlflow_server.port) as proxy:
        proxy.fail_every(2, "lost")
        fit_ten(MlflowServer(tmp_path, proxy.port), tmp_path)
        assert proxy.failures > 2
    assert values(own_mlflow_server) == wanted(10)
    assert [run.info.status for run in own_mlflow_server.runs("exp")] == ["FINISHED"] * 2


def test_what_is_refused_is_named_and_the_rest_taken(
    mlflow_server: MlflowServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRUNCATE_LONG_VALUES", "false")
    name = f"refused-{uuid.uuid4().hex}"
    destination = Destination(Address(mlflow_server.uri, experiment_name=name), [])
    run_id = destination.create("one", {}, 1.0)
    destination.log(run_id, Batch([], {"lr": "1"}, {}))
    points = [(1, "loss", float(step), 1000, step) for step in range(20)]
    points.insert(7, (1, "far", 1.0, 1000, 2**70))  # MLflow's client refuses it
    params = {"a": "1", "lr": "2", "odd": "\ud800", "z": "long" * 3000}
    destination.log(run_id, Batch(points, params, {"tag": "x"}))
    (run,) = mlflow_server.runs(name)
    long = ("long" * 3000)[:499] + "…"
    assert run.data.params == {"lr": "1", "a": "1", "odd": r"\ud800", "z": long}
    assert run.data.tags["tag"] == "x"
    history = mlflow_server.client.get_metric_history(run_id, "loss")
    assert [point.step for point in history] == list(range(20))
    refused = destination.refused
    names = [f"'{name}' of run {run_id}: " for name in ("lr", "far")]
    assert all(text.startswith(name) for text, name in zip(refused, names, strict=True)), refused


def odd(config: dict[str, Any]) -> None:
    for i in range(3):
        tune.report({"value": i, "timesteps_total": 2**70, "dup?": 1, "dup!": 2})
    raise ValueError("no file \udcff")


def test_odd_values_block_nothing(
    mlflow_server: MlflowServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    name = f"odd-{uuid.uuid4().hex}"
    callback = MLflowLoggerCallback(
        mlflow_server.uri, experiment_name=name, tags={"te?am": "a\ud800"}
    )
    fit(odd, tmp_path, space={"text": "\ud800é", "p?": 1, "p!": 2}, run={"callbacks": [callback]})
    (run,) = mlflow_server.runs(name)
    assert run.info.status == "FAILED"
    assert run.data.params["text"] == r"\ud800é"
    assert run.data.tags["te_am"] == r"a\ud800"
    assert run.data.tags["error"].startswith("ValueError: no file ")
    assert sorted(value for key, value in run.data.metrics.items() if "dup" in key) == [1, 2]
    assert sorted(value for key, value in run.data.params.items() if "p_" in key) == ["1", "2"]
    assert run.data.metrics["value"] == 2
    assert "MLflow" not in caplog.text


def test_files_that_cannot_be_sent_are_named_and_the_rest_sent(
    mlflow_server: MlflowServer, tmp_path: Path
) -> None:
    name = f"files-{uuid.uuid4().hex}"
    destination = Destination(Address(mlflow_server.uri, experiment_name=name), [])
    trial = Trial(trial_id="a", config={}, trainable_name="train", path=str(tmp_path / "train_a"))
    trial.checkpoints = [trial.saved_as("checkpoint_000000", None)]  # it is gone
    (tmp_path / "train_a").mkdir()
    (tmp_path / "train_a" / "dangling.txt").symlink_to(tmp_path / "nowhere")
    (tmp_path / "train_a" / "kept.txt").write_text("kept")
    run = Run("a", trial, run_id=destination.create("one", {}, 1.0), wants_artifacts=7)
    taken: list[int] = []
    destination.log_files(run, taken.append, lambda: None)
    files = mlflow_server.client.list_artifacts(run.run_id)
    assert [file.path for file in files] == ["kept.txt"]
    assert taken == [4]
    (refused,) = destination.refused
    assert refused.startswith("dangling.txt of train_a: ")
    (known,) = mlflow_server.runs(name)
    assert known.data.tags["tuner_artifacts"] == "7"


def test_files_that_were_sent_are_not_sent_again(
    own_mlflow_server: MlflowServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upload that fails again and again is no progress, however many files come before it."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    own_mlflow_server.start()
    folder = tmp_path / "train_a"
    folder.mkdir()
    for i in range(3):
        (folder / f"{i}.txt").write_text(str(i))
    trial = Trial(trial_id="a", config={}, trainable_name="train", path=str(folder))
    with FlakyProxy(own_mlflow_server.port) as proxy:
        uri = f"http://127.0.0.1:{proxy.port}"
        destination = Destination(Address(uri, experiment_name="exp"), [])
        run = Run("a", trial, run_id=destination.create("one", {}, 1.0), wants_artifacts=7)
        taken: list[None] = []

        def on_success() -> None:
            taken.append(None)
            if len(taken) == 2:
                proxy.refuse()

        for _ in range(2):
            with pytest.raises(Unavailable):
                destination.log_files(run, lambda size: None, on_success)
            assert len(taken) == 2
        proxy.heal()
        destination.log_files(run, lambda size: None, on_success)
        assert len(taken) == 3
    files = own_mlflow_server.client.list_artifacts(run.run_id)
    assert [file.path for file in files] == ["0.txt", "1.txt", "2.txt"]


def test_a_run_that_was_deleted_does_not_stop_the_others(
    own_mlflow_server: MlflowServer, tmp_path: Path, gates: Path
) -> None:
    server = own_mlflow_server
    server.start()
    driver, _ = start(server, tmp_path, gates)
    wait_until(lambda: values(server) == [points[:120] for points in wanted()])
    server.client.delete_run(server.runs("exp")[0].info.run_id)
    (gates / "open").touch()
    output, _ = driver.communicate(timeout=240)
    assert values(server) == wanted()[1:]
    assert "MLflow refused train_" in output
    assert "deleted" in output
