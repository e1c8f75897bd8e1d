import io
import math
import subprocess
import sys
import time

import pytest
from console_helpers import TRACEBACK, Experiment, Terminal, screen

from tuner.console.cli_reporter import CLIReporter
from tuner.console.console import Console, error_reason
from tuner.console.progress_reporter import ProgressReporter
from tuner.errors import ConfigError


@pytest.fixture
def experiment():
    return Experiment()


def console(experiment, verbose=1, reporter=None, **info):
    stream = io.StringIO()
    shown = Console(verbose, reporter, stream)
    shown.start(experiment.info(**info))
    return shown, stream


def test_verbose_0_shows_nothing_at_all(experiment):
    shown, stream = console(experiment, verbose=0, reporter=CLIReporter())
    trial = experiment.run(0.5, status="ERROR", error=TRACEBACK)
    shown.on_result(trial, trial.last_result)
    shown.on_trial_error(trial)
    shown.on_trial_end(trial)
    shown.trial_output(trial, b"hello\n")
    shown.message("saved")
    shown.refresh(experiment.status())
    shown.finish(experiment.status())
    assert stream.getvalue() == ""
    assert shown.due() == math.inf


def test_verbose_1_shows_status_errors_and_output_but_no_trial_lines(experiment):
    shown, stream = console(experiment)
    good = experiment.run(0.5)
    shown.on_result(good, good.last_result)
    shown.on_trial_end(good)
    assert stream.getvalue().count("\n") == 1  # the line of start()
    bad = experiment.run(0.7, status="ERROR", error=TRACEBACK)
    shown.on_trial_error(bad)
    shown.on_trial_end(bad)
    shown.trial_output(good, b"hello\n")
    shown.refresh(experiment.status())
    lines = stream.getvalue().splitlines()
    assert lines[1] == (
        "train_abc_00001 failed: ValueError: rate [bold]too[/bold] high "
        "(see /results/mnist/train_abc_00001/error.txt)"
    )
    assert lines[2:-2] == [f"  {line}" for line in TRACEBACK.splitlines()]
    assert lines[-2] == "(train_abc_00000) hello"
    assert "2/10 trials finished, 0 running, 1 failed" in lines[-1]


def test_a_traceback_is_shown_once(experiment):
    shown, stream = console(experiment)
    for _ in range(3):
        shown.on_trial_error(experiment.run(0.7, status="ERROR", error=TRACEBACK))
    assert stream.getvalue().count("failed: ValueError") == 3
    assert stream.getvalue().count("Traceback") == 1


def test_verbose_2_has_a_line_at_each_end(experiment):
    shown, stream = console(experiment, verbose=2)
    trial = experiment.run(0.5, 0.25)
    shown.on_result(trial, trial.last_result)
    shown.on_trial_end(trial)
    assert stream.getvalue().splitlines()[1:] == [
        "train_abc_00000 finished after 2 iterations in 3.0s: loss=0.25"
    ]
    assert not shown.wants_results


def test_verbose_3_has_a_line_per_result_too(experiment):
    shown, stream = console(experiment, verbose=3)
    trial = experiment.launch(experiment.create())
    experiment.report(trial, accuracy=0.75, loss=0.125, note="text", checkpoint=None)
    assert shown.wants_results
    shown.on_result(trial, trial.last_result)
    shown.on_trial_end(experiment.end(trial, "PAUSED"))
    assert stream.getvalue().splitlines()[1:] == [
        "train_abc_00000 result 1: loss=0.125, accuracy=0.75",
        "train_abc_00000 is PAUSED after 1 iterations in 1.5s: loss=0.125, accuracy=0.75",
    ]


def test_a_failure_that_is_retried_says_so(experiment):
    shown, stream = console(experiment)
    shown.on_trial_error(experiment.run(0.5, status="PENDING", error=TRACEBACK))
    assert "train_abc_00000 failed and will be tried again: ValueError" in stream.getvalue()


def test_the_same_error_is_not_repeated_for_ever(experiment):
    shown, stream = console(experiment)
    for _ in range(50):
        shown.on_trial_error(experiment.run(0.5, status="ERROR", error=TRACEBACK))
    shown.on_trial_error(experiment.run(0.5, status="ERROR", error="worker was killed (SIGKILL)"))
    text = stream.getvalue()
    assert text.count(": ValueError") == 20
    assert text.count("no longer shown") == 1
    assert "train_abc_00050 failed: worker was killed (SIGKILL)" in text


@pytest.mark.parametrize(
    ("traceback", "reason"),
    [
        (TRACEBACK, "ValueError: rate [bold]too[/bold] high"),
        ("killed by signal 9\n", "killed by signal 9"),
        (TRACEBACK + "with\n  several lines\n", "ValueError: rate [bold]too[/bold] high"),
        ("", "no reason was given"),
        ('Traceback:\n  File "a.py", line 1\n    f()\n', "    f()"),
        ('  File "a", line 1\n    raise\nE: \x1b[2J' + "x" * 1000, "E: " + "x" * 296 + "…"),
    ],
)
def test_error_reason(traceback, reason):
    assert error_reason(traceback) == reason


def test_unfinished_lines_come_out_when_a_trial_ends_and_at_the_end(experiment):
    shown, stream = console(experiment)
    first, second = experiment.run(0.5), experiment.run(0.4)
    shown.trial_output(first, b"no line break")
    shown.trial_output(second, "é".encode()[:1])
    shown.trial_output(second, "é".encode()[1:])
    assert "no line break" not in stream.getvalue()
    shown.on_trial_end(first)
    assert "(train_abc_00000) no line break\n" in stream.getvalue()
    shown.close()
    assert stream.getvalue().endswith("(train_abc_00001) é\n")


