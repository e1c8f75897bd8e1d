"""LightGBM: callbacks that report each round of boosting, and save the model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tuner.checkpoint import Checkpoint
from tuner.integrations.boosting_reports import BoostingReports, PostProcessing
from tuner.integrations.training_reports import Metrics, checkpoint_file, importing

with importing("LightGBM", extra="lightgbm"):
    from lightgbm import Booster
    from lightgbm.callback import CallbackEnv


class TuneReportCheckpointCallback(BoostingReports):
    """Reports each round's metrics to the trial, and the model as a checkpoint.

    A trial that is stopped early, or by LightGBM's own early stopping, does not come to its last
    round: use a `frequency` where its model is needed. Of `lightgbm.cv`, metrics are reported as
    `"valid-loss-mean"` and `"valid-loss-stdv"`, and the file is that of a `CVBooster`.

    Args:
        metrics: What to report: a name as `"valid-binary_logloss"` (data set, metric), several of
            them, or such names by those to report, as `{"loss": "valid-binary_logloss"}`; None
            reports all.
        filename: The model's file in a checkpoint.
        frequency: The model is saved every so many rounds, counted from the model's first; 0 for
            never before the end.
        checkpoint_at_end: Whether the model is saved in the last round.
        results_postprocessing_fn: Gets what would be reported, and returns what is.

    Raises:
        ConfigError: An argument cannot work; in training, there is no such metric.

    Example:
        >>> import lightgbm, numpy as np
        >>> x = np.arange(40.0).reshape(-1, 1)
        >>> train, valid = lightgbm.Dataset(x, x[:, 0]), lightgbm.Dataset(x, x[:, 0])
        >>> callback = TuneReportCheckpointCallback({"error": "valid_0-l2"}, frequency=1)
        >>> model = lightgbm.train(
        ...     {"num_threads": 1, "verbosity": -1}, train, 3, valid, callbacks=[callback]
        ... )  # in a trial, this reports three results

    Source: https://lightgbm.readthedocs.io
    """

    CHECKPOINT_NAME = "model.txt"

    def __init__(
        self,
        metrics: Metrics = None,
        filename: str = CHECKPOINT_NAME,
        frequency: int = 0,
        checkpoint_at_end: bool = True,
        results_postprocessing_fn: PostProcessing | None = None,
    ) -> None:
        super().__init__(metrics, filename, frequency, checkpoint_at_end, results_postprocessing_fn)

    @classmethod
    def get_model(cls, checkpoint: Checkpoint, filename: str = CHECKPOINT_NAME) -> Booster:
        """The model in a checkpoint, for `lightgbm.train(init_model=…)` or to predict.

        Raises:
            ConfigError: The checkpoint has no such file.
        """
        with checkpoint_file(checkpoint, filename) as path:
            return Booster(model_file=path)

    def __call__(self, env: CallbackEnv) -> None:
        """Reports a round."""
        is_last = env.iteration == env.end_iteration - 1
        is_due = self._is_due(env.iteration + 1) or (is_last and self._checkpoint_at_end)
        self._report(_by_name(env.evaluation_result_list or ()), env.model if is_due else None)


class TuneReportCallback(TuneReportCheckpointCallback):
    """Reports each round's metrics to the trial, without checkpoints.

    Args:
        metrics: As for `TuneReportCheckpointCallback`.
        results_postprocessing_fn: As there.

    Raises:
        ConfigError: An argument cannot work; in training, there is no such metric.
    """

    def __init__(
        self, metrics: Metrics = None, results_postprocessing_fn: PostProcessing | None = None
    ) -> None:
        super().__init__(
            metrics,
            checkpoint_at_end=False,
            results_postprocessing_fn=results_postprocessing_fn,
        )


def _by_name(evaluations: Iterable[Any]) -> dict[str, Any]:
    """The metrics as `"<data set>-<metric>"`; those of a cross-validation have a deviation too."""
    known: dict[str, Any] = {}
    for data, metric, value, _, *deviation in evaluations:
        name = f"{data}-{metric}"
        if deviation and deviation[0] is not None:
            known |= {f"{name}-mean": value, f"{name}-stdv": deviation[0]}
        else:
            known[name] = value
    return known
