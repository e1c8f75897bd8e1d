"""Trials that fail: retries, checkpoints that are kept, and the errors that the user gets."""

from __future__ import annotations

import itertools
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from fit_helpers import append, fit, train_with_checkpoints

import tuner as tune
from tuner.errors import TrialError


def endless(config: dict[str, Any]) -> None:
    for i in itertools.count():
        tune.report({"i": i, "x": config.get("x", 0) * i})


@pytest.mark.parametrize(
    "die", [lambda: os.kill(os.getpid(), 9), lambda: 1 / 0, lambda: os._exit(1)]
)
def test_a_failed_trial_goes_on_from_its_last_checkpoint(die: Any, tmp_path: Path) -> None:
    (result,) = fit(
        train_with_checkpoints,
        tmp_path,
        space={"die": die},
        run={"failure_config": tune.FailureConfig(max_failures=1)},
    )
    assert result.status == "TERMINATED"
    assert Path(result.path, "runs").read_text().split() == ["0", "1", "2", "3", "3", "4", "5"]
    assert result.metrics["training_iteration"] == 6
    assert result.metrics_dataframe is not None
    assert result.metrics_dataframe["i"].tolist() == [0, 1, 2, 3, 4, 5]
    assert result.metrics_dataframe["training_iteration"].tolist() == [1, 2, 3, 4, 5, 6]


def test_a_trial_that_keeps_failing_is_an_error_and_the_others_go_on(tmp_path: Path) -> None:
    def fail(config: dict[str, Any]) -> dict[str, int]:
        append("runs", "x")
        if config["x"] == 2:
            raise ValueError("two is bad")
        return {"x": config["x"]}

    grid = fit(
        fail,
        tmp_path,
        space={"x": tune.grid_search([1, 2, 3])},
        run={"failure_config": tune.FailureConfig(max_failures=2)},
    )
    assert [result.status for result in grid] == ["TERMINATED", "ERROR", "TERMINATED"]
    assert Path(grid[1].path, "runs").read_text() == "xxx"
    assert isinstance(grid[1].error, TrialError)
    assert "ValueError: two is bad" in str(grid[1].error)
    assert Path(grid[1].path, "error.txt").read_text().count("ValueError: two is bad") == 3
    assert (grid.num_errors, grid.num_terminated) == (1, 2)


def test_a_trial_can_be_tried_again_without_end(tmp_path: Path) -> None:
    def unlucky(config: dict[str, Any]) -> dict[str, int]:
        append("runs", "x")
        if os.path.getsize("runs") < 8:
            raise ValueError("not yet")
        return {"runs": os.path.getsize("runs")}

    (result,) = fit(unlucky, tmp_path, run={"failure_config": tune.FailureConfig(max_failures=-1)})
    assert (result.status, result.error, result.metrics["runs"]) == ("TERMINATED", None, 8)


@pytest.mark.parametrize("fail_fast", [True, "raise"])
def test_the_first_failure_can_end_the_experiment(fail_fast: Any, tmp_path: Path) -> None:
    def fail_first(config: dict[str, Any]) -> None:
        if config["x"] == 0:
            raise ValueError("the first")
        endless(config)

    def run() -> tune.ResultGrid:
        return fit(
            fail_first,
            tmp_path,
            space={"x": tune.grid_search(list(range(50)))},
            run={"failure_config": tune.FailureConfig(fail_fast=fail_fast)},
        )

    if fail_fast == "raise":
        with pytest.raises(TrialError, match="the first"):
            run()
        return
    grid = run()
    assert grid.num_errors == 1
    assert len(grid) < 10


def test_retention_keeps_the_best_and_the_latest(tmp_path: Path) -> None:
    config = tune.CheckpointConfig(num_to_keep=2, checkpoint_score_attribute="score")
    (result,) = fit(
        train_with_checkpoints,
        tmp_path,
        space={"die": lambda: None},
        run={"checkpoint_config": config},
    )
    kept = sorted(p.name for p in Path(result.path).glob("checkpoint_*"))
    assert kept == ["checkpoint_000000", "checkpoint_000001", "checkpoint_000002"]
    scores = [metrics["score"] for _, metrics in result.best_checkpoints]
    assert scores == sorted(scores)
    assert len(scores) == 2, "the latest is kept, but is not among the best"
    assert {metrics["i"] for _, metrics in result.best_checkpoints} < {0, 2, 4}
    assert result.checkpoint is not None
    assert result.checkpoint.path.endswith("checkpoint_000002")
    assert not list(Path(result.path).glob(".checkpoint*"))


