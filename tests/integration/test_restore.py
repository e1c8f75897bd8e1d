"""Experiments that are interrupted, killed, extended and changed, as a user would do it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fit_helpers import fit, wait_until
from restore_helpers import Stateful, experiment

import tuner as tune
from tuner import plan
from tuner.console.status import ExperimentInfo as Info
from tuner.errors import ConfigError, ExperimentLockedError, StorageError
from tuner.experiment.events import TrialRequeued
from tuner.experiment.journal_reader import JournalReader

SCRIPT = """
import os, sys, tempfile, time
import tuner as tune
from tuner.schedulers import ASHAScheduler

LEDGER = sys.argv[2]
HOLD = LEDGER + ".hold"

def write(line):
    fd = os.open(LEDGER, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, line.encode() + b"\\n")
    os.close(fd)

def train(config):
    trial = tune.get_context().get_trial_id()
    checkpoint = tune.get_checkpoint()
    start = 0
    if checkpoint:
        with checkpoint.as_directory() as folder:
            start = int(open(os.path.join(folder, "n")).read())
    for n in range(start + 1, 10):
        while n == 5 and os.path.exists(HOLD):
            time.sleep(0.01)
        metrics = {"loss": (config["x"] - 0.3) ** 2 + 1 / n, "n": n}
        if n % 3:
            tune.report(metrics)
        else:
            with tempfile.TemporaryDirectory() as folder:
                open(os.path.join(folder, "n"), "w").write(str(n))
                tune.report(metrics, checkpoint=tune.Checkpoint.from_directory(folder))
        write(f"{trial} {n}")

if sys.argv[1] == "fit":
    tuner = tune.Tuner(
        train,
        param_space={"x": tune.uniform(0, 1)},
        tune_config=tune.TuneConfig(
            metric="loss", mode="min", num_samples=40, seed=1, max_concurrent_trials=1,
            scheduler=ASHAScheduler(max_t=9, grace_period=2, reduction_factor=3),
        ),
        run_config=tune.RunConfig(
            name=sys.argv[4], storage_path=sys.argv[3], verbose=0,
            checkpoint_config=tune.CheckpointConfig(num_to_keep=1),
        ),
    )
else:
    tuner = tune.Tuner.restore(os.path.join(sys.argv[3], sys.argv[4]))
