import contextlib
import inspect
import io
import json
import time

import nbclient
import nbformat
import pytest
from console_helpers import TRACEBACK, Experiment, Terminal

from tuner.console.cli_reporter import CLIReporter
from tuner.console.notebook_reporter import JupyterNotebookReporter, in_notebook
from tuner.console.progress_reporter import ProgressReporter
from tuner.errors import ConfigError


@pytest.fixture
def experiment():
    return Experiment()


def printed(reporter, trials, done=False, sys_info=()):
    with contextlib.redirect_stdout(io.StringIO()) as stream:
        reporter.report(trials, done, *sys_info)
    return stream.getvalue()


def table(text):
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("| ")
    ]


def test_a_block_is_that_of_the_user_guide(experiment, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 1_700_000_000.0)
    reporter = CLIReporter()
    reporter.setup(start_time=None, total_samples=4, metric="loss", mode="min")
    for lr in (0.303706, 0.0676):
        experiment.report(experiment.launch(experiment.create({"lr": lr})), acc=0.1289, loss=lr * 2)
    experiment.create({"lr": 0.5})
    text = printed(reporter, experiment.table.trials, sys_info=("Memory: 1/2", "Using FIFO"))
    lines = text.splitlines()
    assert lines[0] == "== Status =="
    assert lines[1].startswith("Current time: ")
    assert lines[1].endswith(" (running for 00:00:00)")
    assert lines[2:] == [
        "Memory: 1/2",
        "Using FIFO",
        "Current best trial: train_abc_00001 with loss=0.1352 and parameters={'lr': 0.0676}",
        "Result logdir: /results/mnist",
        "Number of trials: 3/4 (2 RUNNING, 1 PENDING)",
        "+-----------------+---------+---------------+----------+----------+--------"
        "+----------------+------+",
        "| Trial name      | status  | loc           |       lr |     loss |    acc "
        "| total time (s) | iter |",
        "|-----------------+---------+---------------+----------+----------+--------"
        "+----------------+------|",
        "| train_abc_00000 | RUNNING | 10.0.0.7:4000 | 0.303706 | 0.607412 | 0.1289 "
        "|            1.5 |    1 |",
        "| train_abc_00001 | RUNNING | 10.0.0.7:4001 | 0.0676   | 0.1352   | 0.1289 "
        "|            1.5 |    1 |",
        "| train_abc_00002 | PENDING |               | 0.5      |          |        "
        "|                |      |",
        "+-----------------+---------+---------------+----------+----------+--------"
        "+----------------+------+",
        "",
    ]


def test_metric_columns_given_are_all_that_is_shown(experiment):
    experiment.report(experiment.launch(experiment.create()), loss=0.5, acc=0.25, eval={"f1": 0.75})
    reporter = CLIReporter(metric_columns={"eval/f1": "F1", "training_iteration": "n"})
    reporter.add_metric_column("loss")
    assert table(printed(reporter, experiment.table.trials))[0] == [
        *("Trial name", "status", "loc", "lr", "F1", "n", "loss")
    ]
    assert table(printed(reporter, experiment.table.trials))[1][-3:] == ["0.75", "1", "0.5"]


def test_a_column_added_to_the_chosen_ones(experiment):
    experiment.report(experiment.launch(experiment.create()), mean_loss=0.5, note="fine")
    reporter = CLIReporter()
    reporter.add_metric_column("note", "a note")
    assert table(printed(reporter, experiment.table.trials))[0][4:] == [
        *("loss", "a note", "total time (s)", "iter")
    ]
    with pytest.raises(ConfigError, match=r"metric='note' is already a column"):
        reporter.add_metric_column("note")


def test_parameter_columns(experiment):
    trial = experiment.create({"a": 1, "b/c": 2})
    trial.config = {"a": 1, "b": {"c": 2}, "constant": {"d": "text"}}
    reporter = CLIReporter(parameter_columns={"b/c": "C", "constant/d": "D"}, metric_columns=[])
    assert table(printed(reporter, [trial]))[0][3:] == ["C", "D"]
    assert table(printed(reporter, [trial]))[1][3:] == ["2", "text"]
    reporter.add_parameter_column("a")
    assert table(printed(reporter, [trial]))[0][3:] == ["C", "D", "a"]
    with pytest.raises(ConfigError, match=r"parameter='a' is already a column"):
        reporter.add_parameter_column("a")


def test_metrics_are_chosen_up_to_the_limit_and_stay(experiment):
    trial = experiment.report(
        experiment.launch(experiment.create()),
        text="no",
        flag=True,
        m1=1,
        m2=2.5,
        m3=3,
        timesteps_total=7,
        mean_accuracy=0.5,
        episode_reward_mean=9,
    )
    reporter = CLIReporter(infer_limit=2)
    head = ["m1", "m2", "acc", "reward", "total time (s)", "iter", "ts"]
    assert table(printed(reporter, [trial]))[0][4:] == head
    experiment.report(trial, m4=1)
    assert table(printed(reporter, [trial]))[0][4:] == head[:-1]
    reporter.setup()
    assert table(printed(reporter, [trial]))[0][4:] == ["m4", "total time (s)", "iter"]


