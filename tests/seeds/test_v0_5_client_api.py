"""The documentation of 0.5: Client API."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fit_helpers import wait_until
from ports import free_port
from seed_installs import installed_with
from seed_training import Model, reported

import tuner as tune
from tuner.experiment import Trial

pytestmark = pytest.mark.usefixtures("results")

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")


def train(config: dict[str, Any], reporter: Any) -> None:
    model = Model(config["lr"])
    while True:  # until somebody stops it
        time.sleep(0.02)
        reporter(**model.step())


class Ongoing:
    """An experiment that runs in a thread, with a server.

    Attributes:
        port: Where the server listens.
        trials: What `run_experiments` has returned.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.trials: list[Trial] | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self.trials = tune.run_experiments(
            {"ongoing": {"run": train, "config": {"lr": tune.grid_search([0.1, 0.2])}}},
            with_server=True,
            server_port=self.port,
        )

    def wait(self) -> list[Trial]:
        """Waits for the end, and returns the trials."""
        self._thread.join(timeout=240)
        assert self.trials is not None, "it has not ended"
        return self.trials

    def has_failed(self) -> bool:
        """Whether it ended otherwise."""
        return self.trials is None and not self._thread.is_alive()


def connected(experiment: Ongoing) -> Any:
    """A client of the experiment's server, as soon as there is one."""
    from tuner.server import TuneClient

    clients: list[Any] = []

    def connects() -> bool:
        assert not experiment.has_failed()
        try:
            client = TuneClient(f"localhost:{experiment.port}")
            client.get_all_trials()
        except tune.TunerError:
            return False
        clients.append(client)
        return True

    wait_until(connects)
    return clients[0]


@pytest.fixture
def ongoing(results: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Ongoing, Any]]:
    """An experiment, and a client of it."""
    monkeypatch.setenv("TUNER_STOP_GRACE_S", "1")
    experiment = Ongoing(free_port())
    client = connected(experiment)
    yield experiment, client
    if experiment.trials is None:
        client.stop_experiment()
        experiment.wait()


def test_client_api_1_install() -> None:
    """0.5 · Client API · block 1: the extra brings what server and client need."""
    assert {"fastapi", "uvicorn", "httpx"} <= installed_with("server")


def test_client_api_2_with_server(ongoing: tuple[Ongoing, Any]) -> None:
    """0.5 · Client API · block 2: an experiment that was started with a server is steered."""
    experiment, client = ongoing
    wait_until(lambda: len(client.get_all_trials()) == 2)
    for trial in client.get_all_trials():
        client.stop_trial(trial["trial_id"])
    trials = experiment.wait()
    assert [trial.config["lr"] for trial in trials] == [0.1, 0.2]
    assert {trial.status for trial in trials} == {"TERMINATED"}


def test_client_api_3_client(ongoing: tuple[Ongoing, Any]) -> None:
    """0.5 · Client API · block 3: all four calls of the client."""
    experiment, client = ongoing
    wait_until(lambda: len(client.get_all_trials()) == 2)
    first = client.get_all_trials()[0]
    assert {"trial_id", "config", "status"} <= first.keys()
    assert first["config"] == {"lr": 0.1}

    def result() -> dict[str, Any]:
        return client.get_trial(first["trial_id"])["last_result"] or {}

    wait_until(lambda: result().get("training_iteration", 0) >= 3)
    assert 0 < result()["mean_accuracy"] <= 1

    client.add_trial("from outside", {"run": "train", "config": {"lr": 0.7}})
    wait_until(lambda: len(client.get_all_trials()) == 3)
    client.stop_trial(first["trial_id"])
    wait_until(lambda: client.get_trial(first["trial_id"])["status"] == "TERMINATED")
    for trial in client.get_all_trials()[1:]:
        client.stop_trial(trial["trial_id"])

    trials = experiment.wait()
    assert [trial.config["lr"] for trial in trials] == [0.1, 0.2, 0.7]
    assert {trial.status for trial in trials} == {"TERMINATED"}
    assert reported(trials[0].path)[-1]["mean_loss"] == trials[0].last_result["mean_loss"]
