import math
import sys
import threading

import pytest
from console_helpers import TRACEBACK, Experiment, Terminal, screen

from tuner.console.live_table import LiveTable
from tuner.console.output import Output


@pytest.fixture(autouse=True)
def colourful(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("COLUMNS", "LINES", "NO_COLOR", "CI"):
        monkeypatch.delenv(name, raising=False)


class Session:
    """A live table on a pseudo terminal, refreshed at once rather than when due."""

    def __init__(self, experiment, columns=120, rows=40, **info):
        self.experiment = experiment
        self.terminal = Terminal(columns, rows)
        self.table = LiveTable(Output(self.terminal.stream))
        self.table.start(experiment.info(**info))

    def refresh(self, **status):
        self.table._due = 0.0
        self.table.refresh(self.experiment.status(**status))

    def screen(self):
        return screen(self.terminal.close(), self.terminal.columns)


def test_each_refresh_replaces_the_one_before_and_text_stands_above():
    experiment = Experiment()
    session = Session(experiment)
    for loss in (0.5, 0.4, 0.3):
        experiment.best = experiment.run(loss)
        session.table.write(f"(train) loss {loss} [red]markup[/red]\n")
        session.refresh()
    lines = session.screen()
    assert lines[:3] == [f"(train) loss {loss} [red]markup[/red]" for loss in (0.5, 0.4, 0.3)]
    assert lines[3].startswith("mnist  ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━  3/10  20s, about 47s left")
    assert [line.split()[0] for line in lines if line.startswith("train_")] == [
        "train_abc_00002",
        "train_abc_00001",
        "train_abc_00000",
    ]
    assert sum("Trial name" in line for line in lines) == 1
    assert any(line.startswith("Best trial train_abc_00002: loss=0.3, lr=0.3") for line in lines)
    session.table.close()


def test_the_columns_of_the_status_table():
    experiment = Experiment()
    session = Session(experiment)
    experiment.report(experiment.launch(experiment.create()), loss=0.5, mean_accuracy=0.25)
    session.refresh()
    lines = session.screen()
    head = next(i for i, line in enumerate(lines) if line.startswith("Trial name"))
    assert lines[head].split("  ")[0] == "Trial name"
    words = lines[head].replace("Trial name", "").replace("total time (s)", "time").split()
    assert words == ["status", "loc", "lr", "loss", "acc", "time", "iter"]
    assert lines[head + 2].split() == [
        *("train_abc_00000", "RUNNING", "10.0.0.7:4000", "0.1", "0.5", "0.25", "1.5", "1")
    ]


def test_the_end_leaves_the_final_table_and_no_hidden_cursor():
    experiment = Experiment()
    session = Session(experiment)
    for loss in (0.5, 0.3, 0.4):
        trial = experiment.run(loss)
        experiment.best = trial if loss == 0.3 else experiment.best
        session.refresh()
    experiment.run(0.9, status="ERROR", error=TRACEBACK)
    session.table.finish(experiment.status())
    raw = session.terminal.close()
    lines = screen(raw, 120)
    assert [line.split()[0] for line in lines if line.startswith("train_")] == [
        *("train_abc_00001", "train_abc_00002", "train_abc_00000", "train_abc_00003")
    ]
    assert "Best trial: train_abc_00001 with loss=0.3 and parameters={'lr': 0.2}" in lines
    assert any("/results/mnist/train_abc_00003/error.txt" in line for line in lines)
    assert raw.rindex("\x1b[?25h") > raw.rindex("\x1b[?25l")


def test_a_killed_process_leaves_the_cursor_visible():
    session = Session(Experiment())
    session.refresh()
    raw = session.terminal.close()  # without close() of the table
    assert raw.rindex("\x1b[?25h") > raw.rindex("\x1b[?25l")


@pytest.mark.parametrize(("columns", "rows"), [(160, 50), (80, 24), (40, 12), (20, 5)])
def test_it_never_outgrows_the_terminal(columns, rows):
    experiment = Experiment()
    session = Session(experiment, columns, rows)
    for number in range(60):
        params = {f"parameter_{i}": 0.123456789 * number for i in range(12)}
        trial = experiment.report(experiment.launch(experiment.create(params)), loss=1 / 3)
        experiment.best = trial
        if number % 3:
            experiment.end(trial)
    session.refresh()
    first = session.screen()
    assert len(first) <= rows
    assert all(len(line) <= columns for line in first)


def test_narrow_terminals_give_up_columns_and_say_which():
    experiment = Experiment()
    session = Session(experiment, 80, 24)
    params = dict.fromkeys(("alpha", "beta", "gamma", "delta", "epsilon"), 0.5)
    experiment.report(experiment.launch(experiment.create(params)), loss=0.5)
    session.refresh()
    lines = session.screen()
    head = next(line for line in lines if line.startswith("Trial name"))
    assert "alpha" in head
    assert "loss" in head
    assert "epsilon" not in head
    assert any(line.startswith("(no room for: loc,") and "epsilon" in line for line in lines)


def test_a_terminal_that_is_resized_is_followed():
    experiment = Experiment()
    experiment.report(experiment.launch(experiment.create({f"p{i}": 0.5 for i in range(9)})), x=1)
    session = Session(experiment, 60, 24)
    session.refresh()
    session.terminal.resize(200, 50)
    session.refresh()
    assert "p8" in session.terminal.close()


def test_what_the_driver_prints_goes_above_the_table(monkeypatch):
    session = Session(Experiment())
    monkeypatch.setattr(sys, "stdout", session.terminal.stream)
    session.refresh()
    print("from a callback")
    session.refresh()
    session.table.close()
    assert sys.stdout is session.terminal.stream
    lines = session.screen()
    assert lines[0] == "from a callback"
    assert "".join(lines[1:]).strip() == ""  # close() took the table away


def test_text_is_shown_between_refreshes_without_redrawing_the_status():
    experiment = Experiment()
    session = Session(experiment)
    session.refresh()
    session.table._due = math.inf
    session.table.write("soon\n")
    assert session.table.due() < math.inf
    experiment.run(0.5)
    session.table.refresh(experiment.status())
    assert session.table.due() == math.inf
    lines = session.screen()
    assert lines[0] == "soon"
    assert not any("train_abc" in line for line in lines)


def test_much_text_does_not_wait_and_does_not_pile_up():
    session = Session(Experiment())
    session.table.write("x" * 70_000 + "\n")
    assert session.table._text == []
    assert session.terminal.close().count("x") == 70_000


def test_long_lines_of_trials_are_kept_whole():
    session = Session(Experiment(), 40, 20)
    session.refresh()
    session.table.write("y" * 100 + "\n")
    session.refresh()
    assert [len(line) for line in session.screen()[:3]] == [40, 40, 20]


def test_names_with_control_characters_and_wide_letters_do_not_break_it():
    experiment = Experiment()
    session = Session(experiment, name="na\x1b[2Jme\n")
    experiment.report(
        experiment.launch(experiment.create({"日本": "\x1b[5A\nx", "[b]": "模型"})), loss=0.5
    )
    session.refresh()
    raw = session.terminal.close()
    assert "\x1b[5A" not in raw
    assert "\x1b[2J" not in raw
    assert screen(raw, 120)[0].startswith("name")
    assert "模型" in raw


def test_no_thread_is_started_and_a_second_thread_may_use_it():
    experiment = Experiment()
    session = Session(experiment)
    threads = {*threading.enumerate()}
    session.refresh()
    assert {*threading.enumerate()} <= threads
    experiment.run(0.5)
    worker = threading.Thread(target=session.refresh)
    worker.start()
    worker.join()
    session.table.close()
    raw = session.terminal.close()
    assert "train_abc_00000" in raw
    assert "".join(screen(raw, 120)).strip() == ""


def test_a_refresh_with_20000_trials_shows_a_screenful():
    experiment = Experiment()
    for _ in range(20_000 - 4):
        experiment.run(0.5)
    for _ in range(4):
        experiment.run(0.4, status="RUNNING")
    session = Session(experiment, 160, 50, total_trials=30_000)
    session.refresh()
    session.refresh(running=None)
    assert "... 19980 more trials not shown (19980 TERMINATED)" in session.screen()
