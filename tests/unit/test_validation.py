import math
from decimal import Decimal

import numpy as np
import pytest

from tuner.errors import ConfigError
from tuner.validation import check_mode, check_number, check_whole, did_you_mean, shorten


def test_shorten_keeps_to_one_line():
    assert shorten("a") == "'a'"
    assert shorten(np.eye(3)).count("\n") == 0
    assert len(shorten("x" * 1000)) == 80
    assert shorten("x" * 1000).endswith("...")


@pytest.mark.parametrize("value", [1, 5, np.int64(3)])
def test_whole_numbers(value):
    check_whole("Owner", "field", value, "fix", least=1)


@pytest.mark.parametrize("value", [0, True, 1.0, "1", None, math.inf])
def test_what_is_no_whole_number_from_one(value):
    with pytest.raises(ConfigError, match=r"^Owner\(field=.*\): fix$"):
        check_whole("Owner", "field", value, "fix", least=1)


@pytest.mark.parametrize("value", [0.1, 5, np.float32(1), np.int64(1)])
def test_numbers_above_zero(value):
    check_number("Owner", "field", value, "fix")


@pytest.mark.parametrize("value", [0, -1.0, math.nan, math.inf, True, "1", None, Decimal(1)])
def test_what_is_no_number_above_zero(value):
    with pytest.raises(ConfigError, match=r"^Owner\(field=.*\): fix$"):
        check_number("Owner", "field", value, "fix")


def test_zero_is_let_in_where_the_least_says_so():
    check_number("Owner", "field", 0, "fix", least=0)
    with pytest.raises(ConfigError):
        check_number("Owner", "field", -0.1, "fix", least=0)


@pytest.mark.parametrize(
    ("mode", "meant"),
    [
        ("maximize", "use 'max'"),
        ("MIN", "use 'min'"),
        (" minimum", "use 'min'"),
        ("best", "use 'min' or 'max'"),
        (None, "use 'min' or 'max'"),
        (["min"], "use 'min' or 'max'"),
    ],
)
def test_a_mode_that_was_probably_meant(mode, meant):
    with pytest.raises(ConfigError) as error:
        check_mode("Owner", "mode", mode)
    assert str(error.value).endswith(f": {meant}")


def test_did_you_mean():
    assert did_you_mean("num_sample", ["num_samples", "metric"]) == "; did you mean 'num_samples'?"
    assert did_you_mean("xyz", ["num_samples", "metric"]) == ""
