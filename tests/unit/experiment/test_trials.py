"""Trials, their metrics and checkpoints, the resources they share, their names and folder."""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tuner as tune
from tuner.errors import ConfigError, ExperimentLockedError
from tuner.experiment.best import find_best
from tuner.experiment.capacity import Capacity
from tuner.experiment.events import (
    CheckpointSaved,
    TrialCreated,
    TrialEnded,
    TrialLaunched,
    TrialResult,
)
from tuner.experiment.folder import ExperimentFolder
from tuner.experiment.naming import new_trial
from tuner.experiment.retention import Retention
from tuner.experiment.spec import ExperimentSpec
from tuner.experiment.trial import (
    ERROR,
    PAUSED,
    PENDING,
    RUNNING,
    TERMINATED,
    SavedCheckpoint,
    Trial,
)
from tuner.experiment.trial_table import TrialTable
from tuner.search_space.variants import SearchSpace
from tuner.trial_progress import Progress

ALLOWED = {
    PENDING: {RUNNING, TERMINATED, ERROR},
    RUNNING: {TERMINATED, ERROR, PAUSED, PENDING},
    PAUSED: {PENDING, TERMINATED, ERROR},
    ERROR: {PENDING},
    TERMINATED: {PENDING},
}


def make_trial(**fields: Any) -> Trial:
    return Trial(**{"trial_id": "t", "config": {}, "trainable_name": "f", "path": "/e/t", **fields})


@pytest.mark.parametrize(("before", "after"), [*itertools.product(ALLOWED, ALLOWED)])
def test_only_the_changes_of_the_table_can_happen(before: str, after: str) -> None:
    trial = make_trial()
    trial.status = before
    if after in ALLOWED[before]:
        trial.set_status(after)
        assert trial.status == after
    else:
        with pytest.raises(ValueError, match=f"{before} → {after} cannot happen"):
            trial.set_status(after)


@given(st.lists(st.floats(-1e6, 1e6) | st.just(math.nan), min_size=1, max_size=40))
def test_metric_analysis_agrees_with_numpy(values: list[float]) -> None:
    trial = make_trial()
    for value in values:
        trial.record_result({"m": value, "deep": {"m": value}, "text": "x", "flag": True})
    analysis = trial.metric_analysis
    assert set(analysis) == {"m", "deep/m"}
    found = analysis["m"]
    numbers = [value for value in values if value == value]
    if numbers:
        assert (found["max"], found["min"]) == (max(numbers), min(numbers))
        assert found["avg"] == pytest.approx(np.mean(numbers), abs=1e-6)
    else:
        assert all(math.isnan(found[name]) for name in ("max", "min", "avg"))
    assert repr(found["last"]) == repr(values[-1])
    for count in (5, 10):
        mean = float(np.mean(values[-count:]))
        assert found[f"last-{count}-avg"] == pytest.approx(mean, abs=1e-6, nan_ok=True)


@given(
    st.lists(st.floats(-10, 10) | st.just(math.nan) | st.none(), min_size=1, max_size=15),
    st.integers(1, 4),
    st.sampled_from(["max", "min"]),
    st.booleans(),
)
def test_retention_keeps_the_best_and_the_latest(
    scores: list[float | None], keep: int, order: str, scored: bool
) -> None:
    retention = Retention(keep, "score" if scored else None, order)
    kept: list[SavedCheckpoint] = []
    for number, score in enumerate(scores):
        kept.append(SavedCheckpoint(f"c{number}", Progress(), retention.score({"score": score})))
        for removed in retention.superfluous(kept):
            kept.remove(removed)
        assert kept[-1].name == f"c{number}"
        assert len(kept) <= keep + scored
    numbers = [score for score in scores if score is not None and score == score]
    if scored and numbers:
        best = max(numbers) if order == "max" else min(numbers)
        assert best in [checkpoint.score for checkpoint in kept]
    if not scored:
        assert [c.name for c in kept] == [f"c{n}" for n in range(len(scores))][-keep:]


def test_the_checkpoint_that_an_attempt_resumed_from_stays_until_it_ends() -> None:
    table = TrialTable("/e", Retention(1))
    table.apply(new_trial(spec(), 0, {"a": {"lr": 1.0}, "name": "x"}, [{}], 0.0))
    (trial,) = table.trials
    table.apply(TrialLaunched(0.0, trial.trial_id, 1, None, 0))
    for number in range(2):
        table.record_result(trial, {}, f"checkpoint_00000{number}")
    assert [kept.name for kept in trial.checkpoints] == ["checkpoint_000001"]
    table.apply(TrialEnded(0.0, trial.trial_id, 1, PENDING, "failed"))
    table.apply(TrialLaunched(0.0, trial.trial_id, 2, "checkpoint_000001", 2))
    for number in range(2, 4):
        table.record_result(trial, {}, f"checkpoint_00000{number}")
    assert [kept.name for kept in trial.checkpoints] == ["checkpoint_000001", "checkpoint_000003"]
    table.removed_checkpoints.clear()
    table.apply(TrialEnded(0.0, trial.trial_id, 2, TERMINATED, None))
    assert [kept.name for kept in trial.checkpoints] == ["checkpoint_000003"]
    assert [kept.name for _, kept in table.removed_checkpoints] == ["checkpoint_000001"]


