"""Keras: callbacks that report each epoch, or at any other event, and save the model."""

from __future__ import annotations

import functools
import importlib.util
import os
from collections.abc import Mapping, Sequence
from typing import Any

from tuner.checkpoint import Checkpoint
from tuner.errors import MissingDependencyError
from tuner.integrations.training_reports import (
    Metrics,
    ReportedMetrics,
    checked_events,
    checkpoint_file,
    importing,
    report,
)
from tuner.validation import check_text

try:
    with importing("Keras", extra="keras"):
        import keras
except MissingDependencyError as missing:
    if importlib.util.find_spec("keras") is None:
        raise
    raise MissingDependencyError(
        f"Keras is installed, but its backend cannot be imported ({missing.__cause__}): set the "
        "environment variable KERAS_BACKEND=torch (or jax, tensorflow) to one that is installed"
    ) from missing


class TuneReportCheckpointCallback(keras.callbacks.Callback):  # type: ignore[misc]
    """Reports metrics to the trial, and the model with its optimizer as a checkpoint.

    A checkpoint's metadata has the number of epochs that were trained, for
    `model.fit(initial_epoch=checkpoint.get_metadata()["epochs"])`.

    Args:
        checkpoint_on: When to report with a checkpoint: one or several of Keras's events, such as
            `"epoch_end"`, `"train_batch_end"` or `"train_end"`.
        report_metrics_on: When to report, with a checkpoint only if `checkpoint_on` has it too.
        metrics: What to report: a name, as `"val_loss"`, several of them, or such names by those to
            report, as `{"loss": "val_loss"}`; None reports all.
        filename: The model's file in a checkpoint.

    Raises:
        ConfigError: An argument cannot work; in training, there is no such metric.

    Example:
        >>> callback = TuneReportCheckpointCallback(metrics={"loss": "val_loss"})

    Source: https://keras.io
    """

    CHECKPOINT_NAME = "model.keras"

    def __init__(
        self,
        checkpoint_on: str | Sequence[str] = "epoch_end",
        report_metrics_on: str | Sequence[str] = "epoch_end",
        metrics: Metrics = None,
        filename: str = CHECKPOINT_NAME,
    ) -> None:
        super().__init__()
        owner, hooks = type(self).__name__, dir(keras.callbacks.Callback)
        check_text(owner, "filename", filename, "name the model's file, as 'model.keras'")
        self._checkpoint_on = checked_events(owner, "checkpoint_on", checkpoint_on, hooks)
        self._report_on = checked_events(owner, "report_metrics_on", report_metrics_on, hooks)
        self._metrics = ReportedMetrics(owner, metrics)
        self._filename = filename
        self._epochs = 0
        for event in {*self._checkpoint_on, *self._report_on} - {"epoch_end"}:
            # Keras calls hooks of batches in other threads unless one has been replaced.
            setattr(self, f"on_{event}", functools.partial(self._at, event))

    @classmethod
    def get_model(cls, checkpoint: Checkpoint, filename: str = CHECKPOINT_NAME) -> keras.Model:
        """The model in a checkpoint, with its optimizer.

        Raises:
            ConfigError: The checkpoint has no such file.
        """
        with checkpoint_file(checkpoint, filename) as path:
            return keras.models.load_model(path)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Counts the epoch, and reports it if that is asked."""
        self._epochs = epoch + 1
        self._at("epoch_end", logs)

    def _at(self, event: str, *arguments: Any, **named: Any) -> None:
        """Reports, with a checkpoint if it is due; some of Keras's events have a number first."""
        given = (*arguments, *named.values())
        logs = next((each for each in given if isinstance(each, Mapping)), {})
        if event in self._checkpoint_on:
            report(self._metrics.of(logs), self._save, {"epochs": self._epochs})
        elif event in self._report_on:
            report(self._metrics.of(logs))

    def _save(self, folder: str) -> None:
        self.model.save(os.path.join(folder, self._filename))


ReportCheckpointCallback = TuneReportCheckpointCallback


class TuneReportCallback(TuneReportCheckpointCallback):
    """Reports metrics to the trial, without checkpoints.

    Args:
        metrics: As for `TuneReportCheckpointCallback`.
        on: When to report.

    Raises:
        ConfigError: An argument cannot work; in training, there is no such metric.
    """

    def __init__(self, metrics: Metrics = None, on: str | Sequence[str] = "epoch_end") -> None:
        super().__init__(checkpoint_on=(), report_metrics_on=on, metrics=metrics)
