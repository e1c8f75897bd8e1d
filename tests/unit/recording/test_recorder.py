import math
import os
import pathlib
import random
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recording_helpers import (
    END,
    created,
    csv_rows,
    ended,
    exploited,
    json_rows,
    launched,
    reported,
    scalars,
    write_journal,
)

from tuner.callbacks.logger import LoggerCallback
from tuner.experiment.journal_writer import JournalWriter
from tuner.integrations.tensorboard import TBXLoggerCallback
from tuner.recording.csv import CSVLoggerCallback
from tuner.recording.json import JsonLoggerCallback
from tuner.recording.recorder import Recorder


def built_in():
    return [CSVLoggerCallback(), JsonLoggerCallback(), TBXLoggerCallback()]


def record(folder, loggers=None, **kwargs):
    recorder = Recorder(str(folder), built_in() if loggers is None else loggers, **kwargs)
    recorder.resume()
    recorder.finish()
    return recorder


def contents(folder):
    """All that can be read from the files of an experiment, in comparable form."""
    return {
        path.name: (
            csv_rows(path),
            json_rows(path),
            scalars(path),
            (path / "error.txt").read_text() if (path / "error.txt").exists() else None,
            sorted(file.name.partition(".tfevents")[0] for file in path.iterdir()),
        )
        for path in sorted(folder.glob("train_*"))
    }


SAVED = "checkpoint_000000"


class Calls(LoggerCallback):
    in_recorder = True

    def __init__(self):
        self.calls = []

    def setup(self, stop=None, num_samples=None, total_num_samples=None, **info):
        self.calls.append("setup")

    def log_trial_start(self, trial):
        self.calls.append(f"start {trial}")

    def on_trial_rewound(self, trial, num_results):
        self.calls.append(f"rewound to {num_results}")

    def log_trial_restore(self, trial):
        self.calls.append("restore")

    def log_trial_save(self, trial):
        self.calls.append("save")

    def log_trial_result(self, iteration, trial, result):
        self.calls.append(f"result {result['training_iteration']}")

    def on_trial_recover(self, iteration, trials, trial, **info):
        self.calls.append("recover")

    def log_trial_end(self, trial, failed=False):
        self.calls.append(f"end {failed}")

    def on_experiment_end(self, trials, **info):
        self.calls.append(f"experiment end {len(trials)}")

    def close(self):
        self.calls.append("close")


class Raises(LoggerCallback):
    in_recorder = True

    def log_trial_result(self, iteration, trial, result):
        raise RuntimeError("no logs today")


def test_files_of_an_experiment(tmp_path):
    facts = [created("a"), launched("a"), reported("a", 1), reported("a", 2, late=math.nan)]
    write_journal(tmp_path, [*facts, ended("a"), END])
    assert record(tmp_path).messages == []
    folder = tmp_path / "train_a"
    assert [row["loss"] for row in json_rows(folder)] == [1.0, 0.5]
    assert [row["late"] for row in csv_rows(folder)] == ["", "nan"]
    assert scalars(folder) == [(1, 1.0), (2, 0.5)]
    assert (folder / "params.json").exists()
    assert (folder / "params.pkl").exists()
    assert (tmp_path / "results.parquet").exists()
    assert not (folder / "error.txt").exists()


def test_loggers_are_told_the_life_of_a_trial(tmp_path):
    write_journal(
        tmp_path,
        [
            created("a"),
            launched("a"),
            reported("a", 1, checkpoint="checkpoint_000000"),
            reported("a", 2),
            ended("a", status="PENDING", error="lost"),
            launched("a", 2, num_results=1, checkpoint="checkpoint_000000"),
            reported("a", 2, 2),
            ended("a", 2, status="PAUSED"),
            ended("a", 2, status="PENDING"),
            launched("a", 3, num_results=2),
            ended("a", 3, status="ERROR", error="broken"),
            END,
        ],
    )
    logger = Calls()
    record(tmp_path, [logger])
    assert logger.calls == [
        "setup",
        "start train_a",
        "result 1",
        "save",
        "result 2",
        "recover",
        "rewound to 1",
        "restore",
        "result 2",
        "recover",
        "end True",
        "experiment end 1",
        "close",
    ]


