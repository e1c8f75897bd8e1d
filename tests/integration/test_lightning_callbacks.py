"""PyTorch Lightning in trials: validations are reported, states saved, loaded and trained on."""

from __future__ import annotations

import inspect
import os
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from fit_helpers import append, fit
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

import tuner as tune
from tuner.errors import ConfigError
from tuner.integrations import pytorch_lightning as ours
from tuner.integrations.pytorch_lightning import TuneReportCallback, TuneReportCheckpointCallback
from tuner.schedulers import ASHAScheduler

IMAGES, DIGITS = load_digits(return_X_y=True)
DATA = TensorDataset(torch.tensor(IMAGES / 16, dtype=torch.float32), torch.tensor(DIGITS))
EPOCHS = 6

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning gives much advice


class Digits(pl.LightningModule):
    """Logistic regression."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        torch.manual_seed(0)
        self.layer = torch.nn.Linear(64, 10)

    def loss(self, batch: Any) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(self.layer(batch[0]), batch[1])

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        loss = self.loss(batch)
        self.log("loss", loss)
        self.log("epoch_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: Any, index: int) -> None:
        self.log("val_loss", self.loss(batch))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), self.rate)


def run_epochs(
    callbacks: list[Any],
    *,
    rate: float = 0.01,
    epochs: int = 1,
    path: str | None = None,
    **more: Any,
) -> None:
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **more,
    )
    trainer.fit(Digits(rate), DataLoader(DATA, 600), DataLoader(DATA, 1800), ckpt_path=path)


class FailInFifth(pl.Callback):
    """Fails in the middle of the fifth epoch."""

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.current_epoch == 4:
            raise RuntimeError("once")


def train(config: dict[str, Any]) -> None:
    """Trains for six epochs in all, and fails once in the fifth, if that is asked."""
    callbacks: list[Any] = [TuneReportCheckpointCallback({"loss": "val_loss"}, "model.ckpt")]
    checkpoint = tune.get_checkpoint()
    path = None if checkpoint is None else os.path.join(checkpoint.path, "model.ckpt")
    if config.get("fails") and path is None:
        callbacks.append(FailInFifth())
    try:
        run_epochs(callbacks, rate=config.get("rate", 0.01), epochs=EPOCHS, path=path)
    except BaseException as end:
        Path("end").write_text(type(end).__name__)
        raise


@pytest.mark.parametrize("name", ["TuneReportCheckpointCallback", "TuneReportCallback"])
def test_arguments_are_those_of_ray(name: str) -> None:
    theirs = pytest.importorskip("ray.tune.integration.pytorch_lightning")

    def shape(module: Any) -> list[tuple[str, Any]]:
        parameters = inspect.signature(getattr(module, name)).parameters.values()
        return [(each.name, each.default) for each in parameters]

    assert shape(ours) == shape(theirs)


def test_the_one_that_failed_goes_on_and_a_stop_passes_through_lightning(tmp_path: Path) -> None:
    results = fit(
        train,
        tmp_path,
        space={
            "rate": tune.grid_search([0.01, 1e-5, 1e-6]),
            "fails": tune.sample_from(lambda spec: spec.config.rate == 0.01),
        },
        run={"failure_config": tune.FailureConfig(max_failures=1)},
        metric="loss",
        mode="min",
        scheduler=ASHAScheduler(max_t=EPOCHS, grace_period=2, reduction_factor=2),
    )
    assert results.num_errors == 0
    failed, *others = results
    assert Path(failed.path, "error.txt").read_text().count("RuntimeError: once") == 1
    frame = failed.metrics_dataframe
    assert frame["training_iteration"].tolist() == [1, 2, 3, 4, 5, 6]
    assert failed.metrics["iterations_since_restore"] == 2
    assert frame["loss"].is_monotonic_decreasing
    assert min(result.metrics["training_iteration"] for result in others) < EPOCHS
    for result in results:
        assert Path(result.path, "end").read_text() == "TrialStopped"
        state = torch.load(Path(result.checkpoint.path, "model.ckpt"), weights_only=True)
        assert state["global_step"] == 3 * result.metrics["training_iteration"]
    model = Digits(0.01)
    model.load_state_dict(
        torch.load(Path(failed.checkpoint.path, "model.ckpt"), weights_only=True)["state_dict"]
    )
    assert model.loss(DATA[:]).item() == pytest.approx(failed.metrics["loss"], rel=1e-4)


class NoteRank(pl.Callback):
    """Writes down which processes validate."""

    def on_validation_end(self, trainer: pl.Trainer, *_: Any) -> None:
        append("ranks", f"{trainer.global_rank} ")


def test_of_several_processes_the_first_reports(tmp_path: Path) -> None:
    def train_in_two(config: dict[str, Any]) -> None:
        callbacks = [NoteRank(), TuneReportCheckpointCallback({"loss": "val_loss"})]
        run_epochs(callbacks, epochs=3, strategy="ddp_fork", devices=2, num_sanity_val_steps=0)

    (result,) = fit(tune.with_resources(train_in_two, {"cpu": 2}), tmp_path)
    assert result.error is None
    assert sorted(Path(result.path, "ranks").read_text().split()) == ["0"] * 3 + ["1"] * 3
    assert result.metrics_dataframe["training_iteration"].tolist() == [1, 2, 3]
    state = torch.load(Path(result.checkpoint.path, "checkpoint"), weights_only=True)
    assert state["epoch"] == 2


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch) -> list[tuple[set[str], list[str]]]:
    """What reaches `tune.report`: names of metrics, and of the files of the checkpoint."""
    seen = []

    def report(metrics: dict[str, Any], *, checkpoint: tune.Checkpoint | None = None) -> None:
        files = () if checkpoint is None else Path(checkpoint.path).iterdir()
        seen.append((set(metrics), [each.name for each in files]))

    monkeypatch.setattr("tuner.trainable.session.report", report)
    return seen


def test_each_validation_is_reported_but_for_the_sanity_check(reports: list[Any]) -> None:
    run_epochs([TuneReportCheckpointCallback(["val_loss"])], epochs=2)
    assert reports == [({"val_loss"}, ["checkpoint"])] * 2


def test_metrics_at_other_events(reports: list[Any]) -> None:
    callback = TuneReportCheckpointCallback(
        save_checkpoints=False, on=["train_batch_end", "train_end"]
    )
    run_epochs([callback], num_sanity_val_steps=0)
    all_metrics = {"loss", "epoch_loss", "val_loss"}
    assert reports == [*[({"loss"}, [])] * 3, (all_metrics, [])]
    reports.clear()
    run_epochs([TuneReportCallback({"l": "epoch_loss"}, on="train_epoch_end")])
    assert reports == [({"l"}, [])]


def test_an_unknown_metric_or_event_is_named() -> None:
    with pytest.raises(ConfigError, match=r"'val_los'.*\['loss', 'val_loss'\].*'val_loss'\?"):
        run_epochs([TuneReportCallback("val_los")])
    with pytest.raises(ConfigError, match=r"on='validation'\): use some of after_backward"):
        TuneReportCallback(on="validation")
    with pytest.raises(ConfigError, match="on='save_checkpoint'"):
        TuneReportCheckpointCallback(on="save_checkpoint")
