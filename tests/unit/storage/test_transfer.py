from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from tuner.errors import StorageError
from tuner.storage import transfer
from tuner.storage.transfer import retried, within


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "_FIRST_WAIT_S", 0.001)


@pytest.fixture
def hanging() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


class Flaky:
    """Fails so many times, then returns how often it was called."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.calls = 0

    def __call__(self) -> int:
        self.calls += 1
        if self.calls <= self.failures:
            raise OSError(f"failure {self.calls}")
        return self.calls


def test_a_result_or_an_error_comes_back_as_it_is() -> None:
    assert within(10, lambda: [1]) == [1]
    assert within(10, lambda: None) is None
    with pytest.raises(KeyError, match="missing"):
        within(10, lambda: {}["missing"])


def test_a_call_that_hangs_is_left(hanging: threading.Event) -> None:
    with pytest.raises(TimeoutError, match=r"no answer within 0\.05 s"):
        within(0.05, hanging.wait)


def test_a_call_is_tried_again_until_it_succeeds(caplog: pytest.LogCaptureFixture) -> None:
    assert retried(Flaky(4), what="the upload of x", timeout_s=60) == 5
    assert len(caplog.messages) == 1, "the first failure is told, and no more of them"
    assert caplog.messages[0].startswith("the upload of x failed and is tried again: OSError(")


def test_a_call_that_hangs_is_tried_again(hanging: threading.Event) -> None:
    calls: list[int] = []

    def hang_at_first() -> str:
        calls.append(1)
        if len(calls) == 1:
            hanging.wait()
        return "done"

    assert retried(hang_at_first, what="it", timeout_s=0.1, give_up=lambda _: False) == "done"
    assert len(calls) > 1  # more, where a thread takes long to begin


def test_it_is_given_up_when_the_caller_says_so() -> None:
    flaky = Flaky(1000)
    with pytest.raises(StorageError) as caught:
        retried(flaky, what="the upload of x", timeout_s=60, give_up=lambda _: flaky.calls == 3)
    assert str(caught.value) == (
        "the upload of x failed 3 times, the last time with OSError('failure 3')"
    )
    assert isinstance(caught.value.__cause__, OSError)
    assert flaky.calls == 3


def test_it_is_given_up_after_the_timeout_without_a_caller_who_knows_better() -> None:
    flaky = Flaky(10**9)
    began = time.monotonic()
    with pytest.raises(StorageError):
        retried(flaky, what="it", timeout_s=1)
    assert time.monotonic() - began >= 1
    assert flaky.calls > 1


def test_waits_grow_and_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(transfer, "_FIRST_WAIT_S", 0.2)
    monkeypatch.setattr("tenacity.nap.time.sleep", waits.append)
    retried(Flaky(60), what="it", timeout_s=60, give_up=lambda _: False)
    assert all(wait <= min(0.2 * 2**n, 10.0) for n, wait in enumerate(waits))
    assert len(set(waits)) == 60
    assert max(waits) > 5
