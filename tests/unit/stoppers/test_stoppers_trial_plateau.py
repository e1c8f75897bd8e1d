import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuner.errors import ConfigError
from tuner.stoppers import TrialPlateauStopper


def answers(stopper, values, trial_id="a"):
    return [stopper(trial_id, {"loss": value}) for value in values]


def test_stops_when_the_last_results_hardly_differ():
    stopper = TrialPlateauStopper("loss", std=0.01, num_results=3, grace_period=0)
    assert answers(stopper, [1.0, 0.5, 0.301, 0.3, 0.3]) == [False, False, False, False, True]
    assert not stopper.stop_all()


def test_trials_have_plateaus_of_their_own():
    stopper = TrialPlateauStopper("loss", num_results=2, grace_period=2)
    assert answers(stopper, [0.5], "a") == [False]
    assert answers(stopper, [0.5, 0.5], "b") == [False, True]
    assert answers(stopper, [0.9], "a") == [False]


def test_waits_for_the_grace_period():
    stopper = TrialPlateauStopper("loss", num_results=2, grace_period=4)
    assert answers(stopper, [1.0] * 5) == [False, False, False, True, True]


@pytest.mark.parametrize(("mode", "first_stopped"), [("min", 0.2), ("max", 0.8)])
def test_only_values_as_good_as_the_threshold_stop(mode, first_stopped):
    threshold = {"min": 0.25, "max": 0.75}[mode]
    stopper = TrialPlateauStopper(
        "loss", num_results=2, grace_period=0, metric_threshold=threshold, mode=mode
    )
    assert answers(stopper, [0.5, 0.5, 0.5]) == [False] * 3
    assert answers(stopper, [first_stopped, first_stopped]) == [False, True]


def test_a_threshold_of_zero_is_a_threshold():
    stopper = TrialPlateauStopper(
        "loss", num_results=2, grace_period=0, metric_threshold=0, mode="min"
    )
    assert answers(stopper, [0.5, 0.5, 0.0, 0.0]) == [False, False, False, True]
    with pytest.raises(ConfigError, match=r"mode=None"):
        TrialPlateauStopper("loss", metric_threshold=0)


@pytest.mark.parametrize("gap", [math.nan, math.inf, None, "text"])
def test_what_is_no_finite_number_is_no_plateau(gap):
    stopper = TrialPlateauStopper("loss", num_results=2, grace_period=0)
    assert answers(stopper, [0.5, gap, gap, 0.5, 0.5]) == [False, False, False, False, True]


def test_a_metric_that_never_came_is_reported():
    stopper = TrialPlateauStopper("eval/loss")
    stopper("a", {"loss": 1.0})
    assert stopper.unseen_keys() == ("eval/loss",)
    stopper("a", {"eval": {"loss": 1.0}})
    assert stopper.unseen_keys() == ()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"metric": ""}, "metric=''"),
        ({"std": -0.1}, "std=-0.1"),
        ({"num_results": 0}, "num_results=0"),
        ({"grace_period": -1}, "grace_period=-1"),
        ({"mode": "maximum"}, "mode='maximum'.*use 'max'"),
        ({"metric_threshold": "low", "mode": "min"}, "metric_threshold='low'"),
    ],
)
def test_arguments_that_cannot_work(arguments, message):
    with pytest.raises(ConfigError, match=message):
        TrialPlateauStopper(**{"metric": "loss", **arguments})


@pytest.fixture(scope="module")
def theirs():
    return pytest.importorskip("ray.tune.stopper").TrialPlateauStopper


VALUES = st.lists(st.one_of(st.sampled_from([0.0, 0.5, 0.505, 1.0]), st.floats(-2, 2)), max_size=30)


@settings(deadline=None)
@given(
    values=VALUES,
    std=st.sampled_from([0.01, 0.1, 1.0]),
    num_results=st.integers(1, 5),
    grace_period=st.integers(0, 6),
    threshold=st.sampled_from([None, 0.5]),
    mode=st.sampled_from(["min", "max"]),
)
def test_answers_equal_those_of_ray(
    theirs, values, std, num_results, grace_period, threshold, mode
):
    arguments = ("loss", std, num_results, grace_period, threshold, mode)
    assert answers(TrialPlateauStopper(*arguments), values) == answers(theirs(*arguments), values)
