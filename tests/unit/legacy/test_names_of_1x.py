"""Names that 1.x had in `ray.tune`."""

from __future__ import annotations

from typing import Any

import pytest

import tuner as tune
from tuner.stoppers import ExperimentPlateauStopper

pytestmark = pytest.mark.usefixtures("nothing_was_said")


@pytest.mark.parametrize("name", ["get_trial_id", "get_trial_name", "get_trial_dir"])
def test_what_a_trial_asks_of_itself(name: str) -> None:
    with pytest.warns(FutureWarning, match=rf"today's form is tune.get_context\(\).{name}\(\)"):
        assert getattr(tune, name)() is None


def test_whether_there_is_a_session() -> None:
    with pytest.warns(FutureWarning, match="is_session_enabled"):
        assert tune.is_session_enabled() is False


def test_durable_trainables_are_trainables() -> None:
    def train(config: dict[str, Any]) -> None:
        pass

    with pytest.warns(FutureWarning, match="no effect: each checkpoint is on the storage_path"):
        assert tune.durable(train) is train
    assert tune.durable("PPO") == "PPO"
    with pytest.warns(FutureWarning, match="today's form is tune.Trainable"):

        class Durable(tune.DurableTrainable):
            def step(self) -> dict[str, Any]:
                return {"a": 1}

    assert Durable().train()["a"] == 1


def test_analysis(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(vars(tune), "Analysis", raising=False)
    with pytest.warns(FutureWarning, match="today's form is ExperimentAnalysis"):
        assert tune.Analysis is tune.ExperimentAnalysis


def test_stoppers() -> None:
    assert tune.stopper.Stopper is tune.Stopper
    with pytest.warns(FutureWarning, match="today's form is ExperimentPlateauStopper"):
        early = tune.stopper.EarlyStopping("loss", std=0.1, top=3, mode="min", patience=2)
    assert isinstance(early, ExperimentPlateauStopper)
    with pytest.raises(AttributeError, match="no attribute 'Unknown'"):
        _ = tune.stopper.Unknown
