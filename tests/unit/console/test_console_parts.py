import io
import math
import os
import time

import numpy as np
import pytest
from console_helpers import TRACEBACK, Experiment, Terminal
from hypothesis import given
from hypothesis import strategies as st

from tuner.console.columns import Column, fit
from tuner.console.memory import memory_usage
from tuner.console.output import Output
from tuner.console.plain_lines import PlainLines
from tuner.console.rows import count, counts_text, pick_rows
from tuner.console.summary import best_line, number_line, resources_text, time_left
from tuner.console.text import (
    align_points,
    clean,
    display_width,
    exact,
    format_seconds,
    format_value,
    shorten,
    strip_escapes,
)
from tuner.console.text_table import error_lines, text_table
from tuner.experiment.best import find_best


@pytest.fixture
def experiment():
    return Experiment()


class Hostile:
    def __repr__(self):
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.123456789, "0.123457"),
        (1e-05, "1e-05"),
        (math.nan, "nan"),
        (-math.inf, "-inf"),
        (True, "True"),
        (10**20, "1" + "0" * 20),
        (np.float32(0.5), "0.5"),
        (np.int64(7), "7"),
        (None, ""),
        ("two\nlines\x1b[2J", "two lines"),
        (max, "max"),
        (Experiment, "Experiment"),
        ([1, 2], "[1, 2]"),
    ],
)
def test_format_value(value, text):
    assert format_value(value) == text


def test_large_and_hostile_values_are_cut_short():
    assert len(format_value(list(range(10**6)))) < 100
    assert len(format_value({"x" * 10**6: 1})) < 200
    assert "Hostile" in format_value(Hostile())


def test_exact_values_can_be_typed_again():
    values = [0.1 + 0.2, np.float64(0.1), True, 3, None, "a'b", [1, 2]]
    assert [eval(exact(value)) for value in values] == values


@given(st.text())
def test_clean_text_cannot_move_the_cursor(text):
    assert clean(text).isprintable()


@given(st.text(), st.integers(1, 30), st.booleans())
def test_shorten_keeps_to_the_width(text, width, keep_end):
    short = shorten(text, width, keep_end=keep_end)
    assert display_width(short) <= width
    if display_width(text) <= width:
        assert short == text


def test_only_colours_are_kept():
    assert strip_escapes("\x1b[31ma\x1b[2Kb\x1bMc", keep_colours=True) == "\x1b[31mabc\x1b[0m"
    assert strip_escapes("\x1b[31ma\x1b[2Kb\x1bMc", keep_colours=False) == "abc"


@given(st.lists(st.floats(), max_size=8))
def test_points_stand_below_each_other(numbers):
    texts = [format_value(number) for number in numbers]
    aligned = align_points(texts)
    assert [text.strip() for text in aligned] == texts
    assert len({text.index(".") for text in aligned if "." in text}) <= 1
    assert len(set(map(len, aligned))) <= 1


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0s"), (9.96, "10s"), (59.6, "1m 00s"), (3599.7, "1h 00m"), (90_000, "1d 01h")],
)
def test_format_seconds(seconds, text):
    assert format_seconds(seconds) == text


def test_wide_letters_keep_a_table_straight():
    lines = text_table([Column("name", ["模型", "x"]), Column("n", ["1", "22"], right=True)])
    assert {display_width(line) for line in lines} == {13}
    assert lines[3] == "| 模型 |  1 |"


def test_columns_are_left_out_by_rank_then_from_the_right():
    columns = [
        Column(name, ["x" * 8], expendable=rank)
        for name, rank in zip("abcde", [0, 2, 1, 2, 0], strict=True)
    ]
    kept = [[c.header for c in fit(columns, width, gap=2)] for width in (48, 47, 37, 27, 17, 1)]
    assert kept == [list("abcde"), list("abce"), list("ace"), list("ae"), list("ae"), list("ae")]


