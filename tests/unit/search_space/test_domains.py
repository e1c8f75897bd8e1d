"""Domains: draws stay within bounds, multiples are exact, distributions are what they say."""

import math
import pickle
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tuner import search_space as ss

SEEDS = st.integers(0, 2**32 - 1)


class ExtremeRng:
    """Stands at one end of the generator's range, where rounding errors would show."""

    def __init__(self, fraction):
        self._fraction = fraction

    def random(self):
        return self._fraction


def decimal(number):
    return Fraction(repr(number))


@st.composite
def bounds(draw, least=-1e6, most=1e6):
    low, high = sorted(draw(st.tuples(*[st.floats(least, most, allow_subnormal=False)] * 2)))
    return low, high


@given(bounds(-1e308, 1e308), SEEDS)
@example((-1e308, 1e308), 0)  # their difference is no finite float
def test_uniform_stays_within_bounds(bounds, seed):
    low, high = bounds
    assert all(low <= value <= high for value in ss.uniform(low, high).sample(None, 5, seed))


@given(bounds(1e-300, 1e300), SEEDS)
def test_loguniform_stays_within_bounds(bounds, seed):
    low, high = bounds
    assert all(low <= value <= high for value in ss.loguniform(low, high).sample(None, 5, seed))


@given(bounds(1e-12, 1e12), st.sampled_from([0.0, 1 - 2**-53]))
def test_floats_stay_within_bounds_at_the_ends_of_the_stream(bounds, fraction):
    low, high = bounds
    for domain in (ss.uniform(low, high), ss.loguniform(low, high)):
        assert low <= domain.draw(ExtremeRng(fraction)) <= high


@st.composite
def steps(draw):
    """A step and two bounds that are multiples of it, as a person would type them."""
    digits = draw(st.integers(0, 6))
    step = draw(st.integers(1, 500))
    first = draw(st.integers(-1000, 1000))
    last = first + draw(st.integers(1, 1000))
    return tuple(float(f"{n * step}e-{digits}") for n in (1, first, last))


@given(steps(), SEEDS)
def test_quniform_draws_multiples_that_print_short(steps, seed):
    q, low, high = steps
    for value in ss.quniform(low, high, q).sample(None, 5, seed):
        assert low <= value <= high
        assert (decimal(value) / decimal(q)).denominator == 1


@given(steps(), st.sampled_from([0.0, 1 - 2**-53]))
def test_quniform_reaches_both_bounds(steps, fraction):
    q, low, high = steps
    assert ss.quniform(low, high, q).draw(ExtremeRng(fraction)) == (high if fraction else low)


@given(steps(), SEEDS)
def test_qloguniform_draws_multiples_within_bounds(steps, seed):
    q, low, high = steps
    low, high = low - low + q, q * 50
    domain = ss.qloguniform(low, high, q)
    for value in domain.sample(None, 5, seed):
        assert low <= value <= high
        assert (decimal(value) / decimal(q)).denominator == 1
    assert domain.draw(ExtremeRng(0.0)) == low


@given(st.floats(-100, 100), st.floats(0, 100), st.sampled_from([0.1, 0.2, 0.25, 3.0]), SEEDS)
def test_qrandn_draws_multiples(mean, sd, q, seed):
    for value in ss.qrandn(mean, sd, q).sample(None, 5, seed):
        assert (decimal(value) / decimal(q)).denominator == 1


@given(st.integers(-(2**62), 2**62), st.integers(1, 2**61), SEEDS)
def test_randint_includes_lower_and_excludes_upper(low, width, seed):
    values = ss.randint(low, low + width).sample(None, 5, seed)
    assert all(type(value) is int and low <= value < low + width for value in values)


@given(st.integers(-1000, 1000), st.integers(0, 1000), st.integers(2, 50), SEEDS)
def test_qrandint_draws_multiples_up_to_and_with_upper(low, width, q, seed):
    high = low + width + q  # wide enough for one multiple
    values = ss.qrandint(low, high, q).sample(None, 20, seed)
    assert all(type(value) is int and low <= value <= high for value in values)
    assert all(value % q == 0 for value in values)


@given(st.integers(1, 2**60), st.integers(1, 2**60), SEEDS)
def test_lograndint_includes_lower_and_excludes_upper(low, width, seed):
    domain = ss.lograndint(low, low + width)
    values = domain.sample(None, 5, seed)
    values += [domain.draw(ExtremeRng(0.0)), domain.draw(ExtremeRng(1 - 2**-53))]
    assert all(type(value) is int and low <= value < low + width for value in values)


