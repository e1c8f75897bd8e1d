from __future__ import annotations

import math
from pathlib import Path

import pyarrow.parquet

from tuner.tables import to_frame, to_table


def test_a_table_holds_whatever_was_reported(tmp_path: Path) -> None:
    table = to_table(
        [
            {"mixed": 1, "list": [1, 2], "big": 2**70, "late": None, "empty": {}, "f": math.tanh},
            {
                "mixed": "a\ud800",
                "odd": {(1, 2): 3},
                "list": [],
                "number": 1,
                "nan": math.nan,
                "late": 3,
            },
            {"mixed": [True], "number": 2.5},
        ]
    )
    assert table["mixed"].to_pylist() == ["1", "a\\ud800", "[true]"]
    assert table["list"].to_pylist() == [[1, 2], [], None]
    assert table["big"].to_pylist() == [str(2**70), None, None]
    assert table["late"].to_pylist() == [None, 3, None]
    assert table["number"].to_pylist() == [None, 1.0, 2.5]
    assert math.isnan(table["nan"].to_pylist()[1])
    assert table["empty"].to_pylist() == ["{}", None, None]
    assert table["odd"].to_pylist() == [None, "{(1, 2): 3}", None]
    assert "tanh" in table["f"].to_pylist()[0]
    pyarrow.parquet.write_table(table, tmp_path / "table.parquet")
    back = pyarrow.parquet.read_table(tmp_path / "table.parquet")
    assert back.column_names == table.column_names
    assert back["mixed"].equals(table["mixed"])
    assert to_table([]).num_rows == 0


def test_what_utf8_cannot_say_is_escaped_in_names_and_values() -> None:
    rows = [
        {"loss\ud800": 1, "list": ["a\ud800"], "dict": [{"b\udcff": 2}], "text\ud800": "c\ud800"}
    ]
    table = to_table(rows)
    assert table.column_names == ["loss\\ud800", "list", "dict", "text\\ud800"]
    assert [column.to_pylist() for column in table.columns] == [
        [1],
        ['["a\\ud800"]'],
        ['[{"b\\udcff": 2}]'],
        ["c\\ud800"],
    ]
    frame = to_frame(rows)
    assert list(frame.columns) == table.column_names
    assert frame["loss\\ud800"].tolist() == [1]
    assert frame["text\\ud800"].tolist() == ["c\\ud800"]


def test_a_frame_holds_whatever_was_reported() -> None:
    frame = to_frame(
        [{"text": "a\ud800", "list": [1], "loss": math.nan}, {"text": "b", "big": 2**70}]
    )
    assert frame["text"].tolist() == ["a\\ud800", "b"]
    assert frame["list"].tolist()[0] == [1]
    assert frame["big"].tolist()[1] == 2**70
    assert frame["loss"].isna().all()
