"""What the sender says of a server that comes and goes, or refuses."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tuner.integrations import mlflow_sender
from tuner.integrations.mlflow_destination import Address, Destination, Unavailable
from tuner.integrations.mlflow_sender import Sender, Task

pytest.importorskip("mlflow")


class Forbidding(BaseHTTPRequestHandler):
    """Answers everything with 403."""

    def do_GET(self) -> None:
        self.send_error(403)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def forbidding_server() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Forbidding) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_server_that_forbids_is_said_to_refuse() -> None:
    with forbidding_server() as url, pytest.raises(Unavailable) as raised:
        Destination(Address(url, experiment_name="exp"), [])
    assert raised.value.how == "refuses (403)"


def test_a_server_that_comes_and_goes_is_told_once_in_a_while(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = Task(str(tmp_path), None, None, Address("http://x"), False, False, "mlflow-1")
    sender = Sender(task, lambda news: None)
    for _ in range(3):
        sender._on_failure(Unavailable("away"))
        sender._on_failure(Unavailable("away"))
        sender._on_success()
    assert caplog.text.count("does not answer") == 1
    assert caplog.text.count("answers again") == 1
    monkeypatch.setattr(mlflow_sender, "_WARNING_PERIOD_S", 0.0)
    sender._next_warning = 0.0
    sender._on_failure(Unavailable("away"))
    assert caplog.text.count("does not answer") == 2
