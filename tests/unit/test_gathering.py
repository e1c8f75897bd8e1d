"""From trials and their journal to the results that the user gets."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tuner import codec
from tuner.errors import JournalError, TrialError
from tuner.experiment.events import (
    CheckpointSaved,
    Fact,
    TrialChanged,
    TrialCreated,
    TrialEnded,
    TrialLaunched,
    TrialResult,
)
from tuner.experiment.journal_writer import JournalWriter
from tuner.experiment.retention import Retention
from tuner.experiment.trial_table import TrialTable
from tuner.gathering import gather
from tuner.result_grid import ResultGrid


def created(trial_id: str, number: int, **config: Any) -> TrialCreated:
    return TrialCreated(
        time=0.0,
        trial_id=trial_id,
        number=number,
        trainable_name="train",
        trial_name="",
        experiment_tag=f"{number}_tag",
        dirname=f"dir_{trial_id}",
        config=config,
        evaluated_params=config,
        bundles=[{"CPU": 1.0}],
    )


def result(
    trial_id: str, iteration: int, loss: float, decision: str = "CONTINUE", **fields: Any
) -> TrialResult:
    attempt = fields.pop("attempt", 1)
    checkpoint = fields.pop("checkpoint", None)
    reported = {
        "loss": loss,
        "training_iteration": iteration,
        "iterations_since_restore": fields.pop("since", iteration),
        "done": False,
        **fields,
    }
    raw = codec.encode_metrics(reported)
    return TrialResult(1.0, trial_id, attempt, decision, checkpoint, codec.decode(raw), raw)


def gathered(path: Path, facts: list[Fact]) -> ResultGrid:
    """What a run with these facts would return: the journal first, then the trials."""
    writer = JournalWriter(str(path))
    writer.append(facts)
    writer.close()
    table = TrialTable(str(path), Retention(2, "loss", "min"))
    for fact in facts:
        table.apply(fact)
    return gather(table, "loss", "min")


@pytest.fixture
def grid(tmp_path: Path) -> ResultGrid:
    return gathered(
        tmp_path,
        [
            created("a", 0, lr=0.1, kind=dict),
            created("b", 1, lr=0.2),
            created("c", 2, lr=0.3),
            TrialLaunched(0.0, "a", 1, None, 0),
            TrialLaunched(0.0, "b", 1, None, 0),
            result("a", 1, 0.5, checkpoint="checkpoint_000000"),
            result("b", 1, 0.25, table=np.array([1, 2]), **{"0": {"deep": None}}),
            result("a", 2, 0.4),
            TrialEnded(2.0, "a", 1, "PENDING", "first failure"),
            TrialLaunched(2.0, "a", 2, "checkpoint_000000", 1),
            result("a", 2, 0.3, attempt=2, since=1, checkpoint="checkpoint_000001"),
            result("a", 3, 0.6, "STOP", attempt=2, since=2, checkpoint="checkpoint_000002"),
            CheckpointSaved(3.0, "a", 2, "checkpoint_000003"),
            TrialEnded(3.0, "a", 2, "TERMINATED", None),
            TrialEnded(3.0, "b", 1, "ERROR", "Traceback: no luck"),
            TrialEnded(3.0, "c", 0, "TERMINATED", None),
        ],
    )


def test_results_come_in_order_of_creation_each_with_its_configuration(grid: ResultGrid) -> None:
    assert [r.config["lr"] for r in grid] == [0.1, 0.2, 0.3]
    assert [r.status for r in grid] == ["TERMINATED", "ERROR", "TERMINATED"]
    assert [Path(r.path).name for r in grid] == ["dir_a", "dir_b", "dir_c"]
    assert grid[0].metrics["config"] == {"lr": 0.1, "kind": dict}
    assert grid[0].metrics["experiment_tag"] == "0_tag"
    assert grid[0].metrics["done"] is True
    assert grid[1].metrics["table"].tolist() == [1, 2]


def test_a_trial_that_never_reported_has_no_metrics(grid: ResultGrid) -> None:
    assert grid[2].metrics == {}
    assert (grid[2].checkpoint, grid[2].error) == (None, None)
    assert grid[2].history() == []


def test_only_what_failed_for_good_has_an_error(grid: ResultGrid) -> None:
    assert grid[0].error is None
    error = grid[1].error
    assert isinstance(error, TrialError)
    assert (error.trial_id, error.traceback) == ("b", "Traceback: no luck")
    assert (grid.num_errors, grid.num_terminated) == (1, 2)


def test_the_best_is_judged_by_what_was_asked_for(grid: ResultGrid) -> None:
    assert grid.get_best_result().config["lr"] == 0.2
    assert grid.get_best_result(mode="max").config["lr"] == 0.1
    assert grid.get_best_result(scope="all").config["lr"] == 0.2
    assert grid.get_best_result(scope="avg", mode="max").config["lr"] == 0.1


def test_the_config_is_what_the_last_result_was_trained_with(tmp_path: Path) -> None:
    facts = [
        created("a", 0, lr=0.1),
        TrialLaunched(1.0, "a", 1, None, 0),
        result("a", 1, 0.5),
        TrialEnded(1.0, "a", 1, "PAUSED", None),
        TrialChanged(1.0, "a", None, None, {"lr": 0.2}, {"lr": 0.2}, "0_lr=0.2", None, None, False),
    ]
    (exploited,) = gathered(tmp_path / "unseen", facts)
    assert (exploited.config, exploited.metrics["config"]) == ({"lr": 0.1}, {"lr": 0.1})
    facts += [TrialLaunched(2.0, "a", 2, None, 0), result("a", 1, 0.4, attempt=2)]
    (trained,) = gathered(tmp_path / "trained", facts)
    assert (trained.config, trained.metrics["loss"]) == ({"lr": 0.2}, 0.4)


def test_checkpoints_that_are_kept_come_best_last(grid: ResultGrid) -> None:
    latest = grid[0].checkpoint
    assert latest is not None
    assert Path(latest.path).name == "checkpoint_000003"
    kept = [(Path(best.path).name, row["loss"]) for best, row in grid[0].best_checkpoints]
    assert [loss for _, loss in kept] == [0.5, 0.3], "the latest is none of the two best"
    assert [name for name, _ in kept] == [f"checkpoint_00000{number}" for number in (0, 1)]


def test_without_files_the_history_comes_from_the_journal(grid: ResultGrid) -> None:
    rows = grid[0].history()
    assert [(row["training_iteration"], row["loss"]) for row in rows] == [
        (1, 0.5),
        (2, 0.3),
        (3, 0.6),
    ]
    assert [row["done"] for row in rows] == [False, False, True]
    frame = grid[1].metrics_dataframe
    assert frame["loss"].tolist() == [0.25]
    assert "0/deep" in frame.columns


def test_the_journal_is_read_once_for_all_trials_and_again_after_a_pickle(
    grid: ResultGrid, tmp_path: Path
) -> None:
    assert len(grid[0].history()) == 3
    copy = pickle.loads(pickle.dumps(grid))
    shutil.rmtree(tmp_path / "journal")
    assert [row["loss"] for row in grid[1].history()] == [0.25]
    with pytest.raises(JournalError):
        copy[1].history()
