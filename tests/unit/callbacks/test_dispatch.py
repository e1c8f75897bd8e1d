import pytest

from tuner.callbacks.callback import Callback
from tuner.callbacks.dispatch import CallbackDispatch
from tuner.experiment.retention import Retention
from tuner.experiment.trial_table import TrialTable


class Counting(Callback):
    def __init__(self, count=0):
        self.count = count

    def get_state(self):
        return self.count

    def set_state(self, state):
        self.count = state


class CountingElse(Counting):
    pass


@pytest.fixture
def dispatch(tmp_path):
    return lambda *callbacks: CallbackDispatch(callbacks, TrialTable(str(tmp_path), Retention()))


def test_states_are_those_of_the_same_kind_in_the_same_place(dispatch):
    states = dispatch(Counting(1), Counting(2), Counting(3)).get_states()
    now = [Counting(), CountingElse(), Counting(), Counting()]
    dispatch(*now).set_states(states)
    assert [callback.count for callback in now] == [1, 0, 3, 0]


def test_what_keeps_no_state_is_given_none(dispatch):
    class Refusing(Callback):
        def set_state(self, state):
            raise AssertionError("there is none")

    dispatch(Refusing()).set_states(dispatch(Refusing()).get_states())