@given(st.lists(st.sampled_from([0.1, 0.25, 0.5, 1.0, 3.0]), max_size=40))
def test_what_is_given_out_is_never_more_than_there_is(amounts: list[float]) -> None:
    capacity = Capacity({"CPU": 4.0})
    out = []
    for amount in amounts:
        bundles = [{"CPU": amount}, {"CPU": amount}]
        if capacity.fits(bundles):
            capacity.take(bundles)
            out.append(bundles)
        assert capacity.used.get("CPU", 0.0) <= 4.0 + 1e-6
    for bundles in out:
        capacity.give_back(bundles)
    assert capacity.used.get("CPU", 0.0) == 0.0
    assert capacity.missing([{"CPU": 4.0, "GPU": 1.0}]) == "1 GPU, of which there are 0"
    assert capacity.missing([{"CPU": 4.0}]) is None


@given(
    st.lists(st.dictionaries(st.sampled_from(["CPU", "GPU", "x"]), st.floats(0, 2)), max_size=12),
    st.randoms(use_true_random=False),
)
def test_what_comes_back_can_be_given_out_again(
    all_bundles: list[dict[str, float]], order: Any
) -> None:
    capacity = Capacity({"CPU": 2.0, "GPU": 1.0, "x": 0.0})
    out: list[list[dict[str, float]]] = []
    for bundle in all_bundles:
        if capacity.missing([bundle]) is not None:
            assert not capacity.fits([bundle])
        elif capacity.fits([bundle]):
            before = dict(capacity.used)
            capacity.take([bundle])
            capacity.give_back([bundle])
            for name in bundle:
                assert capacity.used[name] == pytest.approx(before.get(name, 0.0), abs=1e-9)
            capacity.take([bundle])
            out.append([bundle])
    order.shuffle(out)
    for bundles in out:
        capacity.give_back(bundles)
        assert all(amount >= 0 for amount in capacity.used.values())
        assert capacity.fits(bundles)
    assert not any(capacity.used.values())


def test_resources_that_are_taken_away_stay_given_out() -> None:
    capacity = Capacity({"CPU": 4.0})
    capacity.take([{"CPU": 3.0}])
    capacity.set_total({"CPU": 2.0})
    assert (capacity.used, capacity.fits([{"CPU": 0.5}])) == ({"CPU": 3.0}, False)
    capacity.give_back([{"CPU": 3.0}])
    assert capacity.fits([{"CPU": 2.0}])


def test_more_than_there_is_can_be_asked_for_once_where_there_can_be_more() -> None:
    capacity = Capacity()
    capacity.set_total({"CPU": 2.0}, can_grow=True)
    large, small = [{"CPU": 8.0, "license": 1.0}], [{"CPU": 1.0}]
    assert capacity.missing(large) is None
    assert capacity.fits(large)
    capacity.take(large)
    assert not capacity.fits(large), "one is enough to be asked for"
    capacity.set_total({"CPU": 10.0, "license": 1.0}, can_grow=True)
    assert capacity.fits(small), "what is there is not taken by what waits"
    capacity.set_total({"CPU": 2.0})
    assert capacity.missing(large) == "8 CPU, of which there are 2"


def test_numbers_beyond_all_floats_are_compared_too() -> None:
    retention = Retention(1, "score", "min")
    assert retention.score({"score": 10**400}) == math.inf
    assert retention.score({"score": np.float32(0.5)}) == 0.5
    assert retention.score({"score": "text"}) is None
    trials = [make_trial(trial_id=name) for name in "abc"]
    for trial, value in zip(trials, (1.5, 10**400, 2.5), strict=True):
        trial.record_result({"n": value})
    assert find_best(trials, "n", "max") is trials[1]


def created(trial_id: str, number: int = 0) -> TrialCreated:
    return new_trial(spec(id_prefix=trial_id), number, {}, [{"CPU": 1.0}], 0.0)