class OddError(Exception):
    """One that is made from more than its message."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code

    def __reduce__(self) -> Any:
        return OddError, (self.code, self.args[0])


class ForgetfulError(Exception):
    """One that cannot be made again from what it was pickled with."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code}: {text}")


def fail(config: dict[str, Any]) -> None:
    how = config["how"]
    if how == "exit":
        sys.exit(3)
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "lambda":
        raise RuntimeError(lambda: 1)
    if how == "large":
        raise RuntimeError("x" * 100_000)
    raise {"odd": OddError, "forgetful": ForgetfulError}[how](3, "no luck")


def test_errors_are_of_the_class_that_the_trial_raised(tmp_path: Path) -> None:
    ways = ["odd", "lambda", "exit", "kill", "forgetful", "large"]
    grid = fit(fail, tmp_path, space={"how": tune.grid_search(ways)})
    errors = dict(zip(ways, grid.errors, strict=True))
    assert all(isinstance(error, TrialError) for error in errors.values())
    odd = errors["odd"]
    assert isinstance(odd, OddError)
    assert isinstance(odd.__cause__, OddError)
    assert odd.__cause__.code == 3
    assert "no luck" in str(odd)
    assert isinstance(errors["lambda"], RuntimeError)
    for how, text in (
        ("exit", "SystemExit: 3"),
        ("kill", "killed by SIGKILL"),
        ("forgetful", "3: no luck"),
        ("large", "x" * 100_000),
    ):
        assert type(errors[how]) is TrialError, how
        assert text in str(errors[how])


@pytest.mark.parametrize("executor", ["local", "inline"])
def test_fail_fast_raise_can_be_caught_as_what_it_was(executor: str, tmp_path: Path) -> None:
    run = {"failure_config": tune.FailureConfig(fail_fast="raise"), "executor": executor}
    with pytest.raises(OddError, match="no luck") as raised:
        fit(fail, tmp_path, space={"how": "odd"}, run=run)
    assert isinstance(raised.value, TrialError)


def test_results_that_a_retry_made_void_do_not_count(tmp_path: Path) -> None:
    def train(config: dict[str, Any]) -> None:
        resumed = tune.get_checkpoint() is not None
        if not resumed:
            with tempfile.TemporaryDirectory() as folder:
                tune.report({"x": 1}, checkpoint=tune.Checkpoint.from_directory(folder))
            tune.report({"x": 100})
            raise RuntimeError("after a wrong result")
        for x in (2, 3):
            tune.report({"x": x})

    run = {"failure_config": tune.FailureConfig(max_failures=1)}
    grid = fit(train, tmp_path, run=run, metric="x", mode="max")
    assert [row["x"] for row in grid[0].history()] == [1, 2, 3]
    from_files = tune.Result.from_path(grid[0].path)
    for scope, value in (("all", 3), ("avg", 2), ("last-5-avg", 2)):
        assert grid[0].score("x", mode="max", scope=scope) == value  # type: ignore[arg-type]
        assert from_files.score("x", mode="max", scope=scope) == value  # type: ignore[arg-type]


def test_what_failed_attempts_had_staged_is_removed(tmp_path: Path) -> None:
    def train(config: dict[str, Any]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            os.mkfifo(os.path.join(folder, "b_no_file"))
            Path(folder, "a_file").write_text("content")
            tune.report({"x": 1}, checkpoint=tune.Checkpoint.from_directory(folder))

    run = {"failure_config": tune.FailureConfig(max_failures=2)}
    (result,) = fit(train, tmp_path, run=run)
    assert result.error is not None
    assert not list(Path(result.path).glob(".checkpoint*"))


def test_odd_iterations_and_errors_do_not_stop_the_loggers(tmp_path: Path) -> None:
    def train(config: dict[str, Any]) -> None:
        tune.report({"x": 1, "training_iteration": None, "time_total_s": "long"})
        raise ValueError("a lone surrogate: \udcff")

    run = {"failure_config": tune.FailureConfig(max_failures=1), "executor": "inline"}
    (result,) = fit(train, tmp_path, run=run)
    assert result.metrics["training_iteration"] == 1
    assert Path(result.path, "progress.csv").read_text().count("\n") == 2
    assert "a lone surrogate: \\udcff" in Path(result.path, "error.txt").read_text()


def test_a_score_of_checkpoints_that_is_never_reported_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = tune.CheckpointConfig(num_to_keep=1, checkpoint_score_attribute="scor")
    fit(
        train_with_checkpoints,
        tmp_path,
        space={"die": lambda: None},
        run={"checkpoint_config": config},
    )
    assert "checkpoint_score_attribute='scor'" in caplog.text
    assert "did you mean 'score'?" in caplog.text
