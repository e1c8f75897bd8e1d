import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.stoppers.plateau import spread


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20))
def test_is_the_standard_deviation(values):
    assert spread(values) == pytest.approx(float(np.std(values)), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_without_finite_values_there_is_none(value):
    assert math.isnan(spread([1.0, value]))


def test_equal_values_have_none():
    assert spread([0.1] * 10) == 0.0