def test_superseded_results_disappear_from_all_files(tmp_path):
    facts = [created("a"), launched("a"), reported("a", 1, checkpoint=SAVED)]
    facts += [reported("a", 2), reported("a", 3), ended("a", status="PENDING", error="first")]
    facts += [launched("a", 2, num_results=1, checkpoint=SAVED)]
    facts += [reported("a", 2, 2), ended("a", 2, status="ERROR", error="second")]
    write_journal(tmp_path, facts)
    record(tmp_path)
    folder = tmp_path / "train_a"
    assert [row["attempt"] for row in json_rows(folder)] == [1, 2]
    assert [row["attempt"] for row in csv_rows(folder)] == ["1", "2"]
    assert scalars(folder, "ray/tune/attempt") == [(1, 1.0), (2, 2.0)]
    errors = (folder / "error.txt").read_text()
    assert errors.startswith("Attempt 1 failed at 20")
    assert errors.index("first") < errors.index("Attempt 2 failed at 20") < errors.index("second")


def test_a_logger_that_raises_is_reported_and_the_others_go_on(tmp_path):
    write_journal(tmp_path, [created("a"), launched("a"), reported("a", 1), reported("a", 2)])
    (message,) = record(tmp_path, [Raises(), *built_in()]).messages
    assert message.startswith("Raises raised and logs no more:\nTraceback")
    assert "no logs today" in message
    assert len(json_rows(tmp_path / "train_a")) == 2


def test_one_odd_trial_costs_the_others_nothing(tmp_path):
    odd = created("a", {"s\ud800": "t\ud800"})
    odd.evaluated_params.update({"s\ud800": "t\ud800", "inf": math.inf, "big": 10**400})
    values = {"timesteps_total": 1000.0, "timestamp": "2024-01-01", "m\ud800": "x\ud800\r"}
    facts = [odd, created("b", number=1), launched("a"), launched("b")]
    facts += [
        reported(trial, i, **values if trial == "a" else {}) for i in (1, 2) for trial in "ab"
    ]
    write_journal(tmp_path, [*facts, ended("a"), ended("b"), END])
    assert record(tmp_path).messages == []
    for trial, steps in (("a", [1000, 1000]), ("b", [1, 2])):
        folder = tmp_path / f"train_{trial}"
        assert [step for step, _ in scalars(folder)] == steps
        assert len(csv_rows(folder)) == len(json_rows(folder)) == 2
    assert (tmp_path / "results.parquet").exists()


class RaisesFor(LoggerCallback):
    in_recorder = True

    def __init__(self, trial_id):
        self.trial_id = trial_id

    def log_trial_result(self, iteration, trial, result):
        if trial.trial_id == self.trial_id:
            raise RuntimeError("not this one: \ud800")


@pytest.mark.parametrize("place", [0, 3])
def test_a_logger_that_raises_for_one_trial_costs_no_files(tmp_path, place):
    facts = [created("a"), created("b", number=1), launched("a"), launched("b")]
    facts += [reported(trial, i) for i in (1, 2) for trial in "ab"]
    write_journal(tmp_path, [*facts, ended("a"), ended("b"), END])
    loggers = built_in()
    loggers.insert(place, RaisesFor("a"))
    (message,) = record(tmp_path, loggers).messages
    assert message.startswith("RaisesFor raised")
    for trial in "ab":
        folder = tmp_path / f"train_{trial}"
        assert len(csv_rows(folder)) == len(json_rows(folder)) == len(scalars(folder)) == 2


def test_300_trials_at_once(tmp_path):
    trials = [f"{i:03d}" for i in range(300)]
    writer = JournalWriter(str(tmp_path))
    writer.append([created(trial, number=i) for i, trial in enumerate(trials)])
    writer.append([launched(trial) for trial in trials])
    loggers = built_in()
    recorder = Recorder(str(tmp_path), loggers)
    recorder.resume()
    for iteration in (1, 2, 3):
        writer.append([reported(trial, iteration) for trial in trials])
        assert recorder.step() > 0
        assert all(logger.files.num_open <= 256 for logger in loggers)
    writer.append([ended(trial) for trial in trials])
    writer.close()
    recorder.finish()
    assert all(logger.files.num_open == 0 for logger in loggers)
    for trial in ("000", "150", "299"):
        folder = tmp_path / f"train_{trial}"
        assert len(json_rows(folder)) == len(csv_rows(folder)) == len(scalars(folder)) == 3


