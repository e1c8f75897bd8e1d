"""How long a server is waited for, and how MLflow's client is kept from waiting longer."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

WAIT_VARIABLE = "TUNER_MLFLOW_WAIT_S"
DEFAULT_WAIT_S = 30.0

TIMEOUT_VARIABLE = "MLFLOW_HTTP_REQUEST_TIMEOUT"
RETRIES_VARIABLE = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
_TIMEOUT_S = 10


def wait_s() -> float:
    """Seconds that a server that takes nothing is waited for, where something waits for it."""
    return float(os.environ.get(WAIT_VARIABLE, DEFAULT_WAIT_S))


def request_timeout_s() -> int:
    """Seconds that a request may take: the user's, else 10, or less if nobody waits so long."""
    return int(os.environ.get(TIMEOUT_VARIABLE) or max(1, min(_TIMEOUT_S, wait_s())))


def limit_requests(seconds: float) -> None:
    """Lets no request from now on take longer, but for a second."""
    os.environ[TIMEOUT_VARIABLE] = str(max(1, min(request_timeout_s(), int(seconds))))


@contextmanager
def short_requests(retries: int) -> Iterator[None]:
    """While entered, MLflow's client gives up early; by itself it goes on for minutes.

    Args:
        retries: How often it tries a request again.
    """
    ours = {RETRIES_VARIABLE: str(retries), TIMEOUT_VARIABLE: str(request_timeout_s())}
    before = {name: os.environ.get(name) for name in ours}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
