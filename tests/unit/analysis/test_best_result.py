"""Which trial is the best, and what is said if none is."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tuner.analysis.best_result import best_result
from tuner.errors import ResultError
from tuner.result import Result


def results(*metrics: dict[str, Any]) -> list[Result]:
    return [
        Result(metrics=each, config={}, path=f"/exp/{number}")
        for number, each in enumerate(metrics)
    ]


@pytest.mark.parametrize(("mode", "index"), [("min", 1), ("max", 2)])
def test_of_equal_ones_the_first_is_the_best(mode: str, index: int) -> None:
    found = results({}, {"loss": 1}, {"loss": 3}, {"loss": 1}, {"loss": 3})
    assert best_result(found, "loss", mode) is found[index]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("mode", ["min", "max"])
def test_what_is_not_finite_is_left_out(bad: float, mode: str) -> None:
    found = results({"loss": bad}, {"loss": 3.0}, {"loss": bad})
    assert best_result(found, "loss", mode) is found[1]
    with pytest.raises(ResultError, match="it is NaN or infinite in all trials that reported it"):
        best_result(results({"loss": bad}, {}), "loss", mode)


def test_unfiltered_nan_is_the_worst_and_infinity_counts() -> None:
    found = results({"loss": math.nan}, {"loss": math.inf}, {"loss": 3.0})
    for mode, best in (("min", found[2]), ("max", found[1])):
        assert best_result(found, "loss", mode, filter_nan_and_inf=False) is best
    only = results({"loss": math.nan})
    assert best_result(only, "loss", "min", filter_nan_and_inf=False) is only[0]


def test_errors_say_what_there_is_instead() -> None:
    with pytest.raises(ResultError, match="metric='loss': the experiment has no trials"):
        best_result([], "loss", "min")
    with pytest.raises(ResultError, match="none of the 2 trials has reported anything so far"):
        best_result(results({}, {}), "loss", "min")
    message = r"only for \['eval/acc', 'loss'\]; name one of these; did you mean 'loss'\?"
    with pytest.raises(ResultError, match=message):
        best_result(results({"loss": 1, "eval": {"acc": 2}, "note": "x"}), "los", "min")