def test_the_recorder_can_be_run_again_on_what_is_complete(tmp_path):
    write_journal(tmp_path, [created("a"), launched("a"), reported("a", 1), ended("a"), END])
    record(tmp_path)
    before = contents(tmp_path)
    logger = Calls()
    record(tmp_path, [logger, *built_in()])
    assert contents(tmp_path) == before
    assert logger.calls == ["setup", "close"]


def test_a_trial_that_runs_is_started_again_in_a_new_recorder(tmp_path):
    write_journal(tmp_path, [created("a"), launched("a"), reported("a", 1)])
    record(tmp_path)
    logger = Calls()
    record(tmp_path, [logger])
    assert logger.calls == ["setup", "start train_a", "close"]


def test_a_journal_that_lost_its_end_is_recorded_anew(tmp_path, caplog):
    facts = [created("a"), launched("a"), reported("a", 1), reported("a", 2)]
    write_journal(tmp_path, facts)
    record(tmp_path)
    segment = tmp_path / "journal" / "00000001.jsonl"
    segment.write_bytes(b"".join(segment.read_bytes().splitlines(keepends=True)[:3]))
    record(tmp_path)
    assert "recorded anew" in caplog.text
    assert len(json_rows(tmp_path / "train_a")) == len(csv_rows(tmp_path / "train_a")) == 1


class Killed(BaseException):
    pass


class KilledAt(LoggerCallback):
    """Ends the recorder at its n-th result, like a kill: nothing is flushed or closed."""

    in_recorder = True

    def __init__(self, results):
        self.results = results

    def log_trial_result(self, iteration, trial, result):
        self.results -= 1
        if self.results < 0:
            raise Killed


def random_facts(seed):
    """A random life of three trials: failures, rewinds, pauses, keys that appear late."""
    rng = random.Random(seed)
    facts = [created(trial, number=i) for i, trial in enumerate("abc")]
    states = {trial: {"attempt": 0, "iteration": 0, "status": "PENDING"} for trial in "abc"}
    saved = {trial: [(0, None)] for trial in "abc"}
    for _ in range(rng.randint(10, 60)):
        trial, state = rng.choice(list(states.items()))
        if state["status"] in ("TERMINATED", "ERROR"):
            if rng.random() < 0.8:
                continue
            facts.append(ended(trial, state["attempt"], "PENDING"))
            state["status"] = "PENDING"
        elif state["status"] == "PAUSED":
            donor = rng.choice([name for name in "abc" if name != trial])
            lent = saved[donor][-1]
            state["attempt"] += 1
            if lent[1] is None:  # nothing to go on from: as itself
                state["iteration"], checkpoint = saved[trial][-1]
                facts.append(launched(trial, state["attempt"], state["iteration"], checkpoint))
            else:
                facts.append(exploited(trial, donor, lent[1], rng.random()))
                state["iteration"] = max(state["iteration"], lent[0])
                facts.append(launched(trial, state["attempt"], state["iteration"], lent[1], donor))
                saved[trial] = [(state["iteration"], lent[1])]
            state["status"] = "RUNNING"
        elif state["status"] == "PENDING":
            state["attempt"] += 1
            state["iteration"], checkpoint = rng.choice(saved[trial])
            facts.append(launched(trial, state["attempt"], state["iteration"], checkpoint))
            state["status"] = "RUNNING"
        elif rng.random() < 0.75:
            state["iteration"] += 1
            extra = {f"late_{rng.randint(0, 9)}": rng.random()} if rng.random() < 0.1 else {}
            checkpoint = f"checkpoint_{len(saved[trial]):06d}" if rng.random() < 0.5 else None
            if checkpoint:
                saved[trial].append((state["iteration"], checkpoint))
            facts.append(reported(trial, state["iteration"], state["attempt"], checkpoint, **extra))
        else:
            status = rng.choice(["PENDING", "PAUSED", "PAUSED", "TERMINATED", "ERROR"])
            error = None if status in ("TERMINATED", "PAUSED") else f"error {rng.random()}"
            facts.append(ended(trial, state["attempt"], status, error))
            state["status"] = status
    return [*facts, reported_last(states)] if states["a"]["status"] == "RUNNING" else facts