tuner.fit()
write("end")
"""


def run_script(tmp_path: Path, how: str, name: str) -> subprocess.Popen[bytes]:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    ledger = tmp_path / f"{name}.ledger"
    command = [sys.executable, str(script), how, str(ledger), str(tmp_path / "results"), name]
    return subprocess.Popen(command, start_new_session=True)


def ledger(tmp_path: Path, name: str) -> list[str]:
    path = tmp_path / f"{name}.ledger"
    return path.read_text().splitlines() if path.exists() else []


def has_steps(tmp_path: Path, number: int) -> bool:
    return len(ledger(tmp_path, "killed")) >= number


def picture(path: Path) -> list[Any]:
    """What must not depend on kills."""
    return [
        (
            result.config,
            result.status,
            [(row["n"], row["loss"]) for row in result.history()],
            result.metrics_dataframe["n"].tolist(),
            result.checkpoint is not None,
        )
        for result in tune.Tuner.restore(path).get_results()
    ]


def test_a_killed_run_ends_like_one_that_was_not(tmp_path: Path) -> None:
    assert run_script(tmp_path, "fit", "whole").wait(240) == 0
    whole = ledger(tmp_path, "whole")
    process = run_script(tmp_path, "fit", "killed")
    for at in (0, 1, 17, 40, 41, 90):
        wait_until(partial(has_steps, tmp_path, at))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        how = "restore" if tune.Tuner.can_restore(tmp_path / "results" / "killed") else "fit"
        process = run_script(tmp_path, how, "killed")
    assert process.wait(240) == 0
    killed = ledger(tmp_path, "killed")
    prefix = len(killed[0].partition("_")[0])
    assert {line[prefix:] for line in killed} <= {line[prefix:] for line in whole}
    repeated = len(killed) - len(set(killed))
    assert repeated <= 6 * 3, "only what came after a checkpoint is done again"
    results = tmp_path / "results"
    assert picture(results / "killed") == picture(results / "whole")


def train(config: dict[str, Any]) -> None:
    """Saves at every second step, and notes every step."""
    start = 0
    checkpoint = tune.get_checkpoint()
    if checkpoint is not None:
        with checkpoint.as_directory() as folder:
            start = int(Path(folder, "n").read_text())
    for n in range(start + 1, config.get("steps", 5) + 1):
        with open("steps", "a") as steps:
            steps.write(f"{n} ")
        if os.path.exists(config.get("broken", "")) and n == 4:
            raise ValueError("broken")
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "n").write_text(str(n))
            checkpoint = tune.Checkpoint.from_directory(folder)
            tune.report({"n": n}, checkpoint=checkpoint if n % 2 == 0 else None)


def steps(result: tune.Result) -> list[int]:
    return [int(n) for n in Path(result.path, "steps").read_text().split()]


def test_a_finished_experiment_is_left_as_it_is(tmp_path: Path) -> None:
    before = fit(train, tmp_path, num_samples=2)
    after = tune.Tuner.restore(experiment(tmp_path)).fit()
    assert [steps(result) for result in after] == [[1, 2, 3, 4, 5]] * 2
    assert [result.metrics for result in after] == [result.metrics for result in before]
    assert len(after.to_arrow()) == 10


def test_results_can_be_had_without_running(tmp_path: Path) -> None:
    before = fit(train, tmp_path, num_samples=2, metric="n", mode="max")
    files = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    after = tune.Tuner.restore(experiment(tmp_path)).get_results()
    assert [result.metrics for result in after] == [result.metrics for result in before]
    assert after.get_best_result().metrics["n"] == 5
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == files


def test_errored_trials_go_on_or_start_again_only_if_asked(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.touch()
    results = tmp_path / "results"
    grid = fit(train, results, space={"broken": str(broken)})
    assert grid.num_errors == 1
    broken.unlink()
    path = experiment(results)
    assert tune.Tuner.restore(path).fit().num_errors == 1
    (result,) = tune.Tuner.restore(path, resume_errored=True).fit()
    assert steps(result) == [1, 2, 3, 4, 3, 4, 5]
    assert result.metrics_dataframe["n"].tolist() == [1, 2, 3, 4, 5]
    assert (result.error, result.status) == (None, "TERMINATED")


@pytest.mark.parametrize("callbacks", [[], [Stateful()]], ids=["replayed", "from a snapshot"])
def test_what_fail_fast_has_ended_goes_on_only_if_its_errors_do(
    callbacks: list[tune.Callback], tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    broken.touch()
    results = tmp_path / "results"
    fail_fast = tune.FailureConfig(fail_fast=True)
    fit(
        train,
        results,
        space={"broken": tune.grid_search(["", str(broken), ""])},
        max_concurrent_trials=1,
        run={"failure_config": fail_fast, "callbacks": callbacks},
    )
    broken.unlink()
    path = experiment(results)
    assert [result.status for result in tune.Tuner.restore(path).fit()] == ["TERMINATED", "ERROR"]
    grid = tune.Tuner.restore(path, resume_errored=True).fit()
    assert [steps(result) for result in grid] == [
        [1, 2, 3, 4, 5],
        [1, 2, 3, 4, 3, 4, 5],
        [1, 2, 3, 4, 5],
    ]


def test_errored_trials_start_again_without_their_checkpoints(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.touch()
    results = tmp_path / "results"
    fit(train, results, space={"broken": str(broken)})
    broken.unlink()
    (result,) = tune.Tuner.restore(experiment(results), restart_errored=True).fit()
    assert steps(result) == [1, 2, 3, 4, 1, 2, 3, 4, 5]
    assert result.metrics_dataframe["n"].tolist() == [1, 2, 3, 4, 5]
    rows = Path(result.path, "result.json").read_text().splitlines()
    assert [json.loads(row)["n"] for row in rows] == [1, 2, 3, 4, 5]
    with pytest.raises(ConfigError, match="exclude each other"):
        tune.Tuner.restore(experiment(results), resume_errored=True, restart_errored=True)


@pytest.mark.parametrize("errored", ["resume_errored", "restart_errored"])
def test_one_whose_resources_could_not_be_told_begins_once_they_can(
    errored: str, tmp_path: Path
) -> None:
    def cpus(config: dict[str, Any]) -> dict[str, float]:
        return {"cpu": 1 / config["steps"]}

    def mended(config: dict[str, Any]) -> tune.PlacementGroupFactory:
        return tune.PlacementGroupFactory([{"CPU": 1}], strategy="SPREAD")

    space = {"steps": tune.grid_search([0, 1])}
    grid = fit(tune.with_resources(train, cpus), tmp_path, space=space)
    assert [result.status for result in grid] == ["ERROR", "TERMINATED"]
    path = experiment(tmp_path)
    assert tune.Tuner.restore(path, **{errored: True}).fit().num_errors == 1
    whole = tune.with_resources(train, mended)
    grid = tune.Tuner.restore(path, whole, **{errored: True}).fit()
    assert [(result.status, result.error) for result in grid] == [("TERMINATED", None)] * 2
    facts = JournalReader(str(path)).read_all()
    (requeued,) = [fact for fact in facts if isinstance(fact, TrialRequeued)]
    assert (requeued.bundles, requeued.strategy) == ([{"CPU": 1.0}], "SPREAD")
    assert not tune.Tuner.restore(path, whole).fit().errors


def test_more_samples(tmp_path: Path) -> None:
    space = {"steps": tune.randint(1, 9)}
    whole = fit(train, tmp_path / "whole", space=space, num_samples=6, seed=3)
    fit(train, tmp_path / "part", space=space, num_samples=2, seed=3)
    path = experiment(tmp_path / "part")
    grid = tune.Tuner.restore(path, num_samples=6).fit()
    assert [result.config for result in grid] == [result.config for result in whole]
    assert len(tune.Tuner.restore(path).fit()) == 6, "it is remembered"


def test_another_stop_criterion_lets_those_go_on_that_the_old_one_had_stopped(
    tmp_path: Path,
) -> None:
    space = {"steps": tune.grid_search([2, 7])}
    fit(train, tmp_path, space=space, run={"stop": {"n": 4}})
    path = experiment(tmp_path)
    grid = tune.Tuner.restore(path, stop={"n": 6}).fit()
    assert [steps(result) for result in grid] == [[1, 2], [1, 2, 3, 4, 5, 6]]
    assert [result.metrics["n"] for result in grid] == [2, 6]
    grid = tune.Tuner.restore(path, stop={"n": 5}).fit()
    assert [result.metrics["n"] for result in grid] == [2, 6]


def test_a_larger_time_budget_counts_the_time_used_before(tmp_path: Path) -> None:
    def slow(config: dict[str, Any]) -> None:
        done = tmp_path / "done"
        for n in range(1, 100):
            tune.report({"n": n})
            if not done.exists():
                time.sleep(0.05)

    results = tmp_path / "results"
    grid = fit(slow, results, num_samples=3, max_concurrent_trials=1, time_budget_s=0.5)
    assert len(grid) < 3 or any(result.metrics["n"] < 99 for result in grid)
    path = experiment(results)
    assert len(tune.Tuner.restore(path).fit()) == len(grid), "its time is up"
    (tmp_path / "done").touch()
    grid = tune.Tuner.restore(path, time_budget_s=100).fit()
    assert [result.metrics["n"] for result in grid] == [99, 99, 99]


def test_a_moved_folder(tmp_path: Path) -> None:
    fit(train, tmp_path / "old", space={"steps": 3}, run={"stop": {"n": 2}, "name": "mine"})
    (tmp_path / "old" / "mine").rename(tmp_path / "new")
    (result,) = tune.Tuner.restore(tmp_path / "new", stop={"n": 3}).fit()
    assert result.path.startswith(str(tmp_path / "new"))
    assert steps(result) == [1, 2, 3]


def test_a_trainable_given_again_is_used(tmp_path: Path) -> None:
    fit(train, tmp_path, run={"stop": {"n": 2}})

    def better(config: dict[str, Any]) -> None:
        tune.report({"n": 3, "better": True})

    better.__name__ = "train"
    (result,) = tune.Tuner.restore(experiment(tmp_path), trainable=better, stop={"n": 3}).fit()
    assert result.metrics["better"]
    with pytest.raises(ConfigError, match="trainable='lambda'"):
        tune.Tuner.restore(experiment(tmp_path), trainable=lambda config: None)


def test_what_cannot_be_restored(tmp_path: Path) -> None:
    assert not tune.Tuner.can_restore(tmp_path)
    with pytest.raises(StorageError, match="there is no experiment"):
        tune.Tuner.restore(tmp_path)
    fit(train, tmp_path / "results")
    path = experiment(tmp_path / "results")
    with pytest.raises(ConfigError, match="num_samples"):
        tune.Tuner.restore(path, num_samples=-3)
    with pytest.raises(ConfigError, match="param_space has the key 'other'"):
        tune.Tuner.restore(path, param_space={"other": 1})


def hold(tmp_path: Path) -> Path:
    """As long as this file is there, the experiment `live` stays in its first trial."""
    path = tmp_path / "live.ledger.hold"
    path.touch()
    return path


def test_a_live_experiment_is_not_restored(tmp_path: Path) -> None:
    hold(tmp_path)
    process = run_script(tmp_path, "fit", "live")
    try:
        wait_until(lambda: len(ledger(tmp_path, "live")) > 3)
        with pytest.raises(ExperimentLockedError, match=f"process {process.pid} on .* since"):
            tune.Tuner.restore(tmp_path / "results" / "live").fit()
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


class Counting(tune.Callback):
    def __init__(self) -> None:
        self.results = 0

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: Any, **info: Any):
        self.results += 1
        result_file = Path(trial.path, "counted")
        result_file.write_text(str(self.results))

    def get_state(self) -> dict[str, Any]:
        return {"results": self.results}

    def set_state(self, state: dict[str, Any]) -> None:
        self.results = state["results"]


def test_callbacks_get_their_state_back(tmp_path: Path) -> None:
    fit(train, tmp_path, space={"steps": 6}, run={"stop": {"n": 4}, "callbacks": [Counting()]})
    (result,) = tune.Tuner.restore(experiment(tmp_path), stop={"n": 6}).fit()
    assert Path(result.path, "counted").read_text() == "6"


def test_ctrl_c_says_how_to_go_on(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.replace("verbose=0", "verbose=1"))
    held = hold(tmp_path)
    arguments = ["fit", str(tmp_path / "live.ledger"), str(tmp_path / "results"), "live"]
    process = subprocess.Popen(
        [sys.executable, str(script), *arguments], stdout=subprocess.PIPE, text=True
    )
    wait_until(lambda: len(ledger(tmp_path, "live")) > 3)
    process.send_signal(signal.SIGINT)
    path = tmp_path / "results" / "live"
    journal = path / "journal" / "00000001.jsonl"
    wait_until(lambda: "experiment_stopping" in journal.read_text())
    held.unlink()
    output, _ = process.communicate(timeout=240)
    assert f'Tuner.restore("{path}").fit() goes on from here' in output
    before = len(tune.Tuner.restore(path).get_results())
    assert before < 40
    assert len(tune.Tuner.restore(path).fit()) == 40


COUNTING = """
import os, signal, sys
import tuner as tune