@given(st.integers(1, 1000), st.integers(0, 1000), st.integers(2, 50), SEEDS)
def test_qlograndint_draws_multiples_up_to_and_with_upper(low, width, q, seed):
    high = low + width + q
    domain = ss.qlograndint(low, high, q)
    values = domain.sample(None, 5, seed)
    values += [domain.draw(ExtremeRng(0.0)), domain.draw(ExtremeRng(1 - 2**-53))]
    assert all(low <= value <= high and value % q == 0 for value in values)


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        (ss.quniform(0, 1, 0.1), [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]),
        (ss.qrandint(0, 10, 3), [0, 3, 6, 9]),
        (ss.qrandint(0, 3, 1), [0, 1, 2]),
        (ss.qrandint(0, 3), [0, 1, 2]),
        (ss.qrandint(-5, 5, 5), [-5, 0, 5]),
        (ss.randint(3, 6), [3, 4, 5]),
        (ss.lograndint(1, 5), [1, 2, 3, 4]),
        (ss.qlograndint(1, 10, 2), [2, 4, 6, 8, 10]),
        (ss.qlograndint(1, 4, 1), [1, 2, 3]),
        (ss.qloguniform(0.5, 2, 0.5), [0.5, 1.0, 1.5, 2.0]),
        (ss.choice(["a", None, 3]), ["a", None, 3]),
        (ss.uniform(2, 2), [2.0]),
    ],
)
def test_exactly_these_values_are_drawn(domain, expected):
    drawn = domain.sample(size=2000, random_state=1)
    assert set(drawn) == set(expected)
    assert all(domain.is_valid(value) for value in drawn)


def shares(domain, count=40_000):
    drawn = Counter(domain.sample(size=count, random_state=0))
    return {value: number / count for value, number in drawn.items()}


def test_log_integers_are_log_uniform():
    expected = {k: math.log((k + 1) / k) / math.log(5) for k in range(1, 5)}
    assert shares(ss.lograndint(1, 5)) == pytest.approx(expected, abs=0.01)


def test_quantized_log_integers_are_log_uniform_over_the_multiples():
    expected = {2 * k: math.log((k + 1) / k) / math.log(6) for k in range(1, 6)}
    assert shares(ss.qlograndint(2, 10, 2)) == pytest.approx(expected, abs=0.01)


def test_quantized_integers_are_uniform_over_the_multiples():
    assert shares(ss.qrandint(0, 12, 3)) == pytest.approx(dict.fromkeys(range(0, 13, 3), 0.2), 0.05)


def test_quantized_floats_are_rounded_to_the_nearest():
    expected = {0.0: 0.125, 0.25: 0.25, 0.5: 0.25, 0.75: 0.25, 1.0: 0.125}
    assert shares(ss.quniform(0, 1, 0.25)) == pytest.approx(expected, abs=0.01)


def test_log_floats_are_log_uniform():
    drawn = ss.loguniform(1e-4, 1e-1, base=2).sample(size=30_000, random_state=0)
    decades = Counter(math.floor(math.log10(value)) for value in drawn)
    assert [decades[d] / 30_000 for d in (-4, -3, -2)] == pytest.approx([1 / 3] * 3, abs=0.01)


def test_the_normal_has_its_mean_and_deviation():
    drawn = ss.randn(10, 2).sample(size=20_000, random_state=0)
    assert np.mean(drawn) == pytest.approx(10, abs=0.05)
    assert np.std(drawn) == pytest.approx(2, abs=0.05)


def test_one_value_is_a_scalar_and_several_are_a_list():
    assert type(ss.uniform(0, 1).sample()) is float
    assert type(ss.randn().sample()) is float
    assert type(ss.randint(0, 3).sample()) is int
    assert isinstance(ss.choice([1, 2]).sample(size=3), list)


@pytest.mark.parametrize(
    "make",
    [lambda: 7, lambda: np.random.default_rng(7), lambda: np.random.RandomState(7)],
    ids=["int", "Generator", "RandomState"],
)
def test_the_same_random_state_gives_the_same_values(make):
    for domain in (ss.uniform(0, 1), ss.randn(), ss.randint(0, 10**6), ss.choice(range(10**6))):
        first = domain.sample(size=4, random_state=make())
        assert domain.sample(size=4, random_state=make()) == first
        assert len(set(first)) > 1


