"""Which of several trials' results is the best, and what to say if none is."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from tuner.errors import ResultError
from tuner.result import Result, Scope, metric_names
from tuner.validation import did_you_mean, shorten

_EXAMINED_FOR_NAMES = 100


def best_result(
    results: Sequence[Result],
    metric: str,
    mode: str,
    scope: Scope = "last",
    filter_nan_and_inf: bool = True,
) -> Result:
    """The result with the best value of a metric; of equal ones, the first.

    Args:
        results: One per trial.
        metric: A metric's name, `a/b` for a nested one.
        mode: `"min"` or `"max"`.
        scope: What of a trial is compared, see `Result.score`.
        filter_nan_and_inf: Whether NaN and infinity are left out; otherwise NaN is the worst.

    Raises:
        ResultError: No trial has a value of the metric; says which metrics there are.

    Example:
        >>> results = [Result(metrics={"loss": x}, config={}, path="/exp") for x in (3.0, 1.0)]
        >>> best_result(results, "loss", "min").metrics["loss"]
        1.0
    """
    sign = 1.0 if mode == "max" else -1.0
    best: Result | None = None
    best_score = -math.inf
    is_reported = False
    for result in results:
        score = result.score(metric, mode=mode, scope=scope)
        is_reported |= score is not None
        if score is None or (filter_nan_and_inf and not math.isfinite(score)):
            continue
        score = -math.inf if math.isnan(score) else sign * score
        if best is None or score > best_score:
            best, best_score = result, score
    if best is None:
        raise ResultError(f"metric={metric!r}: {_why_none(results, metric, is_reported)}")
    return best


def _why_none(results: Sequence[Result], metric: str, is_reported: bool) -> str:
    if not results:
        return "the experiment has no trials to compare"
    if is_reported:
        return (
            "it is NaN or infinite in all trials that reported it; filter_nan_and_inf=False "
            "compares them nevertheless"
        )
    reported = [result.metrics for result in results if result.metrics]
    if not reported:
        return f"none of the {len(results)} trials has reported anything so far"
    names = metric_names(itertools.islice(reported, _EXAMINED_FOR_NAMES))
    return (
        f"no trial reported a number for it, only for {shorten(names, 300)}; "
        f"name one of these{did_you_mean(metric, names)}"
    )
