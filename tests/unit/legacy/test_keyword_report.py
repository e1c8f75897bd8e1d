"""`tune.report(loss=0.1)`, `tune.track` and the metrics that they give."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tuner as tune
from tuner.errors import ReportError
from tuner.legacy.metrics import old_metrics

pytestmark = pytest.mark.filterwarnings("ignore:.*older API:FutureWarning")


@pytest.mark.parametrize(
    ("value", "named", "metrics"),
    [
        (None, {"loss": 1, "a": "b"}, {"loss": 1, "a": "b"}),
        ({"loss": 1}, {}, {"loss": 1}),
        ({}, {}, {}),
        (0.5, {}, {"_metric": 0.5}),
        (np.float32(0.5), {"acc": 1}, {"_metric": 0.5, "acc": 1}),
        (None, {"mean_loss": 2}, {"mean_loss": 2, "neg_mean_loss": -2}),
        ({"mean_loss": 0.0}, {}, {"mean_loss": 0.0, "neg_mean_loss": 0.0}),
        (None, {"mean_loss": 2, "neg_mean_loss": 7}, {"mean_loss": 2, "neg_mean_loss": 7}),
        (None, {"mean_loss": "much"}, {"mean_loss": "much"}),
    ],
)
def test_metrics(value: Any, named: dict[str, Any], metrics: dict[str, Any]) -> None:
    assert old_metrics("report", value, named) == metrics


@pytest.mark.parametrize(
    ("value", "named", "words"),
    [
        (None, {}, r"report\(metrics=None\): metrics must be a dictionary"),
        ("loss", {}, r"report\(metrics='loss'\): metrics must be a dictionary"),
        (True, {}, r"report\(metrics=True\): metrics must be a dictionary"),
        ({"a": 1}, {"b": 2, "c": 3}, r"report\(\{'a': 1\}, b, c=…\): metrics are given as"),
    ],
)
def test_what_are_none(value: Any, named: dict[str, Any], words: str) -> None:
    with pytest.raises(ReportError, match=words):
        old_metrics("report", value, named)
    with pytest.raises(ReportError, match=f"tune.{words}"):
        tune.report(value, **named)


def test_todays_form_does_not_warn(
    recwarn: pytest.WarningsRecorder, nothing_was_said: None
) -> None:
    tune.report({"loss": 1})
    assert FutureWarning not in [each.category for each in recwarn]
    tune.report(loss=1)
    tune.report(loss=1)
    assert [each.category for each in recwarn].count(FutureWarning) == 1


def test_track_outside_of_a_trial() -> None:
    import tuner.legacy.track

    assert tune.track is tuner.legacy.track
    tune.track.init()
    tune.track.log(loss=1)
    assert tune.track.trial_dir() is tune.track.trial_name() is tune.track.trial_id() is None
    tune.track.shutdown()
    with pytest.raises(ReportError, match=r"tune\.track\.log\(metrics=None\)"):
        tune.track.log()