def test_a_generator_moves_on():
    rng, state = np.random.default_rng(0), np.random.RandomState(0)
    domain = ss.uniform(0, 1)
    assert domain.sample(random_state=rng) != domain.sample(random_state=rng)
    assert domain.sample(random_state=state) != domain.sample(random_state=state)


def test_without_a_random_state_numpys_global_stream_is_used():
    np.random.seed(3)
    first = ss.uniform(0, 1).sample(size=3)
    np.random.seed(3)
    assert ss.uniform(0, 1).sample(size=3) == first


def test_a_wrong_random_state_is_refused():
    with pytest.raises(ValueError, match="whole number"):
        ss.uniform(0, 1).sample(random_state="seven")
    with pytest.raises(ValueError, match="0 or greater"):
        ss.uniform(0, 1).sample(random_state=-1)


@pytest.mark.parametrize(
    "domain",
    [
        ss.uniform(-5, -1),
        ss.quniform(-5, -1, 0.2),
        ss.loguniform(1e-4, 1e-1, base=2),
        ss.qloguniform(1e-4, 1e-1, 5e-5),
        ss.randn(10, 2),
        ss.qrandn(10, 2, 0.2),
        ss.randint(-9, 15),
        ss.qrandint(-21, 12, 3),
        ss.lograndint(1, 10),
        ss.qlograndint(1, 10, 2),
        ss.choice(["a", "b", 3]),
    ],
    ids=repr,
)
def test_a_domain_is_a_value(domain):
    names = {name: getattr(ss, name) for name in ss.__all__}
    domain.sample()  # what it caches must not change what it equals
    assert eval(repr(domain), names) == domain
    assert pickle.loads(pickle.dumps(domain)) == domain
    assert len({domain, pickle.loads(pickle.dumps(domain))}) == 1
    with pytest.raises(AttributeError):
        domain.lower = 3


def test_domains_that_differ_are_not_equal():
    assert ss.uniform(0, 1) != ss.uniform(0, 2)
    assert ss.uniform(1, 2) != ss.loguniform(1, 2)
    assert ss.choice([1, 2]) != ss.choice([1, 3])
    assert ss.choice([1, 2]) != ss.choice([1, 2, 3])
    assert ss.choice([1]) != 1


def test_choices_of_arrays_are_compared_as_a_whole():
    def arrays(last):
        return ss.choice([np.zeros(3), np.array([1, 2, last])])

    assert arrays(3) == arrays(3)
    assert arrays(3) != arrays(4)
    assert arrays(3).is_valid(np.array([1, 2, 3]))
    assert not arrays(3).is_valid(np.array([1, 2, 4]))
    assert not arrays(3).is_valid(np.zeros(2))


@pytest.mark.parametrize(
    ("domain", "inside", "outside"),
    [
        (ss.uniform(0, 1), [0, 1, 0.5, np.float32(0.25)], [-0.1, 1.1, "0.5", None, math.nan, [0]]),
        (ss.randint(0, 3), [0, 2, np.int64(1)], [3, -1, 0.5, "1"]),
        (ss.qrandint(0, 4, 2), [0, 4], [5]),
        (ss.randn(), [1e9, -3], [math.inf, math.nan, "x"]),
        (ss.choice([1, "a"]), [1, "a"], [2, "b", [1]]),
        (ss.sample_from(lambda: 1), [1, "anything"], []),
    ],
    ids=repr,
)
def test_valid_values(domain, inside, outside):
    assert all(domain.is_valid(value) for value in inside)
    assert not any(domain.is_valid(value) for value in outside)


def test_sample_from_reads_a_given_configuration():
    domain = ss.sample_from(lambda spec: spec.config.model.depth * spec["config"]["k"])
    assert domain.sample({"model": {"depth": 3}, "k": 2}) == 6
    assert ss.sample_from(lambda config: config["k"] + config.get("other", 1)).sample({"k": 2}) == 3
    assert ss.sample_from(lambda: 3).sample(size=2) == [3, 3]


def test_sample_from_draws_from_the_streams_it_is_given():
    domain = ss.sample_from(lambda _: np.random.uniform())
    assert domain.sample(random_state=1) == domain.sample(random_state=1)
    assert domain.sample(random_state=1) != domain.sample(random_state=2)
    np.random.seed(0)
    expected = np.random.uniform()
    np.random.seed(0)
    domain.sample(random_state=1)
    assert domain.sample() == expected
