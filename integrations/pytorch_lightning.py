"""PyTorch Lightning: callbacks that report each validation, or at any other event, and save."""

from __future__ import annotations

import functools
import os
import tempfile
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tuner.integrations.training_reports import (
    Metrics,
    ReportedMetrics,
    checked_events,
    importing,
    report,
)
from tuner.validation import check_flag, check_text

with importing("PyTorch Lightning", extra="lightning"):
    if TYPE_CHECKING:
        from pytorch_lightning import Callback, Trainer
    else:
        try:  # two packages have the same content
            from lightning.pytorch import Callback
        except ModuleNotFoundError:
            from pytorch_lightning import Callback

_CANNOT_REPORT = {"on_exception", "on_load_checkpoint", "on_save_checkpoint"}


class TuneReportCheckpointCallback(Callback):
    """Reports metrics to the trial, and Lightning's checkpoint with them.

    `Trainer.fit(ckpt_path=…)` goes on from the file in a checkpoint. The sanity check of the
    validation is not reported; of several processes that train one model, the first reports.

    Args:
        metrics: What to report of what the module has logged: a name, as `"val_loss"`, several of
            them, or such names by those to report, as `{"loss": "val_loss"}`; None reports all.
        filename: The file in a checkpoint.
        save_checkpoints: Whether there is a checkpoint with each report.
        on: When to report: one or several of Lightning's events, such as `"validation_end"`,
            `"train_epoch_end"` or `"train_batch_end"`. Metrics of a training epoch come after its
            validation.

    Raises:
        ConfigError: An argument cannot work; in training, there is no such metric.

    Example:
        >>> callback = TuneReportCheckpointCallback({"loss": "val_loss"}, filename="model.ckpt")

    Source: https://lightning.ai/docs/pytorch/stable
    """

    CHECKPOINT_NAME = "checkpoint"

    def __init__(
        self,
        metrics: Metrics = None,
        filename: str = CHECKPOINT_NAME,
        save_checkpoints: bool = True,
        on: str | Sequence[str] = "validation_end",
    ) -> None:
        super().__init__()
        owner, hooks = type(self).__name__, set(dir(Callback)) - _CANNOT_REPORT
        check_text(owner, "filename", filename, "name the file, as 'model.ckpt'")
        check_flag(owner, "save_checkpoints", save_checkpoints)
        self._metrics = ReportedMetrics(owner, metrics)
        self._filename = filename
        self._saves = save_checkpoints
        for event in checked_events(owner, "on", on, hooks):
            setattr(self, f"on_{event}", self._report)

    def _report(self, trainer: Trainer, *_: Any, **__: Any) -> None:
        if trainer.sanity_checking:
            return
        metrics = self._metrics.of(trainer.callback_metrics)
        if trainer.is_global_zero:
            report(metrics, functools.partial(self._save, trainer) if self._saves else None)
        elif self._saves:  # saving takes part in all processes
            with tempfile.TemporaryDirectory() as folder:
                self._save(trainer, folder)

    def _save(self, trainer: Trainer, folder: str) -> None:
        trainer.save_checkpoint(os.path.join(folder, self._filename))


class TuneReportCallback(TuneReportCheckpointCallback):
    """Reports metrics to the trial, without checkpoints.

    Args:
        metrics: As for `TuneReportCheckpointCallback`.
        on: As there.

    Raises:
        ConfigError: An argument cannot work; in training, there is no such metric.
    """

    def __init__(self, metrics: Metrics = None, on: str | Sequence[str] = "validation_end") -> None:
        super().__init__(metrics, save_checkpoints=False, on=on)
