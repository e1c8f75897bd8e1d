import pytest

from tuner.errors import ConfigError
from tuner.stoppers import (
    FunctionStopper,
    MaximumIterationStopper,
    MetricThresholdStopper,
    NoopStopper,
    coerce,
)


def test_each_form_becomes_its_stopper():
    given = MaximumIterationStopper(3)
    assert coerce(given) is given
    assert type(coerce(None)) is NoopStopper
    assert type(coerce({"loss": 1})) is MetricThresholdStopper
    assert type(coerce(lambda trial_id, result: True)) is FunctionStopper


@pytest.mark.parametrize("nothing", [None, {}, [], ()])
def test_nothing_stops_nothing(nothing):
    stopper = coerce(nothing)
    assert not stopper("a", {"loss": 1e9, "training_iteration": 10**9})
    assert not stopper.stop_all()


def test_of_a_list_any_stops():
    stopper = coerce([MaximumIterationStopper(3), {"loss": 10}, lambda t, r: t == "bad"])
    assert stopper("a", {"training_iteration": 3, "loss": 1})
    assert stopper("a", {"training_iteration": 1, "loss": 11})
    assert stopper("bad", {"training_iteration": 1, "loss": 1})
    assert not stopper("a", {"training_iteration": 1, "loss": 1})


class LooksLikeAStopper:
    def __call__(self, trial_id, result):
        return True

    def stop_all(self):
        return False


@pytest.mark.parametrize(
    ("stop", "message"),
    [
        (10, r"RunConfig\(stop=10\): use \{'metric': bound\}"),
        ("accuracy", r"RunConfig\(stop='accuracy'\): use"),
        ([None, 3], r"RunConfig\(stop=3\): use"),
        (MaximumIterationStopper, r"give an instance, MaximumIterationStopper\(...\)"),
        (LooksLikeAStopper(), r"derive its class from Stopper"),
        (lambda result: True, r"make it \(trial_id, result\)"),
        ({"loss": "low"}, r"stop\(loss='low'\)"),
    ],
)
def test_other_things_are_one_clear_error(stop, message):
    with pytest.raises(ConfigError, match=message) as error:
        coerce(stop)
    assert "\n" not in str(error.value)
