"""Keras in trials: epochs are reported, models saved, loaded and trained on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import pytest
from fit_helpers import fit
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import tuner as tune
from tuner.errors import ConfigError
from tuner.integrations.keras import (
    ReportCheckpointCallback,
    TuneReportCallback,
    TuneReportCheckpointCallback,
)

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

IMAGES, DIGITS = load_digits(return_X_y=True)
X, X_VALID, Y, Y_VALID = train_test_split(IMAGES / 16, DIGITS, test_size=0.5, random_state=0)


def make_model() -> keras.Model:
    model = keras.Sequential([keras.layers.Input((64,)), keras.layers.Dense(10)])
    model.compile(
        keras.optimizers.Adam(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    return model


def run_epochs(model: keras.Model, callbacks: list[Any], *, first: int = 0, last: int = 1) -> None:
    model.fit(
        X,
        Y,
        batch_size=300,
        initial_epoch=first,
        epochs=last,
        shuffle=False,
        validation_data=(X_VALID, Y_VALID),
        callbacks=callbacks,
        verbose=0,
    )


def train(config: dict[str, Any]) -> None:
    """Trains until it is stopped, and fails once in the fourth epoch, if that is asked."""
    keras.utils.set_random_seed(0)
    model, first = make_model(), 0
    checkpoint = tune.get_checkpoint()
    if checkpoint is not None:
        model = TuneReportCheckpointCallback.get_model(checkpoint)
        first = checkpoint.get_metadata()["epochs"]
    callbacks = [TuneReportCheckpointCallback(metrics={"loss": "val_loss"})]
    if config["fails"] and checkpoint is None:
        callbacks.append(keras.callbacks.LambdaCallback(on_epoch_begin=fail_in_fourth))
    try:
        run_epochs(model, callbacks, first=first, last=9)
    except BaseException as end:
        Path("end").write_text(type(end).__name__)
        raise


def fail_in_fourth(epoch: int, logs: Any) -> None:
    if epoch == 3:
        raise RuntimeError("once")


def test_the_one_that_failed_goes_on_and_a_stop_passes_through_keras(tmp_path: Path) -> None:
    whole, failed = fit(
        train,
        tmp_path,
        space={"fails": tune.grid_search([False, True])},
        run={
            "failure_config": tune.FailureConfig(max_failures=1),
            "stop": {"training_iteration": 5},
        },
    )
    assert (whole.error, failed.error) == (None, None)
    assert Path(failed.path, "error.txt").read_text().count("RuntimeError: once") == 1
    assert failed.metrics["iterations_since_restore"] == 2
    losses = failed.metrics_dataframe["loss"].tolist()
    assert losses == pytest.approx(whole.metrics_dataframe["loss"].tolist(), rel=1e-4)
    assert len(losses) == 5
    assert losses[-1] < losses[0]
    for result in (whole, failed):
        assert Path(result.path, "end").read_text() == "TrialStopped"
        assert result.checkpoint.get_metadata() == {"epochs": 5}
        model = TuneReportCheckpointCallback.get_model(result.checkpoint)
        assert model.evaluate(X_VALID, Y_VALID, verbose=0) == pytest.approx(losses[-1], rel=1e-4)


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch) -> list[tuple[set[str], dict[str, Any]]]:
    """What reaches `tune.report`: names of metrics, and the metadata of the checkpoint."""
    seen = []

    def report(metrics: dict[str, Any], *, checkpoint: tune.Checkpoint | None = None) -> None:
        seen.append((set(metrics), checkpoint.get_metadata() if checkpoint else {}))

    monkeypatch.setattr("tuner.trainable.session.report", report)
    return seen


def test_metrics_and_models_at_other_events(reports: list[Any]) -> None:
    callback = ReportCheckpointCallback(
        checkpoint_on="train_end", report_metrics_on=["train_batch_end", "epoch_end"]
    )
    run_epochs(make_model(), [callback], last=2)
    batch, epoch = ({"loss"}, {}), ({"loss", "val_loss"}, {})
    assert reports == [*[batch, batch, batch, epoch] * 2, ({"loss", "val_loss"}, {"epochs": 2})]


def test_no_checkpoints_where_none_are_wanted(reports: list[Any]) -> None:
    run_epochs(make_model(), [TuneReportCallback(["loss"])], last=2)
    run_epochs(make_model(), [TuneReportCallback({"l": "loss"}, on="test_end")])
    run_epochs(make_model(), [TuneReportCallback("loss", "train_batch_end")])
    assert reports == [*[({"loss"}, {})] * 2, ({"l"}, {}), *[({"loss"}, {})] * 3]


def test_an_unknown_metric_or_event_is_named() -> None:
    with pytest.raises(ConfigError, match=r"'val_los'.*\['loss', 'val_loss'\].*'val_loss'\?"):
        run_epochs(make_model(), [TuneReportCheckpointCallback(metrics="val_los")])
    with pytest.raises(ConfigError, match=r"checkpoint_on='epoch'\): use some of batch_begin"):
        TuneReportCheckpointCallback(checkpoint_on="epoch")
    with pytest.raises(ConfigError, match=r"report_metrics_on=.*did you mean 'train_end'\?"):
        TuneReportCallback(on=["train_ends"])


def test_a_missing_backend_is_named_with_the_variable_that_chooses_another() -> None:
    code = "import sys; sys.modules['jax'] = None; import tuner.integrations.keras"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
    )
    error = done.stderr.splitlines()[-1]
    assert "Keras is installed, but its backend cannot be imported (" in error
    assert "set the environment variable KERAS_BACKEND=torch" in error
    assert "pip install" not in error
