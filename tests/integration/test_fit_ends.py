"""How trials and experiments end: criteria, limits, callbacks."""

from __future__ import annotations

import itertools
import json
import logging
import os
import uuid
from pathlib import Path
from typing import Any

import pytest
from fit_helpers import MARK, fit, marked_processes, train_with_checkpoints

import tuner as tune
from tuner.errors import ExperimentLockedError
from tuner.schedulers import ASHAScheduler, FIFOScheduler


def endless(config: dict[str, Any]) -> None:
    for i in itertools.count():
        tune.report({"i": i, "x": config.get("x", 0) * i})


@pytest.mark.parametrize(
    "stop",
    [
        {"training_iteration": 4},
        {"i": 3, "x": 1e9},
        lambda trial_id, result: result["i"] >= 3,
        tune.stoppers.MaximumIterationStopper(4),
        [{"i": 99}, lambda trial_id, result: result["i"] == 3],
    ],
    ids=["dict", "either", "function", "stopper", "list"],
)
def test_criteria_end_a_trial_at_once(stop: Any, tmp_path: Path) -> None:
    (result,) = fit(endless, tmp_path, run={"stop": stop})
    assert result.metrics["i"] == 3
    assert result.metrics["done"] is True
    rows = Path(result.path, "result.json").read_text().splitlines()
    assert [json.loads(row)["i"] for row in rows] == [0, 1, 2, 3]


def test_a_stopper_can_end_everything(tmp_path: Path) -> None:
    class Enough(tune.Stopper):
        should_stop = False

        def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
            self.should_stop = self.should_stop or result["i"] > 5
            return self.should_stop

        def stop_all(self) -> bool:
            return self.should_stop

    grid = fit(endless, tmp_path, num_samples=50, run={"stop": Enough()})
    assert len(grid) <= 4
    assert {result.status for result in grid} == {"TERMINATED"}


def test_time_ends_also_what_never_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wait(config: dict[str, Any]) -> None:
        import threading

        try:
            Path("begun").touch()
            threading.Event().wait()
        finally:
            Path("unwound").touch()

    monkeypatch.setenv("TUNER_STOP_GRACE_S", "5")  # also to unwind
    for time_budget_s in (2, 20, 120):  # before the first one is used up, a trial may not run yet
        grid = fit(wait, tmp_path, num_samples=3, time_budget_s=time_budget_s)
        if len(grid) and Path(grid[0].path, "begun").exists():
            break
    assert {result.status for result in grid} == {"TERMINATED"}
    assert Path(grid[0].path, "unwound").exists()


def test_a_criterion_or_metric_that_never_appears_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        fit(
            lambda config: {"loss": 1.0},
            tmp_path,
            run={"stop": {"los": 3}},
            metric="lss",
            mode="min",
        )
    assert "stop={'los': …}: no result has had a number 'los' so far" in caplog.text
    assert "metric='lss'" in caplog.text
    assert "did you mean 'loss'?" in caplog.text


def test_a_scheduler_of_the_user_can_pause_and_resume(tmp_path: Path) -> None:
    class RoundRobin(FIFOScheduler):
        def on_trial_result(self, experiment: Any, trial: Any, result: dict[str, Any]) -> str:
            return self.PAUSE if result["training_iteration"] % 2 == 0 else self.CONTINUE

    class Training(tune.Trainable):
        def setup(self, config: dict[str, Any]) -> None:
            self.n = 0

        def step(self) -> dict[str, Any]:
            self.n += 1
            return {"n": self.n}

        def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
            return {"n": self.n}

        def load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
            self.n = checkpoint["n"]

    grid = fit(
        Training,
        tmp_path,
        num_samples=3,
        scheduler=RoundRobin(),
        max_concurrent_trials=1,
        run={"stop": {"training_iteration": 5}},
    )
    assert [r.metrics["n"] for r in grid] == [5, 5, 5]
    assert [r.metrics["training_iteration"] for r in grid] == [5, 5, 5]


