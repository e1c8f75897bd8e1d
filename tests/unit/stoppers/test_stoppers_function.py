import functools
import pickle

import pytest

from tuner.errors import ConfigError
from tuner.stoppers import FunctionStopper


def test_a_lambda_with_a_closure_survives_a_pickle():
    bound = 0.5
    stopper = pickle.loads(pickle.dumps(FunctionStopper(lambda t, result: result["loss"] < bound)))
    assert stopper("a", {"loss": 0.4}) is True
    assert stopper("a", {"loss": 0.6}) is False
    assert stopper.stop_all() is False


def test_its_answer_becomes_true_or_false():
    assert FunctionStopper(lambda t, r: None)("a", {}) is False
    assert FunctionStopper(lambda t, r: 1)("a", {}) is True


class Threshold:
    def __init__(self, bound):
        self.bound = bound

    def __call__(self, trial_id, result):
        return result["loss"] < self.bound

    def reached(self, trial_id, result, slack=0):
        return result["loss"] < self.bound + slack


@pytest.mark.parametrize(
    "function",
    [
        Threshold(1.0),
        Threshold(1.0).reached,
        functools.partial(Threshold(0.5).reached, slack=0.5),
        lambda *arguments: arguments[1]["loss"] < 1.0,
    ],
)
def test_anything_that_can_be_called_with_two_arguments(function):
    stopper = FunctionStopper(function)
    assert stopper("a", {"loss": 0.9})
    assert not stopper("a", {"loss": 1.1})


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda result: True, r"it takes \(result\), make it \(trial_id, result\)"),
        (lambda: True, r"it takes \(\), make it"),
        (lambda trial_id, result, more: True, r"it takes \(trial_id, result, more\)"),
        (lambda trial_id, *, result: True, r"it takes \(trial_id, \*, result\)"),
        (3, r"give a function"),
        (Threshold, r"give a function"),
    ],
)
def test_other_arguments_are_one_clear_error(function, message):
    with pytest.raises(ConfigError, match=message) as error:
        FunctionStopper(function)
    assert "\n" not in str(error.value)
