"""XGBoost: callbacks that report each round of boosting, and save the model."""

from __future__ import annotations

from typing import Any

from tuner.checkpoint import Checkpoint
from tuner.integrations.boosting_reports import BoostingReports, PostProcessing
from tuner.integrations.training_reports import Metrics, checkpoint_file, importing

with importing("XGBoost", extra="xgboost"):
    from xgboost import Booster
    from xgboost.callback import TrainingCallback


class TuneReportCheckpointCallback(BoostingReports, TrainingCallback):
    """Reports each round's metrics to the trial, and the model as a checkpoint.

    With `checkpoint_at_end`, the last metrics are reported once more after the last round, with the
    model. A trial that is stopped early does not come that far: use a `frequency` where its model
    is needed. `xgboost.cv` is reported without checkpoints, its metrics as (mean, standard
    deviation).

    Args:
        metrics: What to report: a name as `"valid-logloss"` (data set, metric), several of them, or
            such names by those to report, as `{"loss": "valid-logloss"}`; None reports all.
        filename: The model's file in a checkpoint; its ending is the format.
        frequency: The model is saved every so many rounds, counted from the model's first; 0 for
            never before the end.
        checkpoint_at_end: Whether the model is saved at the end.
        results_postprocessing_fn: Gets what would be reported, and returns what is.

    Raises:
        ConfigError: An argument cannot work; in training, there is no such metric.

    Example:
        >>> import numpy as np, xgboost
        >>> x = np.arange(20.0).reshape(-1, 1)
        >>> data = xgboost.DMatrix(x, x[:, 0])
        >>> callback = TuneReportCheckpointCallback({"error": "valid-rmse"}, frequency=1)
        >>> model = xgboost.train(
        ...     {}, data, 3, evals=[(data, "valid")], callbacks=[callback], verbose_eval=False
        ... )  # in a trial, this reports three results

    Source: https://xgboost.readthedocs.io
    """

    CHECKPOINT_NAME = "model.ubj"

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
        """The model in a checkpoint, for `xgboost.train(xgb_model=…)` or to predict.

        Raises:
            ConfigError: The checkpoint has no such file.
        """
        with checkpoint_file(checkpoint, filename) as path:
            return Booster(model_file=path)

    def before_training(self, model: Any) -> Any:
        """Notes how many rounds the model has had."""
        self._known: dict[str, Any] | None = None
        self._rounds_before = model.num_boosted_rounds() if isinstance(model, Booster) else 0
        self._saved_rounds: int | None = None
        return model

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        """Reports a round."""
        self._known = {
            f"{data}-{metric}": values[-1]
            for data, of_data in evals_log.items()
            for metric, values in of_data.items()
        }
        num_rounds = self._rounds_before + epoch + 1
        if isinstance(model, Booster) and self._is_due(num_rounds):
            self._saved_rounds = num_rounds
            self._report(self._known, model)
        else:
            self._report(self._known)
        return False

    def after_training(self, model: Any) -> Any:
        """Reports the model, unless the last round did."""
        if (
            self._checkpoint_at_end
            and self._known is not None
            and isinstance(model, Booster)
            and model.num_boosted_rounds() != self._saved_rounds
        ):
            self._report(self._known, model)
        return model


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