@pytest.mark.parametrize("reuse", [False, True])
@pytest.mark.parametrize("executor", ["local", "inline"])
def test_a_paused_function_goes_on_from_its_checkpoint(
    executor: str, reuse: bool, tmp_path: Path
) -> None:
    class PauseOnce(FIFOScheduler):
        """Pauses every trial at its fourth result, and resumes the youngest one first."""

        def on_trial_result(self, experiment: Any, trial: Any, result: dict[str, Any]) -> str:
            return self.PAUSE if result["i"] == 3 and trial.attempt == 1 else self.CONTINUE

        def choose_trial_to_run(self, experiment: Any) -> Any:
            for trial in [*experiment.pending_trials, *[*experiment.paused_trials][::-1]]:
                if experiment.fits(trial):
                    return trial
            return None

    grid = fit(
        train_with_checkpoints,
        tmp_path,
        space={"die": tune.grid_search([lambda: None] * 3)},
        scheduler=PauseOnce(),
        reuse_actors=reuse,
        run={"executor": executor},
    )
    for result in grid:
        assert (result.status, result.metrics["i"]) == ("TERMINATED", 5)
        runs = Path(result.path, "runs").read_text().split()
        assert runs == ["0", "1", "2", "3", "3", "4", "5"]
        rows = Path(result.path, "result.json").read_text().splitlines()
        assert [json.loads(row)["i"] for row in rows] == [0, 1, 2, 3, 4, 5]


def test_asha_stops_most_trials_early_and_keeps_the_best(tmp_path: Path) -> None:
    grid = fit(
        endless,
        tmp_path,
        space={"x": tune.grid_search(list(range(18))[::-1])},
        metric="x",
        mode="max",
        scheduler=ASHAScheduler(max_t=9, grace_period=1, reduction_factor=3),
        reuse_actors=True,
    )
    iterations = [result.metrics["training_iteration"] for result in grid]
    assert len(grid) == 18
    assert max(iterations) == 9
    assert iterations[0] == 9
    assert sum(iterations) < 18 * 9


def test_concurrency_is_limited(tmp_path: Path) -> None:
    counter = tmp_path / "running"
    counter.mkdir()

    def train(config: dict[str, Any]) -> dict[str, int]:
        mine = counter / str(os.getpid())
        mine.touch()
        seen = len(list(counter.iterdir()))
        tune.report({"seen": seen})
        mine.unlink()
        return {"seen": seen}

    grid = fit(
        train,
        tmp_path / "out",
        num_samples=8,
        max_concurrent_trials=2,
        run={"executor": tune.LocalExecutor(num_cpus=8)},
    )
    assert {result.metrics["seen"] for result in grid} <= {1, 2}


def test_a_callback_that_raises_ends_the_experiment_with_its_error(tmp_path: Path) -> None:
    class Picky(tune.Callback):
        def on_trial_result(self, *args: Any, **info: Any) -> None:
            raise RuntimeError("I do not like this")

    with pytest.raises(RuntimeError, match="I do not like this"):
        fit(endless, tmp_path, run={"callbacks": [Picky()], "name": "picky"})
    journal = (tmp_path / "picky" / "journal" / "00000001.jsonl").read_text()
    assert '"event":"result"' in journal
    (rows,) = (tmp_path / "picky").glob("*/result.json")
    assert rows.read_text().count("\n") == journal.count('"event":"result"')


class Policies:
    """One of each kind that raises."""

    class Broken(FIFOScheduler):
        def on_trial_result(self, experiment: Any, trial: Any, result: Any) -> str:
            raise RuntimeError("broken")

    class Search(tune.search.BasicVariantGenerator):
        def suggest(self, trial_id: str) -> Any:
            raise RuntimeError("broken")

    class Stop(tune.Stopper):
        def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
            raise RuntimeError("broken")

        def stop_all(self) -> bool:
            return False


@pytest.mark.parametrize(
    "broken",
    [
        {"scheduler": Policies.Broken()},
        {"search_alg": Policies.Search()},
        {"run": {"stop": Policies.Stop()}},
        *({"hook": hook} for hook in ("setup", "on_step_begin", "on_trial_start")),
        *({"hook": hook} for hook in ("on_trial_complete", "on_step_end", "on_experiment_end")),
    ],
    ids=lambda broken: broken.get("hook") or next(iter(broken)),
)
def test_nothing_is_left_running_when_code_of_the_user_raises(
    broken: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Any, *args: Any, **info: Any) -> None:
        raise RuntimeError("broken")

    arguments = dict(broken)
    hook = arguments.pop("hook", None)
    if hook is not None:
        callback = type("Broken", (tune.Callback,), {hook: fail})()
        arguments["run"] = {"callbacks": [callback], "stop": {"i": 2}}
    mark = uuid.uuid4().hex
    monkeypatch.setenv(MARK, mark)
    with pytest.raises(RuntimeError, match="broken"):
        fit(endless, tmp_path, **arguments)
    assert not marked_processes(mark)


