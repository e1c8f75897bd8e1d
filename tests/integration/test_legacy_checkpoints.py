"""Whole experiments with functions whose checkpoints are those of 1.x."""

from __future__ import annotations

import glob
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fit_helpers import append, fit

import tuner as tune
from tuner.schedulers import PopulationBasedTraining

pytestmark = pytest.mark.filterwarnings("ignore:.*older API:FutureWarning")


def begin(checkpoint_dir: str | None) -> int:
    return int(Path(checkpoint_dir, "step").read_text()) if checkpoint_dir else 0


def count(config: dict[str, Any], checkpoint_dir: str | None = None) -> None:
    """Saves every second step, and fails once at the fifth."""
    append(config["log"], f"{begin(checkpoint_dir)} ")
    assert tune.is_session_enabled()
    assert tune.get_trial_dir() == os.getcwd()
    assert tune.get_trial_id() in tune.get_trial_name()
    for step in range(begin(checkpoint_dir) + 1, 8):
        if step == 5 and checkpoint_dir is None:
            raise RuntimeError("as asked")
        if step % 2 == 0:
            with tune.checkpoint_dir(step=step) as folder:
                Path(folder, "step").write_text(str(step))
        tune.report(step=step)


def yielding(config: dict[str, Any], checkpoint_dir: str | None = None) -> Iterator[dict[str, Any]]:
    append(config["log"], f"{begin(checkpoint_dir)} ")
    for step in range(begin(checkpoint_dir) + 1, 8):
        if step == 5 and checkpoint_dir is None:
            raise RuntimeError("as asked")
        if step % 2 == 0:
            with tune.checkpoint_dir(step) as folder:
                Path(folder, "step").write_text(str(step))
        yield {"step": step}


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return folder


@pytest.mark.parametrize("function", [count, yielding])
@pytest.mark.parametrize("executor", ["auto", "inline"])
def test_a_retry_goes_on_from_the_last_checkpoint(
    function: Any, executor: str, tmp_path: Path, temporary: Path
) -> None:
    log = tmp_path / "log"
    (result,) = fit(
        function,
        tmp_path,
        space={"log": str(log)},
        run={
            "executor": executor,
            "failure_config": tune.FailureConfig(max_failures=1),
            "checkpoint_config": tune.CheckpointConfig(num_to_keep=5),
        },
    )
    assert log.read_text().split() == ["0", "4"]
    assert result.error is None
    assert result.metrics is not None
    assert result.metrics["step"] == 7
    assert result.checkpoint is not None
    assert Path(result.checkpoint.path, "step").read_text() == "6"
    frame = result.metrics_dataframe
    assert frame is not None
    saved = frame["checkpoint_dir_name"].notna()
    assert list(frame["step"][saved]) == [2, 4, 6]
    assert glob.glob(str(temporary / "checkpoint_*")) == []


def failing_to_save(config: dict[str, Any]) -> None:
    try:
        with tune.checkpoint_dir(step=1):
            raise OSError("no room")
    except OSError:
        tune.report(step=1)
    with tune.checkpoint_dir(step=2) as folder:
        Path(folder, "step").write_text("superseded")
    with tune.checkpoint_dir(step=2) as folder:
        Path(folder, "step").write_text("2")
    tune.report(step=2)
    tune.report(step=3)


def test_only_what_was_written_last_is_reported(tmp_path: Path, temporary: Path) -> None:
    (result,) = fit(failing_to_save, tmp_path)
    frame = result.metrics_dataframe
    assert frame is not None
    assert list(frame["checkpoint_dir_name"].notna()) == [False, True, False]
    assert result.checkpoint is not None
    assert Path(result.checkpoint.path, "step").read_text() == "2"
    assert glob.glob(str(temporary / "checkpoint_*")) == []


def test_restore_hands_the_folder_over(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    (result,) = fit(
        count,
        tmp_path,
        space={"log": str(first)},
        run={"failure_config": tune.FailureConfig(max_failures=1)},
    )
    assert result.checkpoint is not None
    analysis = tune.run(
        count,
        config={"log": str(second)},
        restore=result.checkpoint.path,
        local_dir=str(tmp_path),
        verbose=0,
    )
    assert second.read_text().split() == ["6"]
    assert analysis.trials[0].last_result["step"] == 7
    assert analysis.trials[0].last_result["training_iteration"] == 7


def grow(config: dict[str, Any], checkpoint_dir: str | None = None) -> None:
    score = float(Path(checkpoint_dir, "score").read_text()) if checkpoint_dir else 0.0
    for _ in range(9):
        score += config["rate"]
        with tune.checkpoint_dir(step=1) as folder:
            Path(folder, "score").write_text(str(score))
        tune.report(score=score)


def test_population_based_training_goes_on_from_another_one(tmp_path: Path) -> None:
    results = fit(
        grow,
        tmp_path,
        space={"rate": tune.grid_search([1.0, 0.9, 0.2, 0.1])},
        run={"stop": {"training_iteration": 9}},
        metric="score",
        mode="max",
        scheduler=PopulationBasedTraining(
            time_attr="training_iteration",
            perturbation_interval=3,
            hyperparam_mutations={"rate": tune.uniform(0.1, 1)},
        ),
        max_concurrent_trials=1,
        seed=1,
    )
    scores = [result.metrics["score"] for result in results if result.metrics]
    assert min(scores[2:]) > 9 * 0.2  # more than either could reach alone
