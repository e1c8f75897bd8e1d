import os
import pathlib
import select
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from recording_helpers import (
    END,
    created,
    csv_rows,
    ended,
    json_rows,
    launched,
    reported,
    scalars,
    write_journal,
)

from tuner.callbacks.logger import LoggerCallback
from tuner.errors import ConfigError
from tuner.experiment.journal_writer import JournalWriter
from tuner.integrations.tensorboard import TBXLoggerCallback
from tuner.recording.csv import CSVLoggerCallback
from tuner.recording.json import JsonLoggerCallback
from tuner.recording.process import RecorderProcess

TIMEOUT_S = 240


def built_in():
    return [CSVLoggerCallback(), JsonLoggerCallback(), TBXLoggerCallback()]


class Tells(LoggerCallback):
    """Writes its process id into a named pipe at each result, and waits there until it is read."""

    in_recorder = True

    def __init__(self, pipe):
        self.pipe = str(pipe)

    def log_trial_result(self, iteration, trial, result):
        if result.get("tell"):
            with open(self.pipe, "w") as pipe:
                pipe.write(f"{os.getpid()} {os.getsid(0)}")


class KillsOnce(LoggerCallback):
    """Kills its process at the result with the key `kill`, the first time it sees it."""

    in_recorder = True

    def __init__(self, mark):
        self.mark = str(mark)

    def log_trial_result(self, iteration, trial, result):
        mark = f"{self.mark}-{result['training_iteration']}"
        if result.get("kill") and not os.path.exists(mark):
            pathlib.Path(mark).touch()
            os.kill(os.getpid(), signal.SIGKILL)


class Hangs(LoggerCallback):
    in_recorder = True

    def log_trial_result(self, iteration, trial, result):
        select.select([], [], [])


class GetsOn(LoggerCallback):
    """Takes longer at its end than it is given unless it says that it gets on."""

    in_recorder = True
    PERIOD_S = 0.2

    def __init__(self, pipe, num_signs):
        self.pipe = pipe
        self.num_signs = num_signs

    def setup(self, *, on_progress, **info):
        self.on_progress = on_progress

    def log_trial_end(self, trial, failed=False):
        self.pipe.write_text("ready")

    def close(self):
        for _ in range(self.num_signs):
            threading.Event().wait(self.PERIOD_S)
            self.on_progress()
        (self.pipe.parent / "closed").touch()