class Counting(tune.Callback):
    results = ends = 0

    def on_trial_result(self, **info):
        self.results += 1
        if self.results == 7 and sys.argv[2] == "killed" and sys.argv[3] == "fit":
            os.kill(os.getpid(), signal.SIGKILL)

    def on_trial_complete(self, **info):
        self.ends += 1

    def get_state(self):
        return {"results": self.results, "ends": self.ends}

    def set_state(self, state):
        self.results, self.ends = state["results"], state["ends"]

    def on_experiment_end(self, **info):
        print(self.results, self.ends)

def train(config):
    for n in range(5):
        tune.report({"n": n})

if sys.argv[3] == "fit":
    config = tune.RunConfig(
        name=sys.argv[2], storage_path=sys.argv[1], verbose=0, callbacks=[Counting()]
    )
    tune_config = tune.TuneConfig(num_samples=3, max_concurrent_trials=1)
    tune.Tuner(train, tune_config=tune_config, run_config=config).fit()
else:
    tune.Tuner.restore(os.path.join(sys.argv[1], sys.argv[2])).fit()
"""


def test_callbacks_learn_what_happened_after_their_state_was_kept(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(COUNTING)

    def run(name: str, how: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(script), str(tmp_path), name, how]
        return subprocess.run(command, capture_output=True, text=True, timeout=240)

    assert run("whole", "fit").stdout == "15 3\n"
    assert run("killed", "fit").returncode == -signal.SIGKILL
    # The two results that the trial repeats, having no checkpoint, are told again.
    assert run("killed", "restore").stdout == "17 3\n"


def test_a_restored_tuner_can_be_used_again_and_again(tmp_path: Path) -> None:
    class Proposing(tune.search.Searcher):
        number = 0

        def suggest(self, trial_id: str) -> dict[str, int]:
            self.number += 1
            return {"x": self.number}

    fit(
        lambda config: {"x": config["x"]},
        tmp_path,
        run={"name": "e"},
        search_alg=Proposing(),
        num_samples=3,
        scheduler="asha",
        metric="x",
        mode="max",
    )
    tuner = tune.Tuner.restore(tmp_path / "e", num_samples=5)
    assert [result.config["x"] for result in tuner.get_results()] == [1, 2, 3]
    assert [result.config["x"] for result in tuner.get_results()] == [1, 2, 3]
    assert [result.config["x"] for result in tuner.fit()] == [1, 2, 3, 4, 5]
    assert [result.config["x"] for result in tuner.fit()] == [1, 2, 3, 4, 5]


def test_the_time_left_is_not_judged_by_trials_of_an_earlier_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit(lambda config: {"x": 1}, tmp_path, run={"name": "e"}, num_samples=3)
    made = []
    monkeypatch.setattr(plan, "ExperimentInfo", lambda **facts: made.append(facts) or Info(**facts))
    tune.Tuner.restore(tmp_path / "e", num_samples=5).fit()
    assert [facts["finished_before"] for facts in made] == [3]
