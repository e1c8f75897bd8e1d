import math
import subprocess
import sys

import pandas as pd
import pyarrow.parquet as pq
import pytest
from recording_helpers import created, launched, reported, write_journal

from tuner.experiment.journal_reader import JournalReader
from tuner.recording.results_table import ResultsTable


def table_of(folder, facts, **kwargs):
    write_journal(folder, facts)
    write_results_table(folder, **kwargs)
    assert not (folder / "results.parquet.new").exists()
    return pq.read_table(folder / "results.parquet")


def write_results_table(folder, **kwargs):
    table = ResultsTable(str(folder), **kwargs)
    for fact in JournalReader(str(folder), unpickle=False).read_all():
        table.take(fact)
    table.write()


def test_columns_are_trial_config_and_metrics(tmp_path):
    table = table_of(
        tmp_path,
        [created("a"), launched("a"), reported("a", 1, eval={"acc": 0.5}, date="today")],
    )
    assert table.column_names[:3] == ["trial_id", "config/lr", "config/net/layers"]
    row = table.to_pylist()[0]
    assert row["trial_id"] == "a"
    assert row["config/net/layers"] == 2
    assert row["eval/acc"] == 0.5
    assert row["date"] == "today"
    assert row["timesteps_total"] is None
    assert row["done"] is False


def test_values_of_any_kind_in_one_column(tmp_path):
    values = {
        "number": [1, 2.5, None, math.nan, 10**30],
        "mixed": [1, "one", [1], None, math.nan],
        "flags": [True, None, False, True, False],
        "lists": [[1, 2], [], None, [0.5], [3]],
        "odd": [["a", {}], {}, None, [None], b"x"],
        "never": [None] * 5,
        "text": ["ä", "", None, "x", "y"],
        "large": [10**30, 1, 2, 3, 10**400],
    }
    facts = [created("a", {}), launched("a")]
    rows = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
    facts += [reported("a", i, **row) for i, row in enumerate(rows, start=1)]
    columns = table_of(tmp_path, facts).to_pydict()
    assert columns["number"][:3] == [1.0, 2.5, None]
    assert math.isnan(columns["number"][3])
    assert columns["number"][4] == 1e30
    assert columns["mixed"] == ["1", "one", "[1]", None, "NaN"]
    assert columns["flags"] == values["flags"]
    assert columns["lists"] == values["lists"]
    assert columns["odd"] == ['["a", {}]', "{}", None, "[null]", "\"b'x'\""]
    assert columns["never"] == [None] * 5
    assert columns["text"] == ["ä", "", None, "x", "y"]
    assert columns["large"] == [1e30, 1.0, 2.0, 3.0, math.inf]


def test_lists_of_integers_stay_exact_and_nobody_takes_the_place_of_the_trials_id(tmp_path):
    first, second = reported("a", 1, n=[2**60 + 1], f=[1]), reported("a", 2, n=[], f=[0.5])
    first.result["trial_id"] = "mine"
    facts = [created("a"), launched("a"), first, second]
    table = table_of(tmp_path, facts)
    assert table["n"].to_pylist() == [[2**60 + 1], []]
    assert table["f"].to_pylist() == [[1.0], [0.5]]
    assert table["trial_id"].to_pylist() == ["a", "a"]


@pytest.mark.parametrize("row_group", [3, 100])
def test_row_groups_and_superseded_results(tmp_path, row_group):
    facts = [created("a"), created("b", number=1), launched("a"), launched("b")]
    facts += [reported(trial, i) for i in range(1, 5) for trial in "ab"]
    facts += [launched("a", 2, num_results=2), reported("a", 3, 2, late=1), launched("b", 2, 4)]
    facts += [reported("b", 5, 2), launched("a", 3, num_results=3), reported("a", 4, 3)]
    table = table_of(tmp_path, facts, row_group=row_group)
    rows = {
        trial: [
            (r["training_iteration"], r["attempt"])
            for r in table.to_pylist()
            if r["trial_id"] == trial
        ]
        for trial in "ab"
    }
    assert rows == {
        "a": [(1, 1), (2, 1), (3, 2), (4, 3)],
        "b": [(1, 1), (2, 1), (3, 1), (4, 1), (5, 2)],
    }
    assert table.column("late").to_pylist().count(None) == 8
    groups = pq.ParquetFile(tmp_path / "results.parquet").num_row_groups
    assert groups == (1 if row_group == 100 else 4)