def test_error_paths_stay_whole_on_narrow_terminals(experiment):
    trial = experiment.run(0.5, status="ERROR", error=TRACEBACK)
    assert error_lines([trial], 1, width=50) == [
        "Number of errored trials: 1",
        "- train_abc_00000: /results/mnist/train_abc_00000/error.txt",
    ]


def test_running_trials_are_found_wherever_they_are(experiment):
    early = experiment.run(0.5, status="RUNNING")
    for _ in range(30):
        experiment.run(0.5)
    late = experiment.run(0.5, status="RUNNING")
    trials, counts = experiment.table.trials, experiment.table.counts
    assert pick_rows(trials, counts, 3).trials[:2] == [early, late]
    assert pick_rows(trials, counts, 1).trials == [early]
    assert pick_rows(trials, counts, 1).more == (
        "... 31 more trials not shown (1 RUNNING, 30 TERMINATED)"
    )
    assert pick_rows(trials, counts, 40).more == ""
    assert count(trials) == counts


@pytest.mark.parametrize(("mode", "best"), [("min", 2), ("max", 3)])
def test_the_best_trial_ignores_nan_and_missing_values(experiment, mode, best):
    experiment.create()
    experiment.run(math.nan)
    for loss in (0.25, 0.75, np.float64(0.5)):
        experiment.run(loss)
    assert find_best(experiment.table.trials, "loss", mode).number == best
    assert find_best(experiment.table.trials[:2], "loss", mode) is None


def test_counts_and_numbers():
    counts = {"TERMINATED": 2, "RUNNING": 4, "PENDING": 0, "ODD": 1}
    assert counts_text(counts) == "4 RUNNING, 2 TERMINATED, 1 ODD"
    assert number_line({"RUNNING": 4}, None) == "Number of trials: 4 (4 RUNNING)"
    assert number_line({"RUNNING": 4}, 10) == "Number of trials: 4/10 (4 RUNNING)"
    assert number_line({"RUNNING": 4}, 3) == "Number of trials: 4 (4 RUNNING)"


def test_resources(experiment):
    status = experiment.status(used={"CPU": 0.1 + 0.2, "disk": 1}, total={"CPU": 8, "disk": 2})
    assert resources_text(status) == "0.3/8 CPUs, 0/0 GPUs, 1/2 disk"
    assert resources_text(status, brief=True) == "0.3/8 CPUs, 1/2 disk"


def test_trials_that_wait_for_resources_are_counted(experiment):
    status = experiment.status(used={"CPU": 4}, total={"CPU": 4}, num_waiting=3)
    assert resources_text(status, brief=True) == "4/4 CPUs (3 wait to begin)"


def test_time_left(experiment):
    assert time_left(experiment.info(), experiment.status()) is None
    for _ in range(4):
        experiment.run(0.5)
    info = experiment.info()
    assert time_left(info, experiment.status(elapsed_s=20.0, total_trials=10)) == 30.0
    assert time_left(info, experiment.status(elapsed_s=20.0, total_trials=4)) == 0.0
    assert time_left(info, experiment.status(elapsed_s=20.0, total_trials=None)) is None
    status = experiment.status(elapsed_s=20.0)
    assert time_left(experiment.info(finished_before=2), status) == 60.0
    assert time_left(experiment.info(finished_before=4), status) is None


def test_a_huge_configuration_stays_on_a_few_lines(experiment):
    trial = experiment.create({f"p{i}": "x" * 50 for i in range(100)})
    assert len(best_line(trial, None)) < 500


def test_memory_of_this_machine_makes_sense():
    used, total = memory_usage()
    assert 0 < used < total


def test_memory_of_a_container_is_its_share(tmp_path):
    machine = "MemTotal: 16000 kB\nMemAvailable: 12000 kB\n"
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text(machine)
    assert memory_usage(str(tmp_path)) == (4000 * 1024, 16000 * 1024)
    group = tmp_path / "sys/fs/cgroup"
    group.mkdir(parents=True)
    (group / "memory.max").write_text("max\n")
    assert memory_usage(str(tmp_path)) == (4000 * 1024, 16000 * 1024)
    (group / "memory.max").write_text("1000000\n")
    (group / "memory.current").write_text("600000\n")
    (group / "memory.stat").write_text("anon 1\ninactive_file 100000\n")
    assert memory_usage(str(tmp_path)) == (500_000, 1_000_000)
    assert memory_usage(str(tmp_path / "elsewhere")) is None


