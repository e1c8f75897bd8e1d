"""Experiments with a server: how they begin, and how they go on without one."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from fit_helpers import fit, wait_until
from ports import free_port

import tuner as tune
from tuner.errors import ConfigError, ServerError
from tuner.server import TuneClient

pytest.importorskip("fastapi")

TOKEN = "a-token-that-the-user-gave"


class OnceStarted(tune.Callback):
    """Calls a function in a thread of its own once a trial runs."""

    def __init__(self, call: Any) -> None:
        self.call = call
        self.thread: threading.Thread | None = None

    def on_trial_start(self, **info: Any) -> None:
        if self.thread is None:
            self.thread = threading.Thread(target=self.call)
            self.thread.start()


def train(config: dict[str, Any]) -> None:
    step = 0
    while not os.path.exists(config["end"]):
        step += 1
        tune.report({"step": step})
        threading.Event().wait(0.01)


def test_a_restore_without_a_server_lets_paused_trials_go_on(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    port = free_port()

    def pause_and_end() -> None:
        if (tmp_path / "end").exists():  # the restored run calls it, too
            return
        with TuneClient(f"127.0.0.1:{port}", TOKEN) as client:
            (trial,) = client.get_all_trials()
            client.pause_trial(trial["trial_id"])
            wait_until(lambda: client.get_all_trials()[0]["status"] == "PAUSED")
            client.stop_experiment(resumable=True)

    server = tune.ServerConfig(port=port, token=TOKEN)
    run = {"name": "exp", "server": server, "callbacks": [OnceStarted(pause_and_end)], "verbose": 1}
    grid = fit(train, tmp_path, space={"end": str(tmp_path / "end")}, run=run)
    assert grid.num_terminated == 0
    output = capfd.readouterr().out
    assert "the token that you gave" in output
    assert TOKEN not in output
    assert f'Tuner.restore("{grid.experiment_path}").fit() goes on from here' in output
    (tmp_path / "end").touch()
    assert tune.Tuner.restore(grid.experiment_path, server=False).fit().num_terminated == 1


def test_a_port_that_is_taken_is_noticed_before_anything_is_written(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"ServerConfig\(port={port}\): cannot be listened"):
            fit(train, tmp_path, run={"name": "exp", "server": tune.ServerConfig(port=port)})
    assert not (tmp_path / "exp").exists()


def test_a_simulation_has_no_server(tmp_path: Path) -> None:
    run = {"executor": "simulated", "server": tune.ServerConfig(port=0)}
    with pytest.raises(ConfigError, match=r"RunConfig\(server=.*simulation"):
        fit(train, tmp_path, run=run)


def test_what_a_restore_takes_for_a_server() -> None:
    with pytest.raises(ConfigError, match=r"server='http' must be a ServerConfig"):
        tune.Tuner.restore("nowhere", server="http")  # type: ignore[arg-type]


class Fails(OnceStarted):
    """Raises when a trial starts that was added."""

    def on_trial_start(self, **info: Any) -> None:
        super().on_trial_start(**info)
        if info["trial"].is_added:
            raise RuntimeError("as asked")


def test_who_asked_for_what_a_callback_then_fails_at_is_told_that_it_may_be_done(
    tmp_path: Path,
) -> None:
    port = free_port()
    answers: list[int | None] = []

    def add() -> None:
        with TuneClient(f"127.0.0.1:{port}", TOKEN) as client:
            try:
                client.add_trial("one", {"config": {"end": "never"}})
            except ServerError as error:
                answers.append(error.status)

    server = tune.ServerConfig(port=port, token=TOKEN)
    callback = Fails(add)
    run = {"server": server, "callbacks": [callback], "executor": tune.LocalExecutor(num_cpus=2)}
    with pytest.raises(RuntimeError, match="as asked"):
        fit(train, tmp_path, space={"end": str(tmp_path / "end")}, run=run)
    assert callback.thread is not None
    callback.thread.join()
    assert answers == [504]