def test_an_experiment_without_results(tmp_path):
    write_journal(tmp_path, [created("a"), launched("a")])
    write_results_table(tmp_path)
    assert len(pd.read_parquet(tmp_path / "results.parquet")) == 0


def test_a_config_that_differs_between_trials(tmp_path):
    facts = [created("a", {"opt": "sgd"}), created("b", {"opt": 3, "only": 1}), launched("a")]
    facts += [launched("b"), reported("a", 1), reported("b", 1)]
    columns = table_of(tmp_path, facts).to_pydict()
    assert columns["config/opt"] == ["sgd", "3"]
    assert columns["config/only"] == [None, 1]


def test_the_table_is_written_without_numpy_and_pandas(tmp_path):
    write_journal(tmp_path, [created("a"), launched("a"), reported("a", 1, sizes=[1, 2.5])])
    script = (
        "import sys\n"
        "from tuner.experiment.journal_reader import JournalReader\n"
        "from tuner.recording.results_table import ResultsTable, import_arrow_alone\n"
        f"table = ResultsTable({str(tmp_path)!r}, import_arrow=import_arrow_alone)\n"
        f"for fact in JournalReader({str(tmp_path)!r}).read_all():\n"
        "    table.take(fact)\n"
        "table.write()\n"
        "assert not {'numpy', 'pandas'} & set(sys.modules), 'imported'\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=240)
    table = pq.read_table(tmp_path / "results.parquet")
    assert table["sizes"].to_pylist() == [[1.0, 2.5]]


def test_what_a_column_holds_shows_late(tmp_path):
    facts = [created("a"), launched("a")]
    facts += [reported("a", i, loss=i) for i in range(1, 6)]
    facts += [reported("a", 6, loss=0.5), reported("a", 7, loss=7, extra="x")]
    whole = table_of(tmp_path, facts)
    grouped = table_of(tmp_path / "grouped", facts, row_group=2)
    assert grouped.schema == whole.schema
    assert grouped.to_pylist() == whole.to_pylist()
    assert whole["loss"].to_pylist() == [1.0, 2.0, 3.0, 4.0, 5.0, 0.5, 7.0]
    assert pq.ParquetFile(tmp_path / "grouped" / "results.parquet").num_row_groups == 4


def test_full_row_groups_are_written_while_more_comes(tmp_path):
    write_journal(tmp_path, [])
    table = ResultsTable(str(tmp_path), row_group=10)
    for fact in [created("a"), launched("a"), *(reported("a", i) for i in range(1, 36))]:
        table.take(fact)
    table.write()  # the journal has none of it
    rows = pq.read_table(tmp_path / "results.parquet")
    assert rows["training_iteration"].to_pylist() == [*range(1, 36)]


def test_a_row_group_that_could_not_be_written_is_written_at_the_end(tmp_path):
    facts = [created("a"), launched("a"), *(reported("a", i) for i in range(1, 6))]
    write_journal(tmp_path, facts)
    table = ResultsTable(str(tmp_path), row_group=2)
    (tmp_path / "results.parquet.new").mkdir()
    for fact in facts:
        table.take(fact)
    with pytest.raises(OSError, match=r"results\.parquet\.new"):
        table.write()
    (tmp_path / "results.parquet.new").rmdir()
    table.write()
    rows = pq.read_table(tmp_path / "results.parquet")
    assert rows["training_iteration"].to_pylist() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("row_group", [1, 100])
def test_what_utf8_cannot_say_is_escaped_in_names_and_values(tmp_path, row_group):
    config = {"k\ud800": {"n\udcff": "v\ud800"}}
    metrics = {"loss\ud800": 0.5, "deep\ud800": {"s": "t\ud800"}, "list": ["a\ud800"]}
    facts = [created("a", config), launched("a"), reported("a", 1, **metrics), reported("a", 2)]
    columns = table_of(tmp_path, facts, row_group=row_group).to_pydict()
    assert columns["config/k\\ud800/n\\udcff"] == ["v\\ud800", "v\\ud800"]
    assert columns["loss\\ud800"] == [0.5, None]
    assert columns["deep\\ud800/s"] == ["t\\ud800", None]
    assert columns["list"] == ['["a\\ud800"]', None]