@pytest.fixture
def pipe(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


@pytest.fixture
def experiment(tmp_path):
    path = tmp_path / "experiment"
    path.mkdir()
    return path


def read(pipe):
    """What the logger writes into the pipe, as soon as it does."""
    return [int(word) for word in pipe.read_text().split()]


def check(folder, num_results):
    expected = list(range(1, num_results + 1))
    assert [row["training_iteration"] for row in json_rows(folder)] == expected
    assert [int(row["training_iteration"]) for row in csv_rows(folder)] == expected
    assert [step for step, _ in scalars(folder)] == expected


def test_it_follows_a_growing_journal_and_finishes(experiment, pipe):
    writer = JournalWriter(str(experiment))
    process = RecorderProcess(str(experiment), [*built_in(), Tells(pipe)])
    assert not process.is_alive()
    process.start()
    writer.append([created("a"), launched("a"), reported("a", 1, tell=True)])
    pid, session = read(pipe)
    assert process.is_alive()
    assert session == pid != os.getsid(0)  # Ctrl-C does not reach it
    writer.append([reported("a", 2, tell=True)])
    assert read(pipe) == [pid, session]
    writer.append([reported("a", 3), ended("a"), END])
    writer.close()
    assert process.finish(TIMEOUT_S) == []
    assert not process.is_alive()
    check(experiment / "train_a", 3)
    assert (experiment / "results.parquet").exists()


def test_kill_9_in_the_middle_loses_and_doubles_nothing(experiment, pipe):
    """Killed by hand with rows on the disk that its bookmark does not know of."""
    writer = JournalWriter(str(experiment))
    first = RecorderProcess(str(experiment), [*built_in(), Tells(pipe)])
    first.start()
    writer.append([created("a"), launched("a"), reported("a", 1, tell=True)])
    pid, _ = read(pipe)
    for start in range(2, 42, 4):
        writer.append([reported("a", start + i) for i in range(3)])
        writer.append([reported("a", start + 3, tell=start != 38)])
        if start != 38:
            read(pipe)
    os.kill(pid, signal.SIGKILL)
    pipe.unlink()  # the next recorder finds nobody who waits
    writer.append([reported("a", 42, late=1), ended("a"), END])
    writer.close()
    assert first.finish(TIMEOUT_S) == []  # it started another one
    check(experiment / "train_a", 42)


@pytest.mark.slow
def test_killed_again_and_again(experiment, tmp_path):
    """Kills in the middle of batches, around rewinds and new columns, with several segments."""
    facts = [created("a"), launched("a"), reported("a", 1)]
    saved = "checkpoint_000000"
    facts += [reported("a", i, kill=i == 3000) for i in range(2, 7000)]
    facts += [reported("a", 7000, checkpoint=saved), *(reported("a", i) for i in range(7001, 8001))]
    facts += [ended("a", status="PENDING", error="lost"), launched("a", 2, 7000, saved)]
    facts += [reported("a", i, 2, **{f"x{i}": 1, "kill": True}) for i in (7001,)]
    facts += [reported("a", i, 2) for i in range(7002, 7010)]
    facts += [ended("a", 2), END]
    writer = JournalWriter(str(experiment), segment_bytes=200_000)
    for i in range(0, len(facts), 500):
        writer.append(facts[i : i + 500])
    writer.close()
    for _ in range(2):
        process = RecorderProcess(str(experiment), [KillsOnce(tmp_path / "killed"), *built_in()])
        process.start()
        messages = process.finish(TIMEOUT_S)
    assert messages == []
    assert sorted(p.name for p in tmp_path.glob("killed-*")) == ["killed-3000", "killed-7001"]
    check(experiment / "train_a", 7009)


def test_it_drains_the_journal_when_the_controller_is_killed(experiment, pipe):
    """The recorder's end shows at the pipe, which it holds open until then."""
    facts = [created("a"), launched("a"), *(reported("a", i) for i in range(1, 5001))]
    write_journal(experiment, [*facts, ended("a")])
    script = f"""
import os, signal, sys
sys.path.insert(0, {str(pathlib.Path(__file__).parent)!r})
from tuner.recording.process import RecorderProcess
from test_recording_process import HoldsOpen, built_in
RecorderProcess({str(experiment)!r}, [*built_in(), HoldsOpen({str(pipe)!r})]).start()
os.kill(os.getpid(), signal.SIGKILL)
"""
    controller = subprocess.Popen([sys.executable, "-c", script])
    assert controller.wait(TIMEOUT_S) == -signal.SIGKILL
    assert pipe.read_text() == ""
    check(experiment / "train_a", 5000)
    assert (experiment / "results.parquet").exists()


class HoldsOpen(LoggerCallback):
    in_recorder = True

    def __init__(self, pipe):
        self.pipe = pipe

    def setup(self, stop=None, num_samples=None, total_num_samples=None, **info):
        self.file = open(self.pipe, "w")  # noqa: SIM115


def test_what_failed_is_told_at_the_end(experiment, capfd):
    class Raises(LoggerCallback):
        in_recorder = True

        def log_trial_start(self, trial):
            raise RuntimeError("no logs today \ud800")

    write_journal(experiment, [created("a"), launched("a"), reported("a", 1), ended("a")])
    process = RecorderProcess(str(experiment), [Raises(), *built_in()])
    process.start()
    (message,) = process.finish(TIMEOUT_S)
    assert message.startswith("Raises raised and logs no more")
    assert "Traceback" in message
    assert "no logs today \\ud800" in message
    told_at_once = capfd.readouterr().err
    assert "Raises raised and logs no more: RuntimeError('no logs today \\ud800')" in told_at_once
    assert "Traceback" not in told_at_once
    check(experiment / "train_a", 1)


def test_a_damaged_journal_is_told_at_the_end(experiment):
    write_journal(experiment, [created("a"), launched("a"), reported("a", 1)])
    segment = experiment / "journal" / "00000001.jsonl"
    segment.write_bytes(segment.read_bytes().replace(b'"attempt":1', b'"attempt":2', 1))
    process = RecorderProcess(str(experiment), built_in())
    process.start()
    (message,) = process.finish(TIMEOUT_S)
    assert "does not match its checksum" in message


def test_a_slow_logger_is_ended_at_the_bound(experiment, monkeypatch, caplog):
    monkeypatch.setattr("tuner.recording.process._NOTICE_AFTER_S", 0.0)
    write_journal(experiment, [created("a"), launched("a"), reported("a", 1), ended("a")])
    process = RecorderProcess(str(experiment), [Hangs()])
    process.start()
    (message,) = process.finish(0.5)
    assert caplog.messages[0].endswith("experiment (at most 0.5 s without progress) …")
    assert "not done after 0.5 s" in message
    assert not process.is_alive()

    again = RecorderProcess(str(experiment), built_in())
    again.start()
    assert again.finish(TIMEOUT_S) == []
    check(experiment / "train_a", 1)


def test_what_is_delivered_elsewhere_is_said_to_have_its_own_limit(
    experiment, pipe, monkeypatch, caplog
):
    monkeypatch.setattr("tuner.recording.process._NOTICE_AFTER_S", 0.0)
    monkeypatch.setattr(
        GetsOn, "delivers_to", property(lambda self: "the moon (at most 3 s)"), raising=False
    )
    write_journal(experiment, [created("a"), launched("a"), reported("a", 1), ended("a")])
    process = RecorderProcess(str(experiment), [GetsOn(pipe, num_signs=5)])
    process.start()
    pipe.read_text()
    assert process.finish(TIMEOUT_S) == []
    (message,) = caplog.messages
    assert message == (
        f"completing the files in {experiment} (at most {TIMEOUT_S} s without progress) "
        "and what goes to the moon (at most 3 s) …"
    )


def test_a_logger_that_gets_on_is_waited_for(experiment, pipe):
    writer = JournalWriter(str(experiment))
    num_signs = 40
    process = RecorderProcess(str(experiment), [GetsOn(pipe, num_signs)])
    process.start()
    for trial in "ab":  # after the first one it imports what it needs, of which it gives no sign
        writer.append([created(trial), launched(trial), reported(trial, 1), ended(trial)])
        assert pipe.read_text() == "ready"
    writer.close()
    assert process.finish(num_signs * GetsOn.PERIOD_S * 0.75) == []
    assert (pipe.parent / "closed").exists()


def test_two_recorders_take_turns(experiment):
    facts = [created("a"), launched("a"), *(reported("a", i) for i in range(1, 3001))]
    write_journal(experiment, [*facts, ended("a")])
    processes = [RecorderProcess(str(experiment), built_in()) for _ in range(2)]
    for process in processes:
        process.start()
    with ThreadPoolExecutor() as pool:
        ends = [pool.submit(process.finish, TIMEOUT_S) for process in processes]
    assert [end.result() for end in ends] == [[], []]
    check(experiment / "train_a", 3000)


def test_a_logger_that_cannot_be_pickled_is_refused(experiment):
    logger = JsonLoggerCallback()
    logger.file = open(os.devnull)  # noqa: SIM115
    logger.lock = select.poll()
    with pytest.raises(ConfigError, match="JsonLoggerCallback cannot be pickled"):
        RecorderProcess(str(experiment), [logger])
    logger.file.close()


def test_modules_of_the_working_directory_are_not_taken_for_others(experiment, monkeypatch):
    (experiment / "json.py").write_text("raise RuntimeError")
    monkeypatch.chdir(experiment)
    write_journal(experiment, [created("a"), launched("a"), reported("a", 1)])
    process = RecorderProcess(str(experiment), built_in())
    process.start()
    assert process.finish(TIMEOUT_S) == []
    check(experiment / "train_a", 1)