def test_the_table_follows_a_trial_through_its_life() -> None:
    table = TrialTable("/e", Retention(1))
    fact = created("a")
    trial = table.apply(fact)
    assert trial is not None
    assert trial is table["a_00000"] is table.get("a_00000") is table.trials[0]
    assert (trial.path, trial.experiment_path) == (f"/e/{fact.dirname}", "/e")
    assert (trial.checkpoint, trial.has_checkpoint(), trial.error_file) == (None, False, None)
    name = trial.trial_id
    table.apply(TrialLaunched(5.0, name, 1, None, 0))
    table.apply(TrialResult(6.0, name, 1, "CONTINUE", "checkpoint_000000", {"n": 1}))
    table.apply(
        TrialResult(7.0, name, 1, "PAUSE", None, {"n": 2, "training_iteration": 2, "loss": 0.5})
    )
    table.apply(CheckpointSaved(8.0, name, 1, "checkpoint_000004"))
    assert [(owner, saved.name) for owner, saved in table.removed_checkpoints] == [
        (trial, "checkpoint_000000")
    ]
    assert trial.checkpoints[-1].progress.iteration == 2
    assert trial.next_checkpoint == 5
    assert trial.checkpoint is not None
    assert trial.checkpoint.path == f"{trial.path}/checkpoint_000004"
    table.apply(TrialEnded(9.0, name, 1, PAUSED, None))
    assert table.by_status == {PENDING: {}, RUNNING: {}, PAUSED: {name: trial}}
    table.apply(TrialLaunched(10.0, name, 2, "checkpoint_000004", 2))
    assert (trial.status, trial.attempt, trial.start_time) == (RUNNING, 2, 5.0)
    table.apply(TrialEnded(11.0, name, 2, ERROR, "no luck"))
    assert (trial.is_finished(), trial.num_failures, trial.error) == (True, 1, "no luck")
    assert trial.error_file == f"{trial.path}/error.txt"
    assert {status: n for status, n in table.counts.items() if n} == {ERROR: 1}
    assert trial.metric_analysis["n"]["max"] == 2
    with pytest.raises(ValueError, match="ERROR → RUNNING cannot happen"):
        table.apply(TrialLaunched(12.0, name, 3, None, 0))


def test_the_best_trial_is_the_one_whose_last_result_is_the_best() -> None:
    a, b, c = trials = [make_trial(trial_id=name) for name in "abc"]
    assert find_best(trials, "eval/loss", "min") is None
    for trial, losses in (
        (a, (0.1, 3.0)),  # was the best once
        (b, (math.nan, 2.0)),
        (c, (0.5, math.nan)),
    ):
        for loss in losses:
            trial.record_result({"eval": {"loss": loss}})
    assert find_best(trials, "eval/loss", "min") is b
    assert find_best(trials, "eval/loss", "max") is a
    assert find_best(trials, "eval", "max") is None


def spec(**fields: Any) -> ExperimentSpec:
    defaults: dict[str, Any] = {
        "path": "/e",
        "trainable_name": "train",
        "param_space": SearchSpace({"a": {"lr": tune.uniform(0, 1)}, "name": tune.choice(["x"])}),
        "id_prefix": "abc12",
        "seed": 1,
        "num_trials": 1,
        "max_running": None,
        "max_failures": 0,
        "fail_fast": False,
        "bundles_for": lambda config: [{"CPU": 1.0}],
    }
    return ExperimentSpec(**{**defaults, **fields})


def test_names_say_what_was_chosen() -> None:
    created = new_trial(spec(), 7, {"a": {"lr": 0.25}, "name": "x"}, [{"CPU": 1.0}], 0.0)
    assert created.trial_id == "abc12_00007"
    assert created.evaluated_params == {"a/lr": 0.25, "name": "x"}
    assert created.experiment_tag == "7_lr=0.25,name=x"
    assert created.dirname == "train_abc12_00007_7_lr=0.25,name=x"


@given(st.text(min_size=1, max_size=300), st.text(max_size=300))
def test_folders_have_safe_names(value: str, named: str) -> None:
    config = {"a": {"lr": 1.0}, "name": value}
    for creator in (None, lambda trial: named):
        name = new_trial(spec(name_creator=creator), 0, config, [{}], 0.0).dirname
        assert os.path.basename(name) == name
        assert len(name.encode()) <= 130
        assert name.isprintable()


def test_no_two_trials_share_a_folder() -> None:
    for creators in (
        {"dirname_creator": lambda trial: "same"},
        {"name_creator": lambda trial: "n" * 200},
    ):
        table = TrialTable("/e")
        taken = frozenset({"same", "n" * 130})
        for number in range(3):
            config = {"a": {"lr": 1.0}, "name": "x"}
            table.apply(
                new_trial(
                    spec(taken_dirnames=taken, **creators),
                    number,
                    config,
                    [{}],
                    0.0,
                    table.dirnames,
                )
            )
        assert len({trial.path for trial in table.trials}) == 3
        assert taken.isdisjoint(table.dirnames)


