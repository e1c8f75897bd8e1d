"""What an experiment optimizes, wherever the user has said so."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from tuner.result_fields import ANONYMOUS_METRIC

if TYPE_CHECKING:
    from tuner.config import TuneConfig
    from tuner.schedulers.scheduler import TrialScheduler
    from tuner.search.searcher import Searcher


@dataclass(frozen=True, slots=True)
class Objective:
    """A metric and what is better, or several of them.

    Attributes:
        metric: The metric's name, or several; None where nobody has named one.
        mode: `"min"` or `"max"`, for several metrics as many; None where it is not known.

    Example:
        >>> Objective(["error", "size"], ["min", "min"]).modes
        {'error': 'min', 'size': 'min'}
    """

    metric: str | Sequence[str] | None = None
    mode: str | Sequence[str] | None = None

    @classmethod
    def of(cls, config: TuneConfig, scheduler: TrialScheduler, searcher: Searcher) -> Self:
        """What is said in the config, else by the scheduler, else by the searcher."""
        metric, mode = config.metric, config.mode
        for policy in (scheduler, searcher):
            metric = metric or policy.metric
            if metric and mode is None and policy.metric == metric:
                mode = policy.mode
        return cls(metric, mode)

    @classmethod
    def described(cls, description: dict[str, Any]) -> Self:
        """What `experiment.json` says, of older ones what its `tune_config` says."""
        fields = description.get("objective") or description.get("tune_config") or {}
        return cls(fields.get("metric"), fields.get("mode"))

    @property
    def modes(self) -> dict[str, str | None]:
        """The mode of each metric; with a mode alone, that of what functions return unnamed."""
        metric = self.metric
        if metric is None and self.mode is not None:
            metric = ANONYMOUS_METRIC
        metrics = [metric] if isinstance(metric, str) else metric or []
        modes = [self.mode] if isinstance(self.mode, str) else self.mode or []
        return dict(itertools.zip_longest(metrics, modes))
