"""Numbers of a domain as numbers from 0 to 1, and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tuner as tune
from tuner.search.unit_interval import from_unit, to_unit

DOMAINS = [
    tune.uniform(-3, 5),
    tune.loguniform(1e-14, 1e9),
    tune.quniform(0, 1, 0.25),
    tune.qloguniform(1e-3, 1, 1e-3),
    tune.randint(-2, 9),
    tune.lograndint(1, 1000),
    tune.qrandint(2, 9, 2),
    tune.qlograndint(8, 128, 8),
    tune.uniform(2, 2),
    tune.randint(4, 5),
]


@pytest.mark.parametrize("domain", DOMAINS, ids=repr)
@given(seed=st.integers(0, 2**32 - 1))
def test_there_and_back(domain, seed):
    value = domain.sample(random_state=seed)
    assert 0 <= to_unit(domain, value) <= 1
    again = from_unit(domain, to_unit(domain, value))
    assert type(again) is type(value)
    assert again == pytest.approx(value, rel=1e-12, abs=1e-12 if value == 0 else 0)


@pytest.mark.parametrize("domain", DOMAINS, ids=repr)
@given(first=st.floats(0, 1), second=st.floats(0, 1))
def test_greater_ones_are_greater(domain, first, second):
    lower, upper = sorted((from_unit(domain, first), from_unit(domain, second)), key=float)
    assert domain.is_valid(lower)
    assert domain.is_valid(upper)
    if first <= second:
        assert from_unit(domain, first) <= from_unit(domain, second)


@pytest.mark.parametrize("domain", [tune.randint(0, 4), tune.lograndint(1, 4)], ids=repr)
def test_both_ends_of_whole_numbers_have_their_share(domain):
    values = [from_unit(domain, k / 1000) for k in range(1001)]
    assert values.count(domain.least) > 0.24 * 1001
    assert values.count(domain.most) > 0.2 * 1001
