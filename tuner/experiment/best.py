"""Which trial is the best so far."""

from __future__ import annotations

import math
from collections.abc import Iterable

from tuner.experiment.trial import Trial
from tuner.flatten import lookup
from tuner.metrics import as_number


def find_best(trials: Iterable[Trial], metric: str, mode: str) -> Trial | None:
    """The trial whose last result is the best, None before the first number."""
    best, best_rank = None, math.inf
    for trial in trials:
        trial_rank = rank(trial, metric, mode)
        if trial_rank < best_rank:
            best, best_rank = trial, trial_rank
    return best


def rank(trial: Trial, metric: str, mode: str) -> float:
    """The metric in the trial's last result, smaller is better; infinity without a number."""
    result = trial.last_result
    value = result.get(metric)
    if type(value) is not float:
        value = lookup(result, metric) if value is None else value
        value = as_number(value)
    if value is None or value != value:
        return math.inf
    return value if mode == "min" else -value
