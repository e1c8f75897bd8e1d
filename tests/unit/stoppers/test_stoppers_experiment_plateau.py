import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuner.errors import ConfigError
from tuner.stoppers import ExperimentPlateauStopper


def answers(stopper, values):
    return [
        (stopper("ab"[n % 2], {"loss": value}), stopper.stop_all())
        for n, value in enumerate(values)
    ]


def stopped_at(stopper, values):
    """The index of the first value at which the experiment ends, None if it does not."""
    stops = [both for both, _ in answers(stopper, values)]
    return stops.index(True) if True in stops else None


def test_stops_when_the_best_values_hardly_differ():
    assert stopped_at(ExperimentPlateauStopper("loss", top=3), [5, 1, 1, 9, 1, 2]) == 4


def test_the_mode_says_which_are_the_best():
    values = [5, 1, 1, 9, 1, 9, 9]
    assert stopped_at(ExperimentPlateauStopper("loss", top=3, mode="max"), values) == 6


def test_patience_counts_results_in_a_row():
    stopper = ExperimentPlateauStopper("loss", top=2, patience=3)
    assert stopped_at(stopper, [1, 1, 1, 0, 0, 5, 5, 5]) == 6  # a plateau again from index 4


def test_a_better_value_ends_the_plateau():
    stopper = ExperimentPlateauStopper("loss", top=2)
    answers(stopper, [1, 1])
    assert stopper.stop_all()
    answers(stopper, [0])
    assert not stopper.stop_all()


@pytest.mark.parametrize("gap", [math.nan, None, "text"])
def test_what_is_no_number_is_never_among_the_best(gap):
    stopper = ExperimentPlateauStopper("loss", top=3)
    assert stopped_at(stopper, [gap, 1, gap, 1, gap, gap, 1]) == 6


def test_infinite_values_are_no_plateau():
    assert stopped_at(ExperimentPlateauStopper("loss", top=2), [math.inf] * 4) is None


def test_a_metric_that_never_came_is_reported():
    stopper = ExperimentPlateauStopper("los")
    answers(stopper, [1.0])
    assert stopper.unseen_keys() == ("los",)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"metric": None}, "metric=None"),
        ({"std": 0}, "std=0"),
        ({"top": 1}, "top=1.*use a whole number >= 2"),
        ({"mode": "minimize"}, "use 'min'"),
        ({"mode": None}, "mode=None"),
        ({"patience": -1}, "patience=-1"),
    ],
)
def test_arguments_that_cannot_work(arguments, message):
    with pytest.raises(ConfigError, match=message):
        ExperimentPlateauStopper(**{"metric": "loss", **arguments})


@pytest.fixture(scope="module")
def theirs():
    return pytest.importorskip("ray.tune.stopper").ExperimentPlateauStopper


@settings(deadline=None)
@given(
    values=st.lists(st.sampled_from([0.0, 0.5, 0.5005, 1.0, 2.0]), max_size=30),
    std=st.sampled_from([0.001, 0.3]),
    top=st.integers(2, 5),
    mode=st.sampled_from(["min", "max"]),
    patience=st.integers(0, 4),
)
def test_answers_equal_those_of_ray(theirs, values, std, top, mode, patience):
    arguments = ("loss", std, top, mode, patience)
    ours = ExperimentPlateauStopper(*arguments)
    assert answers(ours, values) == answers(theirs(*arguments), values)