def test_the_tuned_metric_comes_first_whatever_it_is(experiment):
    trial = experiment.report(
        experiment.launch(experiment.create()), a=1, b=2, c=3, eval={"top1": 0.9}
    )
    reporter = CLIReporter(metric="eval/top1", mode="max", infer_limit=1)
    text = printed(reporter, [trial])
    assert table(text)[0][4:] == ["eval/top1", "a", "total time (s)", "iter"]
    assert "with eval/top1=0.9 and parameters={'lr': 0.1}" in text


def test_rows_are_limited_running_first(experiment):
    for _ in range(5):
        experiment.run(0.5)
    running = [experiment.run(0.5, status="RUNNING") for _ in range(2)]
    experiment.end(experiment.launch(experiment.run(0.4, status="PENDING")), "PAUSED")
    for _ in range(3):
        experiment.create()
    text = printed(CLIReporter(max_progress_rows=4), experiment.table.trials)
    names = [row[0] for row in table(text)[1:]]
    assert names[:2] == [str(trial) for trial in running]
    assert names[2:] == ["train_abc_00007", "train_abc_00004"]
    assert "... 7 more trials not shown (3 PENDING, 4 TERMINATED)" in text


def test_sort_by_metric(experiment):
    running = experiment.run(9.0, status="RUNNING")
    losses = [0.5, float("nan"), 0.1, 0.9, 0.3]
    for loss in losses:
        experiment.run(loss)
    experiment.create()
    reporter = CLIReporter(metric="loss", mode="min", sort_by_metric=True, metric_columns=["loss"])
    rows = table(printed(reporter, experiment.table.trials))[1:]
    assert rows[0][0] == str(running)
    assert [row[-1] for row in rows[1:]] == ["0.1", "0.3", "0.5", "0.9", "nan", ""]
    reporter = CLIReporter(metric="loss", mode="max", metric_columns=["loss"])
    rows = table(printed(reporter, experiment.table.trials, done=True))[1:]
    assert [row[-1] for row in rows] == ["9", "0.9", "0.5", "0.3", "0.1", "nan", ""]


def test_failed_trials_have_a_table_with_their_error_files(experiment):
    for _ in range(4):
        experiment.run(0.5, status="ERROR", error=TRACEBACK)
    text = printed(CLIReporter(max_error_rows=3), experiment.table.trials)
    assert "Number of errored trials: 4" in text
    errors = [row for row in table(text) if len(row) == 3]
    assert errors[0] == ["Trial name", "# failures", "error file"]
    assert errors[3] == ["train_abc_00002", "1", "/results/mnist/train_abc_00002/error.txt"]
    assert len(errors) == 4
    assert "... 1 more not shown" in text


def test_no_intermediate_tables(experiment):
    experiment.run(0.5)
    reporter = CLIReporter(print_intermediate_tables=False)
    assert table(printed(reporter, experiment.table.trials)) == []
    assert len(table(printed(reporter, experiment.table.trials, done=True))) == 2


def test_nothing_to_show_yet():
    assert printed(CLIReporter(), []).splitlines()[2:] == ["Number of trials: 0", ""]


def test_long_values_and_titles_are_abbreviated(experiment):
    trial = experiment.create({"optimizer/schedule/warmup": "a very long value indeed"})
    reporter = CLIReporter(max_column_length=10)
    head, row = table(printed(reporter, [trial]))
    assert head[3] == "…le/warmup"
    assert row[3] == "a very lo…"


def test_a_terminal_limits_the_width_and_a_pipe_does_not(experiment, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    trial = experiment.create({f"parameter_{i}": 0.5 for i in range(20)})
    reporter = CLIReporter()
    assert "parameter_19" in printed(reporter, [trial])
    terminal = Terminal(columns=100)
    with contextlib.redirect_stdout(terminal.stream):
        reporter.report([trial], False)
    text = terminal.close()
    lines = [line for line in text.splitlines() if line.startswith(("|", "+"))]
    assert lines
    assert max(map(len, lines)) <= 100
    assert "(no room for: loc, parameter_" in text


def test_it_reports_at_its_frequency_and_at_the_end():
    reporter = CLIReporter(max_report_frequency=1000)
    assert reporter.should_report([])
    assert not reporter.should_report([])
    assert reporter.should_report([], done=True)
    assert CLIReporter(max_report_frequency=0).should_report([])


def test_its_own_metric_stays_and_a_told_one_is_replaced():
    own = CLIReporter(metric="acc", mode="max")
    own.setup(metric="loss", mode="min")
    assert own.set_search_properties("loss", "min") is False
    assert (own._metric, own._mode) == ("acc", "max")
    told = CLIReporter()
    told.setup(metric="loss", mode="min")
    told.setup(metric="acc", mode="max")
    assert (told._metric, told._mode) == ("acc", "max")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"metric_columns": "loss"}, r"metric_columns='loss' must be a list .* \['loss'\]"),
        ({"mode": "maximize"}, r"mode='maximize' must be 'min' or 'max'"),
        ({"metric": "loss"}, r"metric='loss' needs a mode"),
        ({"max_progress_rows": -1}, r"max_progress_rows=-1 must be a number, 0 or more"),
        ({"max_report_frequency": "5"}, r"max_report_frequency='5' must be a number"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ConfigError, match=message):
        CLIReporter(**arguments)