def test_output_survives_a_closed_stream_and_a_narrow_encoding():
    stream = io.StringIO()
    stream.close()
    closed = Output(stream)
    closed.write("text")
    closed.flush()
    assert not closed.isatty()
    raw = io.BytesIO()
    narrow = Output(io.TextIOWrapper(raw, encoding="ascii"))
    narrow.write("é…\n")
    narrow.flush()
    assert raw.getvalue() == b"??\n"
    Output(None).write("nowhere")


def test_output_knows_the_size_of_its_own_terminal(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    terminal = Terminal(columns=91, rows=17)
    output = Output(terminal.stream)
    assert output.size() == (91, 17)
    assert output.width() == 91
    terminal.resize(0, 0)
    assert output.size() == (80, 24)
    monkeypatch.setenv("COLUMNS", "55")
    assert output.width() == 55
    assert Output(io.StringIO()).width() == 55
    terminal.close()
    monkeypatch.delenv("COLUMNS")
    assert Output(io.StringIO()).width() is None


def test_plain_lines(experiment):
    stream = io.StringIO()
    lines = PlainLines(Output(stream))
    lines.start(experiment.info())
    experiment.best = experiment.run(0.5)
    experiment.run(0.75, status="RUNNING")
    experiment.run(0.75, status="ERROR", error=TRACEBACK)
    lines.refresh(experiment.status())
    lines.finish(experiment.status())
    first, second, *end = stream.getvalue().splitlines()
    assert first == "mnist: 10 trials, FIFO scheduling algorithm, results in /results/mnist"
    assert second[10:] == (
        " mnist: 2/10 trials finished, 1 running, 1 failed | 1/4 CPUs | "
        "20s elapsed, about 1m 20s left | best loss=0.5 (train_abc_00000)"
    )
    assert end[1] == (
        "mnist ended after 20s. Number of trials: 3/10 (1 RUNNING, 1 TERMINATED, 1 ERROR)"
    )
    assert end[-2:] == [
        "Best trial: train_abc_00000 with loss=0.5 and parameters={'lr': 0.1}",
        "Results: /results/mnist",
    ]


@pytest.mark.parametrize(("elapsed", "period"), [(1, 5), (400, 20), (100_000, 60)])
def test_plain_lines_become_rarer(experiment, elapsed, period):
    lines = PlainLines(Output(io.StringIO()))
    lines.start(experiment.info())
    assert lines.due() - time.monotonic() <= 1
    before = time.monotonic()
    lines.refresh(experiment.status(elapsed_s=elapsed))
    assert before + period <= lines.due() <= time.monotonic() + period


def test_an_experiment_without_trials_or_metric_ends_well(experiment):
    stream = io.StringIO()
    lines = PlainLines(Output(stream))
    lines.start(experiment.info(metric=None, mode=None, total_trials=None))
    lines.refresh(experiment.status(total={}, total_trials=None))
    lines.finish(experiment.status(total_trials=None))
    assert "mnist: 0 trials finished, 0 running | 20s elapsed\n" in stream.getvalue()
    assert "Number of trials: 0\nResults: /results/mnist\n" in stream.getvalue()


def test_a_path_at_home_is_short_on_a_terminal(monkeypatch):
    from tuner.console.live_table import _short_path

    monkeypatch.setenv("HOME", "/home/ann")
    assert _short_path(os.path.join("/home/ann", "tuner_results", "x")) == "~/tuner_results/x"
    assert _short_path("/home/anna/x") == "/home/anna/x"
    assert _short_path("s3://bucket/x") == "s3://bucket/x"
