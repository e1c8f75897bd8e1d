import math
import pickle

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tuner.schedulers.running_quantile import RunningQuantile

PERCENT = st.one_of(
    st.sampled_from([0.0, 50.0, 200 / 3, 75.0, 90.0]),
    st.floats(1.01, 50).map(lambda factor: (1 - 1 / factor) * 100),
)
FINITE = st.floats(-1e300, 1e300, allow_nan=False)


@given(st.lists(FINITE, min_size=1, max_size=60), PERCENT)
def test_equals_numpy_after_every_number(numbers, percent):
    quantile = RunningQuantile(percent / 100)
    for count, number in enumerate(numbers, start=1):
        quantile.add(number)
        assert len(quantile) == count
        assert quantile.value == np.nanpercentile(numbers[:count], percent)


@given(st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=60), PERCENT)
def test_equals_numpy_with_many_ties(numbers, percent):
    quantile = RunningQuantile(percent / 100)
    for number in numbers:
        quantile.add(number)
    assert quantile.value == np.nanpercentile(numbers, percent)


@given(
    st.lists(st.sampled_from([-math.inf, math.inf, 0.0, 1.0, 2.0]), min_size=1, max_size=20),
    PERCENT,
)
def test_next_to_an_infinite_neighbour_it_is_the_upper_one(numbers, percent):
    quantile = RunningQuantile(percent / 100)
    for number in numbers:
        quantile.add(number)
    position = (len(numbers) - 1) * (percent / 100)
    lower = sorted(numbers)[math.floor(position)]
    upper = sorted(numbers)[math.ceil(position)]
    if math.isfinite(lower) and math.isfinite(upper):
        assert lower <= quantile.value <= upper
    else:
        assert quantile.value == (lower if position == math.floor(position) else upper)


def test_without_numbers_there_is_no_quantile():
    assert RunningQuantile(0.5).value is None
    assert len(RunningQuantile(0.5)) == 0


def test_a_pickle_goes_on():
    quantile = RunningQuantile(0.75)
    for number in (3.0, 1.0, 2.0):
        quantile.add(number)
    copy = pickle.loads(pickle.dumps(quantile))
    copy.add(10.0)
    assert copy.value == np.percentile([3, 1, 2, 10], 75)
    assert len(quantile) == 3