def test_a_subclass_may_replace_any_part(experiment):
    class Mine(CLIReporter):
        def _print(self, msg):
            print(f"<{msg.splitlines()[0]}>")

    assert printed(Mine(), [experiment.create()]) == "<== Status ==>\n"


def test_the_base_says_what_to_define():
    class Nothing(ProgressReporter):
        pass

    Nothing().setup(1.0, 2, "loss", "min", extra=3)
    with pytest.raises(NotImplementedError, match=r"Nothing must define should_report"):
        Nothing().should_report([])
    with pytest.raises(NotImplementedError, match=r"Nothing must define report"):
        Nothing().report([], False)


@pytest.mark.parametrize("name", ["CLIReporter", "JupyterNotebookReporter", "ProgressReporter"])
def test_signatures_are_those_of_ray(name):
    theirs = getattr(pytest.importorskip("ray.tune"), name)
    ours = {
        "CLIReporter": CLIReporter,
        "JupyterNotebookReporter": JupyterNotebookReporter,
        "ProgressReporter": ProgressReporter,
    }[name]
    for method, function in inspect.getmembers(theirs, inspect.isfunction):
        if method == "__init__" or not method.startswith("_"):
            expected = inspect.signature(function).parameters
            given = inspect.signature(getattr(ours, method)).parameters
            assert list(given) == list(expected), method
            for parameter in expected:
                assert given[parameter].default == expected[parameter].default, parameter


def test_outside_of_a_notebook_text_is_printed(experiment, caplog):
    assert not in_notebook()
    reporter = JupyterNotebookReporter()
    reporter.setup()
    assert "not a notebook" in caplog.text
    assert "== Status ==" in printed(reporter, [experiment.create()])


def test_html_is_escaped(experiment):
    trial = experiment.create({"<script>": "<b>&"}, name="<i>name</i>")
    experiment.report(experiment.launch(trial), loss=0.5)
    html = JupyterNotebookReporter()._progress_html([trial], False, "<u>info</u>")
    assert "&lt;i&gt;name&lt;/i&gt;" in html
    assert "&lt;b&gt;&amp;" in html
    assert not any(tag in html for tag in ("<script>", "<i>", "<b>&", "<u>"))


def test_in_a_notebook_one_display_is_replaced_in_place(tmp_path):
    notebook = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_code_cell(
                f"import sys; sys.path.insert(0, {__file__.rpartition('/')[0]!r})\n"
                "from console_helpers import Experiment\n"
                "from tuner.console.console import Console\n"
                "print('before')\n"
                "experiment = Experiment()\n"
                "console = Console(1)\n"
                "console.start(experiment.info())\n"
                "trial = experiment.run(0.5)\n"
                "console.refresh(experiment.status())\n"
                "console.trial_output(trial, b'hello\\n')\n"
                "experiment.run(0.25)\n"
                "console.finish(experiment.status())\n"
            )
        ]
    )
    done = nbclient.NotebookClient(notebook, timeout=240, resources={"metadata": {"path": "."}})
    outputs = done.execute().cells[0].outputs
    shown = [output for output in outputs if output.output_type == "display_data"]
    texts = [output.text for output in outputs if output.output_type == "stream"]
    assert len(shown) == 1, json.dumps(outputs)
    html = shown[0]["data"]["text/html"]
    assert "train_abc_00001" in html
    assert "Number of trials: 2/10 (2 TERMINATED)" in html
    assert texts == ["before\n", "(train_abc_00000) hello\n"]


def test_in_a_notebook_what_was_shown_before_can_be_cleared():
    notebook = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_code_cell(
                "from tuner.callbacks import JupyterNotebookReporter\n"
                "print('before')\n"
                "reporter = JupyterNotebookReporter(overwrite=True)\n"
                "reporter.setup()\n"
                "print('output of a trial')\n"
                "reporter.report([], False)\n"
                "print('more')\n"
                "reporter.report([], True)\n"
            )
        ]
    )
    done = nbclient.NotebookClient(notebook, timeout=240, resources={"metadata": {"path": "."}})
    outputs = done.execute().cells[0].outputs
    texts = [output.text for output in outputs if output.output_type == "stream"]
    assert texts == ["output of a trial\n", "more\n"]
    assert sum(output.output_type == "display_data" for output in outputs) == 1


@pytest.mark.parametrize("columns", [3, "loss"])
def test_columns_are_a_list_or_a_dictionary(columns):
    with pytest.raises(ConfigError, match="must be a list of names"):
        CLIReporter(metric_columns=columns)
