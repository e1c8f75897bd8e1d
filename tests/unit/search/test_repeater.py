"""Repeater: each configuration several times, its mean for the searcher."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

import tuner as tune
from tuner.errors import ConfigError
from tuner.search import Repeater, Searcher
from tuner.search.repeater import TRIAL_INDEX


class Counting(Searcher):
    """Counts up, and notes what it is told."""

    def __init__(self) -> None:
        super().__init__("loss", "min")
        self.count = 0
        self.told: list[tuple[str, Any, bool]] = []

    def suggest(self, trial_id: str) -> dict[str, Any]:
        self.count += 1
        return {"x": self.count}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        self.told.append((trial_id, result, error))


def test_the_searcher_is_told_the_mean_when_all_have_ended() -> None:
    inner = Counting()
    repeater = Repeater(inner, repeat=3)
    configs = [repeater.suggest(name) for name in "abcd"]
    assert configs == [*({"x": 1, TRIAL_INDEX: i} for i in range(3)), {"x": 2, TRIAL_INDEX: 0}]
    repeater.on_trial_complete("b", {"loss": 1.0})
    repeater.on_trial_complete("a", {"loss": 4.0})
    assert inner.told == []
    repeater.on_trial_complete("c", {"loss": 7.0})
    assert inner.told == [("a", {"loss": 4.0}, False)]


def test_failures_count_only_if_all_fail() -> None:
    inner = Counting()
    repeater = Repeater(inner, repeat=2, set_index=False)
    assert [repeater.suggest(name) for name in "abcd"] == [{"x": 1}] * 2 + [{"x": 2}] * 2
    repeater.on_trial_complete("a", error=True)
    repeater.on_trial_complete("b", {"loss": 2.0})
    repeater.on_trial_complete("c", {"loss": math.nan})
    repeater.on_trial_complete("d", {"other": 1})
    assert inner.told == [("a", {"loss": 2.0}, False), ("c", None, True)]


def test_a_record_stands_for_what_was_suggested() -> None:
    inner = Counting()
    repeater = Repeater(inner, repeat=2)
    for name, config in (("a", {"x": 1, TRIAL_INDEX: 0}), ("b", {"x": 1, TRIAL_INDEX: 1})):
        repeater.on_trial_recorded(name, config)
    assert inner.count == 1
    assert repeater.suggest("c") == {"x": 2, TRIAL_INDEX: 0}


def test_its_state_is_restored(tmp_path: Path) -> None:
    repeater = Repeater(Counting(), repeat=2)
    repeater.suggest("a")
    repeater.save(tmp_path / "state")
    restored = Repeater(Counting(), repeat=2)
    restored.restore(tmp_path / "state")
    assert restored.suggest("b") == {"x": 1, TRIAL_INDEX: 1}
    restored.on_trial_complete("a", {"loss": 1.0})
    restored.on_trial_complete("b", {"loss": 3.0})
    assert restored.searcher.told == [("a", {"loss": 2.0}, False)]  # type: ignore[attr-defined]


def test_in_an_experiment(tmp_path: Path) -> None:
    inner = Counting()
    grid = tune.Tuner(
        lambda config: {"loss": config["x"] + config[TRIAL_INDEX]},
        tune_config=tune.TuneConfig(
            metric="loss", mode="min", num_samples=6, search_alg=Repeater(inner, repeat=3)
        ),
        run_config=tune.RunConfig(storage_path=str(tmp_path), verbose=0),
    ).fit()
    found = sorted((result.config["x"], result.config[TRIAL_INDEX]) for result in grid)
    assert found == [(x, i) for x in (1, 2) for i in range(3)]


@pytest.mark.parametrize(
    "arguments", [{"repeat": 0}, {"repeat": 1.5}, {"set_index": 1}, {"searcher": "random"}]
)
def test_bad_arguments_are_named(arguments: dict[str, Any]) -> None:
    (name,) = arguments
    with pytest.raises(ConfigError, match=rf"Repeater\({name}="):
        Repeater(**{"searcher": Counting(), **arguments})
