"""Checkpoints after a restore: what is lent to other trials stays, what is missing is not used."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import pytest

from tuner.experiment.events import (
    TrialChanged,
    TrialCreated,
    TrialEnded,
    TrialLaunched,
    TrialRequeued,
)
from tuner.experiment.events import TrialResult as Result
from tuner.experiment.retention import Retention
from tuner.experiment.trial_table import TrialTable
from tuner.rebuilding import complete_checkpoints


def created(trial_id: str, number: int) -> TrialCreated:
    config: dict[str, Any] = {"lr": number}
    return TrialCreated(
        0.0, trial_id, number, "train", "", str(number), trial_id, config, config, [{"CPU": 1}]
    )


def result(trial_id: str, n: int, decision: str = "CONTINUE") -> Result:
    name = f"checkpoint_{n - 1:06d}"
    return Result(0.0, trial_id, 1, decision, name, {"training_iteration": n})


@pytest.fixture
def table(tmp_path: Path) -> TrialTable:
    """Two trials: b is paused, and goes on from a's first checkpoint of three."""
    table = TrialTable(str(tmp_path), Retention(num_to_keep=1))
    for fact in (
        created("a", 0),
        created("b", 1),
        TrialLaunched(0.0, "a", 1, None, 0),
        TrialLaunched(0.0, "b", 1, None, 0),
        result("a", 1),
        result("b", 1, "PAUSE"),
        TrialEnded(0.0, "b", 1, "PAUSED", None),
        TrialChanged(0.0, "b", "a", "checkpoint_000000", None, None, None, None, None, False),
        result("a", 2),
        result("a", 3),
    ):
        table.apply(fact)
    for trial, numbers in (("a", (0, 1, 2)), ("b", (0,))):
        for number in numbers:
            os.makedirs(tmp_path / trial / f"checkpoint_{number:06d}")
    return table


def test_a_lent_checkpoint_is_not_removed_with_those_that_are_not_kept(
    table: TrialTable, tmp_path: Path
) -> None:
    complete_checkpoints(table)
    assert sorted(os.listdir(tmp_path / "a")) == ["checkpoint_000000", "checkpoint_000002"]
    borrowed = table["b"].checkpoint
    assert borrowed is not None
    assert borrowed.path == str(tmp_path / "a" / "checkpoint_000000")


def test_a_trial_goes_on_from_its_own_checkpoint_when_the_borrowed_one_is_gone(
    table: TrialTable, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    os.rmdir(tmp_path / "a" / "checkpoint_000000")
    with caplog.at_level(logging.WARNING):
        complete_checkpoints(table)
    assert "checkpoint_000000 is missing" in caplog.text
    assert table["b"].borrowed is None
    own = table["b"].checkpoint
    assert own is not None
    assert own.path == str(tmp_path / "b" / "checkpoint_000000")


def test_a_lent_checkpoint_of_a_trial_that_begins_anew_is_removed_when_it_is_given_back(
    table: TrialTable,
) -> None:
    table.removed_checkpoints.clear()
    table.apply(TrialEnded(0.0, "a", 1, "ERROR", "broken"))
    table.apply(TrialRequeued(0.0, "a", anew=True))
    removed = [(trial.trial_id, old.name) for trial, old in table.removed_checkpoints]
    assert removed == [("a", "checkpoint_000002")]
    table.removed_checkpoints.clear()
    table.apply(TrialLaunched(0.0, "b", 2, "checkpoint_000000", 1, "a"))
    table.apply(Result(0.0, "b", 2, "CONTINUE", "checkpoint_000001", {"training_iteration": 2}))
    table.apply(TrialEnded(0.0, "b", 2, "TERMINATED", None))
    removed = [(trial.trial_id, old.name) for trial, old in table.removed_checkpoints]
    assert removed == [("b", "checkpoint_000000"), ("a", "checkpoint_000000")]
