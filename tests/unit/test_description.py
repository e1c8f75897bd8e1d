"""What a folder says about its run: the finer points."""

from __future__ import annotations

import json
import pickle
import threading
from datetime import timedelta
from typing import Any

import pytest

from tuner.config import CheckpointConfig, RunConfig, TuneConfig
from tuner.description import describe, pickled
from tuner.objective import Objective
from tuner.schedulers import ASHAScheduler


def described(tune_config: TuneConfig, run_config: RunConfig) -> dict[str, Any]:
    facts = describe(
        version="1",
        name="n",
        trainable="train",
        seed=3,
        id_prefix="abc",
        tune_config=tune_config,
        run_config=run_config,
        objective=Objective(tune_config.metric, tune_config.mode),
    )
    text: dict[str, Any] = json.loads(json.dumps(facts, allow_nan=False))
    return text


def test_everything_in_the_configs_is_readable_whatever_it_is() -> None:
    facts = described(
        TuneConfig(metric="loss", mode="min", scheduler=ASHAScheduler(max_t=9), time_budget_s=5.5),
        RunConfig(
            stop=[{"loss": 3}, lambda trial_id, result: True],
            checkpoint_config=CheckpointConfig(num_to_keep=2),
        ),
    )
    assert facts["tune_config"]["time_budget_s"] == 5.5
    assert "AsyncHyperBandScheduler" in facts["tune_config"]["scheduler"]
    assert facts["run_config"]["stop"][0] == {"loss": 3}
    assert "<lambda>" in facts["run_config"]["stop"][1]
    assert facts["run_config"]["checkpoint_config"]["num_to_keep"] == 2
    budget = described(TuneConfig(time_budget_s=timedelta(hours=1)), RunConfig())
    assert "3600" in str(budget["tune_config"]["time_budget_s"])


def test_a_field_that_cannot_be_pickled_is_left_out_and_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    lock = threading.Lock()
    run_config = RunConfig(name="n", stop=lambda trial_id, result: lock.locked())
    parts = pickle.loads(pickled(print, {}, TuneConfig(num_samples=2), run_config))
    assert parts["run_config"]["stop"] is None
    assert pickle.loads(parts["run_config"]["name"]) == "n"
    assert pickle.loads(parts["tune_config"]) == TuneConfig(num_samples=2)
    assert "RunConfig: stop cannot be pickled" in caplog.text
