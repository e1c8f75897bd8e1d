"""`results.parquet`: all results of all trials of an experiment in one table."""

from __future__ import annotations

import itertools
import json
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from importlib.abc import MetaPathFinder
from typing import TYPE_CHECKING, Any, NamedTuple

from tuner.experiment.events import (
    TrialChanged,
    TrialCreated,
    TrialLaunched,
    TrialResult,
    settle,
)
from tuner.experiment.journal_reader import JournalReader
from tuner.flatten import flatten
from tuner.layout import RESULTS_FILE
from tuner.recording.json import plain

if TYPE_CHECKING:
    import pyarrow as pa

ROW_GROUP = 32768

# What a column holds; but for the last two, the names of pyarrow's types.
_NULL, _BOOL, _INT, _FLOAT, _TEXT = "null", "bool_", "int64", "float64", "string"
_INTS, _FLOATS = "list of int64", "list of float64"
_KINDS = {type(None): _NULL, bool: _BOOL, int: _INT, float: _FLOAT}
_INT64 = range(-(2**63), 2**63)


class _Row(NamedTuple):
    place: int  # in the journal
    position: int  # among the trial's results that were valid then
    values: dict[str, Any]


def write_results_table(experiment_path: str, *, row_group: int = ROW_GROUP) -> None:
    """Writes `results.parquet` from the experiment's journal; readers see all of it or nothing.

    Its columns are `trial_id`, `config/<parameter>` for all of the configuration that the
    trial had then, and the metrics, nested keys joined by `/`. Results that a later attempt
    superseded are left out. A column of integers and floats holds floats, and so do lists of them;
    one of other values, or without a common type, holds text, as JSON.

    Args:
        experiment_path: The experiment's folder.
        row_group: Number of rows that are in memory at once.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    history = _History(experiment_path)
    kinds: dict[str, str] = {}
    first: list[_Row] = []  # one more than a row group, if there are so many
    for row in history.read():
        _merge_kinds(kinds, row.values)
        if len(first) <= row_group:
            first.append(row)
    schema = pa.schema([(name, _arrow_type(kinds[name])) for name in sorted(kinds, key=_place)])
    path = os.path.join(experiment_path, RESULTS_FILE)
    with pq.ParquetWriter(f"{path}.new", schema) as writer:
        if len(first) <= row_group:
            writer.write_table(_table(history.valid(first), schema))
        else:
            first.clear()
            for rows in _batches(history.read(), row_group):
                writer.write_table(_table(history.valid(rows), schema))
    os.replace(f"{path}.new", path)


def import_arrow_alone() -> None:
    """Imports pyarrow without numpy and pandas, which takes a third of the time.

    pyarrow looks for them once and then does without, so nothing else in the process may want
    its arrays as theirs.
    """
    hiding = _Hide(frozenset({"numpy", "pandas"}))
    sys.meta_path.insert(0, hiding)
    try:
        import pyarrow as pa
        import pyarrow.parquet

        pa.array([0])
    finally:
        sys.meta_path.remove(hiding)


class _Hide(MetaPathFinder):
    """Makes the import of some packages fail."""

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        if fullname in self._names:
            raise ModuleNotFoundError(fullname)


class _History:
    """The results in a journal as flat rows, and which of them were superseded."""

    def __init__(self, experiment_path: str) -> None:
        self._path = experiment_path
        # For each trial, where in the journal it went back, and to how many results.
        self._rewinds: dict[str, dict[int, int]] = defaultdict(dict)

    def read(self) -> Iterator[_Row]:
        """All rows in order."""
        configs: dict[str, dict[str, Any]] = {}
        counts: Counter[str] = Counter()
        reader = JournalReader(self._path, unpickle=False)
        for place, fact in enumerate(reader.read_all()):
            if isinstance(fact, TrialResult):
                settle(fact)
                values = {**flatten(fact.result), **configs[fact.trial_id]}
                yield _Row(place, counts[fact.trial_id], values)
                counts[fact.trial_id] += 1
            elif isinstance(fact, TrialLaunched) and fact.attempt > 1:
                self._rewinds[fact.trial_id][place] = fact.num_results
                counts[fact.trial_id] = fact.num_results
            elif isinstance(fact, TrialCreated | TrialChanged) and fact.config is not None:
                config = flatten({"config": fact.config})
                configs[fact.trial_id] = {"trial_id": fact.trial_id, **config}

    def valid(self, rows: list[_Row]) -> list[dict[str, Any]]:
        """The values of those rows that count, once all of the journal has been read."""
        return [row.values for row in rows if not self._is_superseded(row)]

    def _is_superseded(self, row: _Row) -> bool:
        rewinds = self._rewinds.get(row.values["trial_id"])
        if rewinds is None:
            return False
        return any(row.place < at and row.position >= kept for at, kept in rewinds.items())


def _place(name: str) -> tuple[bool, bool]:
    return name != "trial_id", not name.startswith("config/")


def _merge_kinds(kinds: dict[str, str], row: dict[str, Any]) -> None:
    for name, value in row.items():
        kind = _KINDS.get(type(value)) or _other_kind(value)
        known = kinds.get(name)
        if kind is _INT and value not in _INT64:
            kind = _FLOAT
        if known is None:
            kinds[name] = kind
        elif kind is not known:
            kinds[name] = _common_kind(known, kind)


def _other_kind(value: Any) -> str:
    if type(value) is not list or not all(type(item) in (int, float) for item in value):
        return _TEXT
    return _INTS if all(type(item) is int and item in _INT64 for item in value) else _FLOATS


def _arrow_type(kind: str) -> pa.DataType:
    import pyarrow as pa

    if kind in (_INTS, _FLOATS):
        return pa.list_(pa.int64() if kind == _INTS else pa.float64())
    return getattr(pa, kind)()


def _common_kind(one: str, other: str) -> str:
    if one == _NULL or other == _NULL:
        return one if other == _NULL else other
    if {one, other} == {_INTS, _FLOATS}:
        return _FLOATS
    return _FLOAT if {one, other} == {_INT, _FLOAT} else _TEXT


def _table(rows: list[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    import pyarrow as pa

    columns = [_column([row.get(f.name) for row in rows], f.type) for f in schema]
    return pa.table(columns, schema=schema)


def _column(values: list[Any], kind: pa.DataType) -> pa.Array:
    import pyarrow as pa

    try:
        return pa.array(values, kind)
    except (pa.ArrowException, TypeError, UnicodeError, OverflowError):
        convert = _to_text if pa.types.is_string(kind) else _to_floats
        return pa.array([None if v is None else convert(v) for v in values], kind)


def _to_floats(value: Any) -> Any:
    if type(value) is list:
        return [_to_floats(item) for item in value]
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def _to_text(value: Any) -> str:
    text = value if type(value) is str else json.dumps(plain(value))
    return text.encode("utf-8", "backslashreplace").decode()


def _batches(rows: Iterator[_Row], size: int) -> Iterator[list[_Row]]:
    while batch := list(itertools.islice(rows, size)):
        yield batch
