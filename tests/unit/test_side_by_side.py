import os
import signal
import threading

import pytest

from tuner.interruption import Interruption
from tuner.side_by_side import Group, group


class Woken:
    """An experiment that waits for a signal, in the way the controller does."""

    def __init__(self):
        self.is_entered = threading.Event()
        self._is_woken = threading.Event()

    def __call__(self):
        interruption = Interruption(self._is_woken.set)
        with interruption:
            self.is_entered.set()
            reasons = [self.take(interruption)]
            if reasons[0] is not None:
                reasons.append(interruption.take())
        return reasons

    def take(self, interruption):
        # In short waits: a signal that comes just before one is seen only after it.
        assert any(self._is_woken.wait(0.1) for _ in range(600))
        self._is_woken.clear()
        return interruption.take()


def signal_when(events, signum=signal.SIGINT):
    """Sends this process a signal when all events are set."""

    def send():
        for event in events:
            assert event.wait(60)
        os.kill(os.getpid(), signum)

    thread = threading.Thread(target=send)
    thread.start()
    return thread


def test_calls_are_made_at_the_same_time_and_return_in_order():
    barrier = threading.Barrier(2, timeout=60)

    def call(value):
        barrier.wait()
        return value, group().at_once

    calls = [lambda: call("a"), lambda: call("b")]
    assert Group(at_once=True).run(calls) == [("a", True), ("b", True)]
    assert group() is None


def test_calls_in_turn_are_made_in_this_thread():
    calls = [threading.current_thread, threading.current_thread]
    assert Group(at_once=False).run(calls) == [threading.current_thread()] * 2


@pytest.mark.parametrize("at_once", [True, False])
def test_what_fails_lets_the_others_end(at_once):
    ended = []

    def fail():
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        Group(at_once=at_once).run([fail, lambda: ended.append(1)])
    assert ended == [1]


def test_the_first_error_names_the_others():
    def fail(what):
        raise OSError(what)

    with pytest.raises(OSError, match="no room") as caught:
        Group(at_once=True).run([lambda: fail("no room"), lambda: fail("no disk")])
    assert caught.value.__notes__ == ["Another experiment failed as well: OSError('no disk')"]


@pytest.mark.parametrize(
    ("signum", "reason"),
    [(signal.SIGINT, "interrupted by Ctrl-C"), (signal.SIGTERM, "asked to end by SIGTERM")],
)
def test_a_signal_is_told_to_all(signum, reason):
    experiments = [Woken(), Woken()]
    sender = signal_when([each.is_entered for each in experiments], signum)
    assert Group(at_once=True).run(experiments) == [[reason, None], [reason, None]]
    sender.join()


def test_one_that_begins_after_the_signal_is_told_as_well():
    first, late = Woken(), Woken()

    def begin_late():
        assert first.is_entered.wait(60)
        os.kill(os.getpid(), signal.SIGINT)
        return late()

    assert Group(at_once=True).run([first, begin_late])[1] == ["interrupted by Ctrl-C", None]


def test_a_second_signal_ends_at_once():
    experiment = Woken()
    taken = threading.Event()

    def begin():
        woken = threading.Event()
        with (interruption := Interruption(woken.set)):
            experiment.is_entered.set()
            assert woken.wait(60)
            woken.clear()
            assert interruption.take() is not None
            taken.set()
            assert woken.wait(60)
            interruption.take()

    senders = [signal_when([experiment.is_entered]), signal_when([taken])]
    with pytest.raises(KeyboardInterrupt):
        Group(at_once=True).run([begin])
    for sender in senders:
        sender.join()


def test_in_turn_a_signal_keeps_the_rest_from_beginning():
    first, second = Woken(), Woken()
    sender = signal_when([first.is_entered])
    assert Group(at_once=False).run([first, second]) == [["interrupted by Ctrl-C", None]]
    assert not second.is_entered.is_set()
    sender.join()


def test_in_turn_a_second_signal_raises_where_the_code_is():
    def run():
        with Interruption(lambda: None):
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
        return "not reached"

    with pytest.raises(KeyboardInterrupt):
        Group(at_once=False).run([run])


def test_signals_have_their_handlers_again_afterwards():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    Group(at_once=True).run([lambda: None])
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
