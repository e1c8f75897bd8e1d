import math

import numpy as np
import pytest

from tuner.errors import ConfigError
from tuner.stoppers import MetricThresholdStopper


def test_any_key_at_its_bound_or_above_stops():
    stopper = MetricThresholdStopper({"accuracy": 0.9, "training_iteration": 5})
    assert not stopper("a", {"accuracy": 0.89, "training_iteration": 4})
    assert stopper("a", {"accuracy": 0.9, "training_iteration": 4})
    assert stopper("a", {"accuracy": 0.1, "training_iteration": 6})
    assert stopper("a", {"training_iteration": 5})
    assert not stopper.stop_all()


@pytest.mark.parametrize("value", [math.nan, None, "9", [9], -math.inf])
def test_what_is_no_number_stops_nothing(value):
    assert not MetricThresholdStopper({"accuracy": 0.9})("a", {"accuracy": value})


@pytest.mark.parametrize("value", [1, True, np.float32(0.95), np.int64(3), math.inf])
def test_numbers_of_all_kinds_stop(value):
    assert MetricThresholdStopper({"accuracy": 0.9})("a", {"accuracy": value})


def test_nested_and_flat_results():
    stopper = MetricThresholdStopper({"eval/accuracy": 0.9})
    assert stopper("a", {"eval": {"accuracy": 0.95}})
    assert stopper("a", {"eval/accuracy": 0.95})
    assert not stopper("a", {"eval": {"loss": 0.95}})
    assert not stopper("a", {"eval": 0.95})


def test_a_flag_can_be_a_bound():
    stopper = MetricThresholdStopper({"converged": True})
    assert not stopper("a", {"converged": False})
    assert stopper("a", {"converged": True})


def test_keys_that_never_came_are_reported():
    stopper = MetricThresholdStopper({"acuracy": 0.9, "eval/loss": 1, "training_iteration": 5})
    assert stopper.unseen_keys() == ("acuracy", "eval/loss", "training_iteration")
    stopper("a", {"accuracy": 0.95, "training_iteration": 1})
    assert stopper.unseen_keys() == ("acuracy", "eval/loss")
    stopper("b", {"eval": {"loss": math.nan}, "training_iteration": 9})
    assert stopper.unseen_keys() == ("acuracy",)


def test_a_key_is_seen_also_when_another_one_stops_the_trial():
    stopper = MetricThresholdStopper({"a": 1, "b": 1})
    assert stopper("t", {"a": 1, "b": 0})
    assert stopper.unseen_keys() == ()


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ({"accuracy": "0.9"}, r"stop\(accuracy='0.9'\): use a number"),
        ({"accuracy": None}, r"stop\(accuracy=None\)"),
        ({"accuracy": math.nan}, r"stop\(accuracy=nan\)"),
        ({"eval": {"accuracy": 0.9}}, r"name nested values by a path: \{'eval/accuracy': ...\}"),
        ({3: 0.9}, r"stop\(key=3\): use the name of a reported value"),
        ({"": 0.9}, r"stop\(key=''\)"),
    ],
)
def test_bounds_that_cannot_work(bounds, message):
    with pytest.raises(ConfigError, match=message) as error:
        MetricThresholdStopper(bounds)
    assert "\n" not in str(error.value)