def test_callbacks_see_everything_in_order(tmp_path: Path) -> None:
    class Log(tune.Callback):
        def __init__(self) -> None:
            self.seen: list[str] = []

        def setup(self, **info: Any) -> None:
            self.seen.append("setup")

        def on_trial_start(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            self.seen.append("start")

        def on_trial_result(
            self, iteration: int, trials: Any, trial: Any, result: Any, **info: Any
        ) -> None:
            self.seen.append(f"result {result['i']} {trial.last_result['i']}")

        def on_checkpoint(
            self, iteration: int, trials: Any, trial: Any, checkpoint: Any, **info: Any
        ) -> None:
            self.seen.append(Path(checkpoint.path).name)

        def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            self.seen.append(f"complete {trial.status}")

        def on_experiment_end(self, trials: Any, **info: Any) -> None:
            self.seen.append(f"end {len(trials)}")

    log = Log()
    fit(
        train_with_checkpoints,
        tmp_path,
        space={"die": lambda: None},
        run={"callbacks": [log], "stop": {"i": 1}},
    )
    assert log.seen == [
        "setup",
        "start",
        "result 0 0",
        "checkpoint_000000",
        "result 1 1",
        "complete TERMINATED",
        "end 1",
    ]


def test_a_metric_that_ends_as_nan_is_not_reported_as_missing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def train(config: dict[str, Any]) -> None:
        for value in (1.0, float("nan")):
            tune.report({"v": value})

    fit(train, tmp_path, metric="v", mode="min")
    assert "no result has had" not in caplog.text


def test_default_loggers_can_be_turned_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    (result,) = fit(endless, tmp_path, run={"stop": {"i": 2}})
    assert os.listdir(result.path) == []
    assert result.metrics_dataframe is not None
    assert result.metrics_dataframe["i"].tolist() == [0, 1, 2]


def test_an_earlier_run_of_the_same_name_is_kept(tmp_path: Path) -> None:
    for _ in range(3):
        grid = fit(endless, tmp_path, run={"stop": {"i": 1}, "name": "again"})
    folder = tmp_path / "again"
    assert len(grid) == 1
    assert sorted(p.name for p in (folder / "previous").iterdir()) == ["0001", "0002"]
    assert (folder / "previous" / "0001" / "journal" / "00000001.jsonl").exists()
    assert len(list(folder.glob("endless_*"))) == 3


def test_a_fixed_folder_name_is_not_written_over(tmp_path: Path) -> None:
    for _ in range(2):
        (result,) = fit(
            train_with_checkpoints,
            tmp_path,
            space={"die": lambda: None},
            trial_dirname_creator=lambda trial: "mine",
            run={"name": "again"},
        )
        assert result.checkpoint is not None
    first = tmp_path / "again" / "mine"
    assert result.path.startswith(f"{first}_")
    assert len((first / "result.json").read_text().splitlines()) == 6


def test_two_runs_cannot_write_to_one_folder(tmp_path: Path) -> None:
    class FitAgain(tune.Callback):
        def on_trial_result(self, *args: Any, **info: Any) -> None:
            fit(endless, tmp_path, run={"name": "shared"})

    with pytest.raises(ExperimentLockedError, match=rf"process {os.getpid()} on .* since"):
        fit(endless, tmp_path, run={"callbacks": [FitAgain()], "name": "shared"})


@pytest.mark.parametrize("executor", ["local", "inline"])
@pytest.mark.parametrize("swallows", [True, False])
def test_an_error_of_a_callback_ends_the_experiment(
    tmp_path: Path, executor: str, swallows: bool
) -> None:
    closed = []

    class Broken(tune.LoggerCallback):
        def log_trial_result(self, iteration: int, trial: Any, result: dict[str, Any]) -> None:
            raise KeyError("of the callback")

        def close(self) -> None:
            closed.append(True)

    def train(config: dict[str, Any]) -> None:
        try:
            tune.report({"x": 1})
        except Exception:
            if not swallows:
                raise

    with pytest.raises(KeyError, match="of the callback"):
        fit(train, tmp_path, run={"callbacks": [Broken()], "executor": executor})
    assert closed == [True]


def test_zero_is_no_limit(tmp_path: Path) -> None:
    grid = fit(
        endless,
        tmp_path,
        num_samples=2,
        max_concurrent_trials=0,
        time_budget_s=0,
        run={"stop": {"i": 3}},
    )
    assert [result.metrics["i"] for result in grid] == [3, 3]


@pytest.mark.parametrize("executor", ["local", "inline"])
def test_no_trial_trains_past_the_result_that_ends_the_experiment(
    tmp_path: Path, executor: str
) -> None:
    class AtSeven(tune.stoppers.Stopper):
        reached = False

        def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
            self.reached = result["i"] == 7
            return False

        def stop_all(self) -> bool:
            return self.reached

    (result,) = fit(endless, tmp_path, run={"stop": AtSeven(), "executor": executor})
    assert [row["i"] for row in result.history()] == list(range(8))
