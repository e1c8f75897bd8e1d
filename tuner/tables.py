"""Results as an Arrow table or a pandas frame, whatever was reported."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from tuner.utf8 import escaped

if TYPE_CHECKING:
    import pandas
    import pyarrow


def to_table(rows: Iterable[Mapping[str, Any]]) -> pyarrow.Table:
    """A table with a column for each key of any row.

    A row without the key has null there; NaN stays NaN. A column whose values have no common
    Arrow type holds them as text, as JSON. What UTF-8 cannot say is escaped, in names too.

    Args:
        rows: Flat dictionaries.

    Example:
        >>> to_table([{"loss": 0.5}, {"loss": 0.25, "note": "best"}]).to_pylist()
        [{'loss': 0.5, 'note': None}, {'loss': 0.25, 'note': 'best'}]
    """
    import pyarrow

    columns: dict[str, list[Any]] = {}
    count = 0
    for row in rows:
        for name, value in row.items():
            column = columns.get(name)
            if column is None:
                column = columns[name] = []
            if len(column) < count:
                column.extend([None] * (count - len(column)))
            column.append(value)
        count += 1
    for column in columns.values():
        column.extend([None] * (count - len(column)))
    names = [escaped(name) for name in columns]
    return pyarrow.table([_array(column) for column in columns.values()], names)


def to_frame(rows: Iterable[Mapping[str, Any]]) -> pandas.DataFrame:
    """A frame with a column for each key of any row.

    Where pandas holds text as UTF-8, what UTF-8 cannot say is escaped, as in `to_table`.

    Args:
        rows: Flat dictionaries.

    Example:
        >>> to_frame([{"loss": 0.5}, {"loss": 0.25}])["loss"].tolist()
        [0.5, 0.25]
    """
    import pandas

    rows = list(rows)
    try:
        return pandas.DataFrame(rows)
    except UnicodeEncodeError:
        return pandas.DataFrame([_escaped(row) for row in rows])


def _escaped(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        escaped(key): escaped(value) if isinstance(value, str) else value
        for key, value in row.items()
    }


def _array(column: list[Any]) -> pyarrow.Array:
    import pyarrow

    try:
        array = pyarrow.array(column)
    except (pyarrow.ArrowException, OverflowError, ValueError, TypeError):
        return _text(column)
    return _text(column) if _has_empty_struct(array.type) else array


def _text(column: list[Any]) -> pyarrow.Array:
    import pyarrow

    texts = [None if value is None else _as_text(value) for value in column]
    return pyarrow.array(texts, pyarrow.string())


def _as_text(value: Any) -> str:
    text = value if isinstance(value, str) else _as_json(value)
    return escaped(text)


def _as_json(value: Any) -> str:
    try:
        return json.dumps(value, default=repr)
    except (TypeError, ValueError):  # keys that are no strings, cycles
        return repr(value)


def _has_empty_struct(kind: pyarrow.DataType) -> bool:
    """Whether a value is an empty dictionary, which Parquet cannot hold."""
    import pyarrow

    if pyarrow.types.is_struct(kind):
        return kind.num_fields == 0 or any(
            _has_empty_struct(kind.field(index).type) for index in range(kind.num_fields)
        )
    return pyarrow.types.is_list(kind) and _has_empty_struct(kind.value_type)
