import pickle
from datetime import timedelta

import pytest

from tuner.errors import ConfigError
from tuner.stoppers import TimeoutStopper

START = 1_753_000_000.123


def test_stops_the_experiment_when_the_time_is_used():
    stopper = TimeoutStopper(10)
    stopper.on_time(START)
    assert not stopper.stop_all()
    stopper.on_time(START + 9.99)
    assert not stopper.stop_all()
    stopper.on_time(START + 10)
    assert stopper.stop_all()
    assert not stopper("a", {"loss": 1.0})


def test_a_timedelta_is_a_time():
    stopper = TimeoutStopper(timedelta(minutes=1))
    stopper.on_time(START)
    assert stopper.deadline() == pytest.approx(START + 60)


@pytest.mark.parametrize("timeout", [0.1, 1 / 3, 7.3, 7.7])
@pytest.mark.parametrize("steps", [1, 3, 1000])
def test_at_its_deadline_it_stops_whatever_is_rounded(timeout, steps):
    stopper = TimeoutStopper(timeout)
    for step in range(steps):
        stopper.on_time(START + step * timeout / steps)
        assert not stopper.stop_all()
    end = stopper.deadline()
    stopper.on_time(end)
    assert stopper.stop_all()
    assert stopper.deadline() == end


def test_before_it_knows_the_time_it_has_no_deadline():
    assert TimeoutStopper(10).deadline() is None
    assert not TimeoutStopper(10).stop_all()


def test_time_used_survives_a_pickle_and_the_time_between_does_not_count():
    stopper = TimeoutStopper(10)
    stopper.on_time(START)
    stopper.on_time(START + 6)
    a_day_later = START + 86_400
    restored = pickle.loads(pickle.dumps(stopper))
    restored.on_time(a_day_later)
    assert restored.deadline() == pytest.approx(a_day_later + 4)
    restored.on_time(a_day_later + 3.9)
    assert not restored.stop_all()
    restored.on_time(a_day_later + 4)
    assert restored.stop_all()


def test_after_a_replayed_journal_the_time_of_the_interruption_does_not_count():
    stopper = TimeoutStopper(10)
    stopper.on_time(START)
    stopper.on_time(START + 6)
    stopper.on_restore(START + 86_400)
    stopper.on_time(START + 86_401)
    assert not stopper.stop_all()
    assert stopper.deadline() == pytest.approx(START + 86_404)


def test_a_clock_that_is_set_back_gives_no_time():
    stopper = TimeoutStopper(10)
    for now in (START, START + 5, START + 1, START + 5):
        stopper.on_time(now)
    assert not stopper.stop_all()
    stopper.on_time(START + 6)
    assert stopper.stop_all()


def test_no_time_at_all_stops_at_once():
    stopper = TimeoutStopper(0)
    stopper.on_time(START)
    assert stopper.stop_all()


@pytest.mark.parametrize("timeout", [-1, "10", None, float("nan"), timedelta(seconds=-1), True])
def test_refuses_what_is_no_length_of_time(timeout):
    with pytest.raises(ConfigError, match=r"TimeoutStopper\(timeout="):
        TimeoutStopper(timeout)