def test_the_user_can_name_trials_and_folders() -> None:
    named = spec(
        name_creator=lambda trial: f"mine-{trial.number}",
        dirname_creator=lambda trial: f"{trial}-dir",
    )
    created = new_trial(named, 3, {"a": {"lr": 1.0}, "name": "x"}, [{}], 0.0)
    assert (created.trial_name, created.dirname) == ("mine-3", "mine-3-dir")
    for bad in ("", "a/b", "/", ".", "..", 3, None):
        with pytest.raises(ConfigError, match="trial_dirname_creator returned"):
            new_trial(spec(dirname_creator=lambda trial: bad), 0, {}, [{}], 0.0)  # noqa: B023
    with pytest.raises(ConfigError, match=r"returned 'a\\udcff', which UTF-8 cannot say"):
        new_trial(spec(dirname_creator=lambda trial: "a\udcff"), 0, {}, [{}], 0.0)


def test_one_process_writes_to_a_folder(tmp_path: Path) -> None:
    folder = ExperimentFolder(str(tmp_path))
    script = (
        f"from tuner.experiment.folder import ExperimentFolder\nExperimentFolder({str(tmp_path)!r})"
    )
    refused = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert f"is being written to by process {os.getpid()} on" in refused.stderr
    folder.release()
    subprocess.run([sys.executable, "-c", script], check=True)


STARTING = """
import os, subprocess, sys
from tuner.experiment.folder import ExperimentFolder
folder = ExperimentFolder(sys.argv[1])
files = [folder._lock_file.fileno()]
print(subprocess.Popen(["sleep", "600"], pass_fds=files, stdout=2).pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def heir(tmp_path: Path) -> Iterator[int]:
    """The process that one was starting when it was killed, which still has all of its files."""
    command = [sys.executable, "-c", STARTING, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        process.kill()
    yield pid
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def replace_waiting(monkeypatch: pytest.MonkeyPatch, sleep: Callable[[float], None]) -> None:
    """What the folder does in place of waiting; others who wait go on to."""
    clock = SimpleNamespace(monotonic=time.monotonic, strftime=time.strftime, sleep=sleep)
    monkeypatch.setattr("tuner.experiment.folder.time", clock)


def test_what_a_killed_run_was_starting_is_waited_for(
    heir: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def begin_it(seconds: float) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(heir, signal.SIGKILL)

    replace_waiting(monkeypatch, begin_it)
    ExperimentFolder(str(tmp_path)).release()


def test_but_not_for_ever(heir: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuner.experiment.folder._LEFT_TIMEOUT_S", 0.2)
    with pytest.raises(ExperimentLockedError, match="is being written to by process"):
        ExperimentFolder(str(tmp_path))


def test_a_run_that_lives_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_waiting(monkeypatch, lambda seconds: pytest.fail("waited"))
    folder = ExperimentFolder(str(tmp_path))
    with pytest.raises(ExperimentLockedError, match=f"by process {os.getpid()} on"):
        ExperimentFolder(str(tmp_path))
    folder.release()


def test_the_recorder_of_a_killed_run_is_waited_for(tmp_path: Path) -> None:
    (tmp_path / "journal").mkdir()
    script = f"""
import fcntl, sys
file = open({str(tmp_path / "journal" / "recorder.lock")!r}, "w")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.readline()
open({str(tmp_path / "journal" / "late")!r}, "w").write("done")
"""
    recorder = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert recorder.stdout is not None
    assert recorder.stdout.readline() == "held\n"
    releasing = threading.Timer(0.3, lambda: recorder.communicate("\n"))
    releasing.start()
    folder = ExperimentFolder(str(tmp_path))
    moved = folder.begin(b"")
    folder.release()
    releasing.join()
    assert moved is not None
    assert Path(moved, "journal", "late").read_text() == "done"


def test_the_files_of_an_earlier_run_are_moved_not_lost(tmp_path: Path) -> None:
    for content in (b"1", b"2", b"3"):
        folder = ExperimentFolder(str(tmp_path))
        folder.begin(content)
        folder.describe({"name": "x"})
        (tmp_path / "journal").mkdir()
        folder.release()
    earlier = [(tmp_path / "previous" / n / "tuner.pkl").read_bytes() for n in ("0001", "0002")]
    assert earlier == [b"1", b"2"]
    assert (tmp_path / "tuner.pkl").read_bytes() == b"3"