def test_messages_from_before_the_start_and_after_the_end_are_shown(experiment, monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    terminal = Terminal()
    for stream in (io.StringIO(), terminal.stream):
        shown = Console(stream=stream)
        shown.message("early")
        shown.start(experiment.info())
        shown.finish(experiment.status())
        shown.message("late")
        shown.close()
        text = terminal.close() if stream is terminal.stream else stream.getvalue()
        lines = text.splitlines()
        assert lines.index("early") < lines.index("late") == len(lines) - 1


def test_the_plain_way_needs_no_rich_and_no_thread():
    script = """
import io, sys, threading
from console_helpers import Experiment
from tuner.console.console import Console
experiment = Experiment()
experiment.best = experiment.run(0.5)
console = Console(3)
console.start(experiment.info())
console.refresh(experiment.status())
console.trial_output(experiment.best, b"x\\n")
console.finish(experiment.status())
assert "rich" not in sys.modules and "numpy" not in sys.modules
assert threading.active_count() == 1
"""
    run = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        cwd=__file__.rpartition("/")[0],
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert "Best trial: train_abc_00000 with loss=0.5" in run.stdout
    assert "\x1b" not in run.stdout


@pytest.mark.parametrize(
    ("environment", "live", "expected"),
    [
        ({}, True, "LiveTable"),
        ({}, False, "PlainLines"),
        ({"CI": "true"}, True, "PlainLines"),
        ({"CI": "false"}, True, "LiveTable"),
        ({"TERM": "dumb"}, True, "PlainLines"),
    ],
)
def test_what_a_terminal_gets(experiment, monkeypatch, environment, live, expected):
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    terminal = Terminal()
    shown = Console(stream=terminal.stream, live=live)
    shown.start(experiment.info())
    assert type(shown._display).__name__ == expected
    shown.close()
    terminal.close()


def test_a_terminal_sees_colours_of_trials_and_nothing_that_moves_its_cursor(
    experiment, monkeypatch
):
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    terminal = Terminal()
    shown = Console(stream=terminal.stream)
    shown.start(experiment.info())
    shown.trial_output(
        experiment.run(0.5), b"\x1b[31mred\x1b[0m \x1b[2J\x1b[5A\x1b]0;title\x07end\n"
    )
    shown.close()
    raw = terminal.close()
    assert "\x1b[31mred\x1b[0m end" in raw
    assert screen(raw, 120)[0] == "(train_abc_00000) red end"


class EveryTime(ProgressReporter):
    """A user's own reporter, as small as it can be."""

    def __init__(self):
        self.seen = []
        self.properties = None

    def setup(self, start_time=None, total_samples=None, metric=None, mode=None, **kwargs):
        self.properties = (start_time, total_samples, metric, mode)

    def should_report(self, trials, done=False):
        return True

    def report(self, trials, done, *sys_info):
        trials.clear()  # the list is its own
        self.seen.append((done, sys_info))
        print("mine")


def test_a_users_reporter_is_driven(experiment):
    reporter = EveryTime()
    shown, stream = console(experiment, reporter=reporter)
    assert reporter.properties == (100.0, 10, "loss", "min")
    experiment.run(0.5)
    shown.refresh(experiment.status())
    shown.finish(experiment.status())
    assert [done for done, _ in reporter.seen] == [False, True]
    assert reporter.seen[0][1][-2:] == (
        "Using FIFO scheduling algorithm.",
        "Resources requested: 0/4 CPUs, 0/0 GPUs",
    )
    assert stream.getvalue() == "mine\nmine\n"
    assert len(experiment.table.trials) == 1


def test_a_reporter_that_counts_ends_is_asked_soon_after_one(experiment):
    class AtEnds(CLIReporter):
        def __init__(self):
            super().__init__()
            self.terminated = 0

        def should_report(self, trials, done=False):
            before = self.terminated
            self.terminated = sum(trial.status == "TERMINATED" for trial in trials)
            return self.terminated > before

    shown, stream = console(experiment, reporter=AtEnds())
    shown.refresh(experiment.status())
    assert stream.getvalue() == ""
    assert shown.due() - time.monotonic() <= 0.5
    shown.on_trial_end(experiment.run(0.5))
    assert shown.due() - time.monotonic() <= 0.1
    shown.refresh(experiment.status())
    shown.refresh(experiment.status())
    assert stream.getvalue().count("== Status ==") == 1


def test_what_a_reporter_raises_comes_out(experiment):
    class Broken(EveryTime):
        def report(self, trials, done, *sys_info):
            raise RuntimeError("broken")

    shown, _ = console(experiment, reporter=Broken())
    with pytest.raises(RuntimeError, match="broken"):
        shown.refresh(experiment.status())


def test_bad_arguments_are_named():
    with pytest.raises(ConfigError, match=r"verbose=5 must be 0, 1, 2 or 3"):
        Console(5)
    with pytest.raises(ConfigError, match=r"progress_reporter='tqdm' must be a ProgressReporter"):
        Console(1, "tqdm")


def test_a_reader_that_goes_away_does_not_end_the_experiment():
    script = """
import sys
from console_helpers import Experiment
from tuner.console.console import Console
experiment = Experiment()
experiment.run(0.5)
console = Console(1)
console.start(experiment.info())
for _ in range(20000):
    console.refresh(experiment.status())
console.finish(experiment.status())
print("reached the end", file=sys.stderr)
"""
    run = subprocess.run(
        f"{sys.executable} -c '{script}' | head -n 1",
        shell=True,
        capture_output=True,
        text=True,
        cwd=__file__.rpartition("/")[0],
        check=False,
    )
    assert "reached the end" in run.stderr
    assert "Traceback" not in run.stderr