def reported_last(states):
    return reported("a", states["a"]["iteration"] + 1, states["a"]["attempt"])


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    kills=st.lists(st.integers(0, 12), min_size=1, max_size=5),
    period=st.sampled_from([0.0, 1000.0]),
    batch=st.integers(1, 9),
)
def test_killed_at_any_moment_it_loses_and_doubles_nothing(
    tmp_path_factory, seed, kills, period, batch
):
    facts = random_facts(seed)
    whole, killed = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("killed")
    write_journal(whole, facts)
    record(whole)
    write_in_batches_while_killing(killed, facts, kills, period, batch)
    assert readable(killed) == readable(whole)
    leftovers = [path.name for path in pathlib.Path(killed).glob("train_*/.*")]
    assert leftovers == []


def write_in_batches_while_killing(folder, facts, kills, period, batch):
    kills = list(kills)
    writer = JournalWriter(str(folder))
    start = 0
    while kills:
        at = kills.pop()
        # First and last in line: some files have the result at which it is killed, some not.
        loggers = built_in()
        loggers.insert(at % 4, KilledAt(at))
        recorder = Recorder(str(folder), loggers, bookmark_period_s=period)
        with suppress(Killed):
            recorder.resume()
            while start < len(facts):
                writer.append(facts[start : start + batch])
                start += batch
                recorder.step()
        close_logs(folder)
    writer.append(facts[start:])
    writer.close()
    record(folder)


def close_logs(folder):
    """What a kill does to the recorder's files; the journal's are closed by those who have them."""
    for link in pathlib.Path("/proc/self/fd").iterdir():
        path = pathlib.Path(os.path.realpath(link))
        if folder in path.parents and path.parent.name != "journal":
            os.close(int(link.name))


def readable(folder):
    found = {}
    for path in sorted(folder.glob("train_*")):
        names = {file.name for file in path.iterdir()}
        found[path.name] = (
            csv_rows(path) if "progress.csv" in names else None,
            json_rows(path) if "result.json" in names else None,
            scalars(path) if "result.json" in names and json_rows(path) else None,
            (path / "error.txt").read_text() if "error.txt" in names else None,
            sorted(names),
        )
    found |= {path.name: path.read_text() for path in folder.glob("pbt_*")}
    return found


@pytest.mark.parametrize("at", [0, 3, 7])
def test_killed_while_a_file_is_being_replaced(tmp_path, at):
    """The rewritten file is undone with the rest, and written once more."""
    facts = [created("a"), launched("a"), reported("a", 1), reported("a", 2, checkpoint=SAVED)]
    facts += [reported("a", 3), reported("a", 4), ended("a", status="PENDING", error="x")]
    facts += [launched("a", 2, num_results=2, checkpoint=SAVED)]
    facts += [reported("a", 3 + i, 2, **{f"new{i}": i}) for i in range(9)]
    writer = JournalWriter(str(tmp_path))
    recorder = Recorder(str(tmp_path), [*built_in(), KilledAt(4 + at)], bookmark_period_s=1000)
    recorder.resume()
    writer.append(facts[:4])
    recorder.step()  # the only bookmark
    writer.append(facts[4:])
    writer.close()
    with pytest.raises(Killed):
        recorder.step()
    record(tmp_path)
    rows = json_rows(tmp_path / "train_a")
    assert [row["training_iteration"] for row in rows] == list(range(1, 12))
    assert [row["attempt"] for row in rows] == [1, 1] + [2] * 9
    assert [int(row["training_iteration"]) for row in csv_rows(tmp_path / "train_a")] == list(
        range(1, 12)
    )
    assert len(scalars(tmp_path / "train_a")) == 11
