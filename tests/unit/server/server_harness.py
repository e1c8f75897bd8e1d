"""A server over a real journal, whose controller is the test."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson

from tuner.experiment.events import (
    ExperimentEnded,
    ExperimentStarted,
    Fact,
    TrialCreated,
    TrialEnded,
    TrialLaunched,
    TrialResult,
)
from tuner.experiment.journal_writer import JournalWriter
from tuner.experiment.requests import Outcome, Request
from tuner.server.config import ServerConfig
from tuner.server.process import ServerProcess

TIME = 1_700_000_000.0
TOKEN = "a-token-for-the-tests"
TIMEOUT_S = 120
DESCRIPTION = {
    "trainable": "train",
    "objective": {"metric": "loss", "mode": "min"},
    "tune_config": {
        "metric": None,
        "mode": None,
        "num_samples": 4,
        "time_budget_s": 60.0,
        "max_concurrent_trials": None,
    },
}

STARTED = ExperimentStarted(TIME, 1, "0.1")
ENDED = ExperimentEnded(TIME, "done", True)


def created(trial_id: str, config: dict[str, Any] | None = None, number: int = 0) -> TrialCreated:
    return TrialCreated(
        time=TIME,
        trial_id=trial_id,
        number=number,
        trainable_name="train",
        trial_name="",
        experiment_tag=str(number),
        dirname=f"train_{trial_id}",
        config={"lr": 0.5} if config is None else config,
        evaluated_params={},
        bundles=[{"CPU": 1}],
    )


def launched(trial_id: str) -> TrialLaunched:
    return TrialLaunched(TIME, trial_id, 1, None, 0)


def reported(trial_id: str, **metrics: Any) -> TrialResult:
    return TrialResult(TIME, trial_id, 1, "CONTINUE", None, dict(metrics))


def ended(trial_id: str, error: str | None = None) -> TrialEnded:
    return TrialEnded(TIME, trial_id, 1, "ERROR" if error else "TERMINATED", error)


def running(*trial_ids: str) -> list[Fact]:
    """The facts up to where some trials run."""
    facts: list[Fact] = [STARTED]
    for number, trial_id in enumerate(trial_ids):
        facts += [created(trial_id, number=number), launched(trial_id)]
    return facts


def begin_journal(folder: Path, facts: list[Fact]) -> JournalWriter:
    """An experiment's folder with a journal that can go on."""
    (folder / "experiment.json").write_bytes(orjson.dumps(DESCRIPTION))
    writer = JournalWriter(str(folder))
    writer.append(facts)
    return writer


class Harness:
    """A server process, and a thread that answers what is asked as a test says.

    Attributes:
        server: The server.
        journal: The journal that it follows.
        asked: What was asked so far.
    """

    def __init__(
        self, folder: Path, facts: list[Fact], answer: Callable[[Request], Outcome], **config: Any
    ) -> None:
        self.journal = begin_journal(folder, facts)
        self.asked: list[Request] = []
        self._answer = answer
        self._woken = threading.Event()
        self._is_over = False
        config = {"port": 0, "token": TOKEN, **config}
        self.server = ServerProcess(ServerConfig(**config), str(folder), "exp", self._woken.set)
        self._thread = threading.Thread(target=self._respond)

    def __enter__(self) -> Harness:
        self.server.start()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.stop()
        self._is_over = True
        self._woken.set()
        self._thread.join()
        self.journal.close()

    @contextlib.contextmanager
    def http(self, **options: Any) -> Iterator[httpx.Client]:
        """A client that knows the token."""
        headers = {"Authorization": f"Bearer {TOKEN}"}
        given = {"base_url": self.server.address, "headers": headers, **options}
        with httpx.Client(timeout=TIMEOUT_S, trust_env=False, **given) as client:
            yield client

    def _respond(self) -> None:
        while self._woken.wait() and not self._is_over:
            self._woken.clear()
            for request_id, request in self.server.take():
                self.asked.append(request)
                self.server.respond(request_id, self._answer(request))


def accept(request: Request) -> Outcome:
    """The controller that does what it is asked."""
    return Outcome(trial_ids=("a",))
