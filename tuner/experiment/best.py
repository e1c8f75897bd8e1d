"""The best trial so far, kept up to date at a constant cost per result."""

from __future__ import annotations

from tuner.experiment.events import Fact, TrialResult
from tuner.experiment.trial import Trial
from tuner.experiment.trial_table import TrialTable
from tuner.flatten import lookup


class BestTrial:
    """Follows facts and knows the trial with the best result of one metric.

    Args:
        table: The trials that facts speak of.
        metric: The metric, `a/b` for a nested one; None follows nothing.
        mode: `"min"` or `"max"`.

    Attributes:
        trial: The best trial, None before the first number.
        value: Its best value of the metric.
    """

    def __init__(self, table: TrialTable, metric: str | None, mode: str | None) -> None:
        self.trial: Trial | None = None
        self.value: float | None = None
        self._table = table
        self._metric = metric
        self._max = mode == "max"

    def follow(self, fact: Fact) -> None:
        """Takes in a fact."""
        if self._metric is None or type(fact) is not TrialResult:
            return
        value = lookup(fact.result, self._metric)
        if type(value) not in (int, float) or value != value:
            return
        if self.value is None or (value > self.value if self._max else value < self.value):
            self.value = value
            self.trial = self._table[fact.trial_id]
