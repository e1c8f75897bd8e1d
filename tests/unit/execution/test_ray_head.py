"""Calls of the head of a Ray cluster, when it answers and when it does not."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from tuner.execution import ray_head
from tuner.execution.ray_head import Head, NoAnswer

PATIENCE_S = 120.0


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    gate = threading.Event()
    yield gate
    gate.set()


def answer_at(gate: threading.Event) -> str:
    assert gate.wait(PATIENCE_S)
    return "late"


def come_past(head: Head) -> None:
    """Waits until all calls were made."""
    done = threading.Event()
    head.tell(done.set)
    assert done.wait(PATIENCE_S)


def test_calls_are_made_one_after_the_other() -> None:
    head, made = Head(PATIENCE_S), list[int]()
    for i in range(3):
        head.tell(lambda i=i: made.append(i))
    assert head.ask(lambda: [*made]) == [0, 1, 2]
    assert head.ask(lambda: "once more") == "once more"


def test_what_a_call_raises_comes_to_who_asks_alone() -> None:
    head = Head(PATIENCE_S)
    head.tell(lambda: 1 / 0)
    with pytest.raises(TimeoutError, match="of the call"):
        head.ask(lambda: (_ for _ in ()).throw(TimeoutError("of the call")))
    assert head.ask(lambda: 1) == 1


def test_silence_is_waited_for_once_and_ends(
    gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    head, late, begun = Head(PATIENCE_S), list[str](), threading.Event()

    def answer() -> str:
        begun.set()
        return answer_at(gate)

    with monkeypatch.context() as patch:
        patch.setattr(ray_head.futures, "wait", lambda *_: begun.wait(PATIENCE_S))
        with pytest.raises(NoAnswer):
            head.ask(answer, undo=late.append)
    with pytest.raises(NoAnswer):  # at once: nothing opens the gate
        head.ask(lambda: late.append("never made"))
    head.catch_up()
    gate.set()
    come_past(head)
    assert late == ["late"]
    assert head.ask(lambda: 1) == 1


def test_what_was_not_begun_in_time_is_not_made(gate: threading.Event) -> None:
    head, made = Head(within_s=0.1), list[str]()
    head.tell(lambda: answer_at(gate))
    with pytest.raises(NoAnswer):
        head.ask(lambda: made.append("call"), undo=lambda _: made.append("undo"))
    head.tell(lambda: made.append("told later"))
    gate.set()
    come_past(head)
    assert made == ["told later"]
