"""What the callbacks for training libraries share: names, events, reports and their errors."""

from __future__ import annotations

import importlib
import logging
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tuner import Checkpoint
from tuner.errors import ConfigError, MissingDependencyError
from tuner.integrations import training_reports
from tuner.integrations.training_reports import ReportedMetrics, checked_events, checkpoint_file
from tuner.trainable import session

KNOWN = {"valid-loss": 0.5, "valid-error": 0.25}


@pytest.mark.parametrize(
    ("metrics", "reported"),
    [
        (None, KNOWN),
        ("valid-loss", {"valid-loss": 0.5}),
        (["valid-error", "valid-loss"], KNOWN),
        ({"loss": "valid-loss", "twice": "valid-loss"}, {"loss": 0.5, "twice": 0.5}),
    ],
)
def test_metrics_are_all_or_those_named(metrics: Any, reported: dict[str, float]) -> None:
    assert ReportedMetrics("Callback", metrics).of(KNOWN) == reported


def test_an_unknown_metric_is_named_with_what_there_is() -> None:
    metrics = ReportedMetrics("Callback", {"loss": "valid-los"})
    with pytest.raises(ConfigError) as caught:
        metrics.of(KNOWN)
    assert str(caught.value) == (
        "Callback: metrics names 'valid-los', which was not computed, only "
        "['valid-error', 'valid-loss']; did you mean 'valid-loss'?"
    )
    with pytest.raises(ConfigError, match="'valid-los', which was not computed, nor any other"):
        metrics.of({})


@pytest.mark.parametrize("metrics", [3, [3], {"loss": 3}, {3: "loss"}])
def test_metrics_of_another_kind_are_refused(metrics: Any) -> None:
    with pytest.raises(ConfigError, match=r"Callback\(metrics=.*3"):
        ReportedMetrics("Callback", metrics)


def test_an_unknown_event_is_named_with_what_there_is() -> None:
    hooks = ["on_epoch_end", "on_train_end", "set_model"]
    assert checked_events("Callback", "on", "epoch_end", hooks) == ("epoch_end",)
    assert checked_events("Callback", "on", ["train_end", "epoch_end"], hooks) == (
        "train_end",
        "epoch_end",
    )
    with pytest.raises(ConfigError) as caught:
        checked_events("Callback", "on", ["epoch_ends"], hooks)
    assert str(caught.value) == (
        "Callback(on=['epoch_ends']): use some of epoch_end, train_end; did you mean 'epoch_end'?"
    )


def test_the_file_of_a_checkpoint_is_found_or_named(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("model")
    checkpoint = Checkpoint.from_directory(tmp_path)
    with checkpoint_file(checkpoint, "mine.txt") as path:
        assert Path(path).read_text() == "model"
    message = r"has no file 'model.txt', only \['mine.txt'\]: give the filename"
    with pytest.raises(ConfigError, match=message), checkpoint_file(checkpoint, "model.txt"):
        pass


def test_outside_a_trial_it_warns_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_warned", False)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            training_reports.report({"loss": 1}, os.listdir)
    assert caplog.text.count("report() was called outside of a trial: nothing is recorded") == 1


@pytest.mark.parametrize(
    ("module", "libraries", "extra"),
    [
        ("xgboost", ["xgboost"], "xgboost"),
        ("lightgbm", ["lightgbm"], "lightgbm"),
        ("keras", ["keras"], "keras"),
        ("pytorch_lightning", ["lightning", "pytorch_lightning"], "lightning"),
    ],
)
def test_a_missing_library_is_one_clear_error(
    module: str, libraries: list[str], extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, f"tuner.integrations.{module}", raising=False)
    for library in libraries:
        monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingDependencyError) as caught:
        importlib.import_module(f"tuner.integrations.{module}")
    assert "cannot be imported (" in str(caught.value)
    assert str(caught.value).endswith(f": pip install 'tuner[{extra}]'")
