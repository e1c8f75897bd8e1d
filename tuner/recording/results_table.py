"""`results.parquet`: all results of all trials of an experiment in one table."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from importlib.abc import MetaPathFinder
from typing import TYPE_CHECKING, Any, NamedTuple

from tuner.experiment.events import (
    Fact,
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
from tuner.utf8 import escaped

if TYPE_CHECKING:
    import pyarrow as pa

ROW_GROUP = 32768

# What a column holds; but for the last two, the names of pyarrow's types.
_NULL, _BOOL, _INT, _FLOAT, _TEXT = "null", "bool_", "int64", "float64", "string"
_INTS, _FLOATS = "list of int64", "list of float64"
_KINDS = {type(None): _NULL, bool: _BOOL, int: _INT, float: _FLOAT}
_INT64 = range(-(2**63), 2**63)


class ResultsTable:
    """Makes `results.parquet` of the facts in a journal; readers see all of it or nothing.

    Its columns are `trial_id`, `config/<parameter>` for all of the configuration that the
    trial had then, and the metrics, nested keys joined by `/`. Results that a later attempt
    superseded are left out. A column of integers and floats holds floats, and so do lists of them;
    one of other values, or without a common type, holds text, as JSON. What UTF-8 cannot say is
    escaped, in names too.

    Row groups are written as soon as they are full. Where later facts show that a column holds
    more than it seemed, or that rows do not count, all are written again from the journal.

    Args:
        experiment_path: The experiment's folder.
        import_arrow: Called before pyarrow is used, to import it in a certain way.
        row_group: Number of rows that are in memory at once.
    """

    def __init__(
        self,
        experiment_path: str,
        *,
        import_arrow: Callable[[], None] = lambda: None,
        row_group: int = ROW_GROUP,
    ) -> None:
        self._experiment_path = experiment_path
        self._path = os.path.join(experiment_path, RESULTS_FILE)
        self._import_arrow = import_arrow
        self._row_group = row_group
        self._history = _History()
        self._kinds: dict[str, str] = {}
        self._rows: list[_Row] = []
        self._draft: _Draft | None = None
        self._is_draft_right = True

    def take(self, fact: Fact) -> None:
        """Takes in the next fact as the journal has it."""
        if self._draft is not None and self._history.is_superseding(fact):
            self._is_draft_right = False
        row = self._history.take(fact)
        if row is None:
            return
        if len(self._rows) == self._row_group:
            self._write_group()
        self._rows.append(row)
        _merge_kinds(self._kinds, row.values)

    def write(self) -> None:
        """Completes the file, once all facts were taken in.

        Raises:
            OSError: It cannot be written.
        """
        self._write_group()
        if self._draft is None or not self._is_draft_right:
            self._draft = self._written_again()
        self._draft.close()
        os.replace(self._draft.path, self._path)

    def _write_group(self) -> None:
        rows, self._rows = self._rows, []
        if not self._is_draft_right:
            return
        try:
            self._draft = self._draft or self._new_draft()
            self._is_draft_right = self._draft.kinds == self._kinds
            if self._is_draft_right:
                self._draft.add(self._history.valid(rows))
        except Exception:  # `write` tries again, and raises
            self._is_draft_right = False

    def _written_again(self) -> _Draft:
        draft = self._new_draft()
        rows = _History().read(self._experiment_path)
        while batch := list(itertools.islice(rows, self._row_group)):
            draft.add(self._history.valid(batch))
        return draft

    def _new_draft(self) -> _Draft:
        self._import_arrow()
        return _Draft(f"{self._path}.new", self._kinds)


class _Draft:
    """A table that is being written.

    Args:
        path: The file; one that is there is removed.
        kinds: What its columns hold, all of them.
    """

    def __init__(self, path: str, kinds: dict[str, str]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self.path = path
        self.kinds = dict(kinds)
        self._names = sorted(kinds, key=_place)
        self._schema = pa.schema(
            [(escaped(name), _arrow_type(kinds[name])) for name in self._names]
        )
        with contextlib.suppress(FileNotFoundError):
            os.remove(path)
        self._writer = pq.ParquetWriter(path, self._schema)

    def add(self, rows: list[dict[str, Any]]) -> None:
        """Writes one row group."""
        self._writer.write_table(_table(rows, self._names, self._schema))

    def close(self) -> None:
        """Completes the file."""
        self._writer.close()


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


class _Row(NamedTuple):
    place: int  # in the journal
    position: int  # among the trial's results that were valid then
    values: dict[str, Any]


class _History:
    """Turns the results in a journal into flat rows, and knows which of them were superseded."""

    def __init__(self) -> None:
        self._place = 0
        self._configs: dict[str, dict[str, Any]] = {}
        self._counts: Counter[str] = Counter()
        # For each trial, where in the journal it went back, and to how many results.
        self._rewinds: dict[str, dict[int, int]] = defaultdict(dict)

    def read(self, experiment_path: str) -> Iterator[_Row]:
        """All rows of a journal in order."""
        facts = JournalReader(experiment_path, unpickle=False).read_all()
        return (row for row in map(self.take, facts) if row is not None)

    def take(self, fact: Fact) -> _Row | None:
        """Takes in the next fact and returns its row, if it is a result."""
        self._place += 1
        if isinstance(fact, TrialResult):
            settle(fact)
            position = self._counts[fact.trial_id]
            self._counts[fact.trial_id] = position + 1
            values = {**flatten(fact.result), **self._configs[fact.trial_id]}
            return _Row(self._place, position, values)
        if isinstance(fact, TrialLaunched) and fact.attempt > 1:
            self._rewinds[fact.trial_id][self._place] = fact.num_results
            self._counts[fact.trial_id] = fact.num_results
        elif isinstance(fact, TrialCreated | TrialChanged) and fact.config is not None:
            config = flatten({"config": fact.config})
            self._configs[fact.trial_id] = {"trial_id": fact.trial_id, **config}
        return None

    def is_superseding(self, fact: Fact) -> bool:
        """Whether earlier results do not count any more with the next fact."""
        return (
            isinstance(fact, TrialLaunched)
            and fact.attempt > 1
            and self._counts[fact.trial_id] > fact.num_results
        )

    def valid(self, rows: list[_Row]) -> list[dict[str, Any]]:
        """The values of those rows that count, as far as was taken in."""
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


def _table(rows: list[dict[str, Any]], names: list[str], schema: pa.Schema) -> pa.Table:
    import pyarrow as pa

    fields = zip(names, schema, strict=True)
    columns = [_column([row.get(name) for row in rows], field.type) for name, field in fields]
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
    return escaped(text)
