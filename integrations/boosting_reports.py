"""What the callbacks for XGBoost and LightGBM have in common."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from typing import Any

from tuner.integrations.training_reports import Metrics, ReportedMetrics, report
from tuner.validation import check_flag, check_text, check_whole, reject

PostProcessing = Callable[[dict[str, Any]], dict[str, Any]]


class BoostingReports:
    """Reports a round of boosting, with the model where it is due.

    Args:
        metrics: What to report: a name as `"valid-loss"` (data set, metric), several of them, or
            such names by those to report; None reports all.
        filename: The model's file in a checkpoint.
        frequency: The model is saved every so many rounds, counted from the model's first; 0 for
            never before the end.
        checkpoint_at_end: Whether the model is saved at the end.
        results_postprocessing_fn: Gets what would be reported, and returns what is.

    Raises:
        ConfigError: An argument cannot work.
    """

    def __init__(
        self,
        metrics: Metrics,
        filename: str,
        frequency: int,
        checkpoint_at_end: bool,
        results_postprocessing_fn: PostProcessing | None,
    ) -> None:
        super().__init__()
        owner = type(self).__name__
        check_text(owner, "filename", filename, "name the model's file, as 'model.txt'")
        check_whole(owner, "frequency", frequency, "use a number of rounds, 0 for never", least=0)
        check_flag(owner, "checkpoint_at_end", checkpoint_at_end)
        if results_postprocessing_fn is not None and not callable(results_postprocessing_fn):
            reject(owner, "results_postprocessing_fn", results_postprocessing_fn, "use a function")
        self._metrics = ReportedMetrics(owner, metrics)
        self._filename = filename
        self._frequency = frequency
        self._checkpoint_at_end = checkpoint_at_end
        self._postprocess = results_postprocessing_fn

    def _is_due(self, num_rounds: int) -> bool:
        return self._frequency > 0 and num_rounds % self._frequency == 0

    def _report(self, known: Mapping[str, Any], model: Any = None) -> None:
        """Reports what is known after a round, with a checkpoint if a model is given."""
        result = self._metrics.of(known)
        if self._postprocess is not None:
            result = self._postprocess(result)
        report(result, None if model is None else functools.partial(self._save, model))

    def _save(self, model: Any, folder: str) -> None:
        model.save_model(os.path.join(folder, self._filename))
