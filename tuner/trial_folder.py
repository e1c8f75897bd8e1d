"""What a trial's folder says about it, also one that `ray.tune` wrote."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tuner.errors import StorageError
from tuner.filesystems import is_directory, join, list_names, read_bytes
from tuner.layout import CHECKPOINT, ERROR_FILE, PARAMS_FILE, PROGRESS_FILE, RESULT_FILE, STAGED

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

logger = logging.getLogger(__name__)


class TrialFolder:
    """Reads the files of one trial.

    Args:
        path: The folder's path on `filesystem`.
        filesystem: An fsspec filesystem, None for this machine's own files.
    """

    def __init__(self, path: str, filesystem: AbstractFileSystem | None = None) -> None:
        self._path = path
        self._fs = filesystem

    def results(self) -> list[dict[str, Any]] | None:
        """All results that are valid, oldest first, nested as they were reported.

        From `result.json`, else from `progress.csv` (whose keys are flat); None without both.

        Raises:
            StorageError: a file is damaged; names file and line.
        """
        rows = self.rows()
        return None if rows is None else without_superseded(rows)

    def rows(self) -> list[dict[str, Any]] | None:
        """All results, also those that a later attempt has made void; otherwise as `results`.

        Raises:
            StorageError: a file is damaged; names file and line.
        """
        lines = self._lines()
        if lines is not None:
            return self._parse(lines)
        content = self._read(PROGRESS_FILE)
        return None if content is None else _csv_rows(content)

    def last_result(self) -> dict[str, Any]:
        """The last result, `{}` if there is none."""
        lines = self._lines()
        if lines is not None:
            rows = self._parse(lines, only_last=True)
        else:
            rows = _csv_rows(self._read(PROGRESS_FILE) or b"")
        return rows[-1] if rows else {}

    def config(self) -> dict[str, Any]:
        """The configuration as `params.json` shows it, `{}` without that file."""
        content = self._read(PARAMS_FILE)
        config: dict[str, Any] = {} if content is None else json.loads(content)
        return config

    def error(self) -> str | None:
        """The tracebacks of all failures so far, None if there was none."""
        content = self._read(ERROR_FILE)
        return None if content is None else content.decode(errors="replace")

    def checkpoint_names(self) -> list[str]:
        """The names of the checkpoints' directories, oldest first, without incomplete ones."""
        names = {name for name in self._names if CHECKPOINT.fullmatch(name)}
        if self._fs is not None:
            names -= {match[1] for match in map(STAGED.fullmatch, self._names) if match}
        return sorted(names, key=lambda name: int(name.rpartition("_")[2]))

    def exists(self) -> bool:
        """Whether there is such a folder."""
        return is_directory(self._fs, self._path)

    def is_trial(self) -> bool:
        """Whether it holds a file that a trial's folder has."""
        return not {RESULT_FILE, PROGRESS_FILE, PARAMS_FILE, ERROR_FILE}.isdisjoint(self._names)

    @cached_property
    def _names(self) -> list[str]:
        try:
            return list_names(self._fs, self._path)
        except FileNotFoundError:
            return []

    def _read(self, name: str) -> bytes | None:
        return read_bytes(self._fs, join(self._path, name))

    def _lines(self) -> list[bytes] | None:
        content = self._read(RESULT_FILE)
        return None if content is None else content.split(b"\n")

    def _parse(self, lines: list[bytes], *, only_last: bool = False) -> list[dict[str, Any]]:
        """The results in `lines`; what follows the last line break may be torn."""
        rows = []
        torn = lines.pop()
        if torn:
            row = _row(torn)
            if row is None:
                path = join(self._path, RESULT_FILE)
                logger.warning("%s: left out a torn last line of %d bytes", path, len(torn))
            else:
                lines.append(torn)
        while lines and not lines[-1]:
            lines.pop()
        first = len(lines) - 1 if only_last and lines else 0
        for number, line in enumerate(lines[first:], start=first + 1):
            row = _row(line)
            if row is None:
                path = join(self._path, RESULT_FILE)
                raise StorageError(f"{path}, line {number}: not a JSON object: {line[:60]!r}")
            rows.append(row)
        return rows


def without_superseded(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows that are valid, in the order of time.

    When an attempt goes on from a checkpoint, what the attempt before it reported after that
    checkpoint is void: the rows from the iteration on with which the new attempt begins.

    Example:
        >>> rows = [
        ...     {"training_iteration": 1, "iterations_since_restore": 1, "loss": 0.9},
        ...     {"training_iteration": 2, "iterations_since_restore": 2, "loss": 0.8},
        ...     {"training_iteration": 2, "iterations_since_restore": 1, "loss": 0.7},
        ... ]
        >>> [row["loss"] for row in without_superseded(rows)]
        [0.9, 0.7]
    """
    kept: list[dict[str, Any]] = []
    for row in rows:
        iteration = row.get("training_iteration")
        if kept and iteration is not None and _begins_attempt(kept[-1], row):
            while kept and kept[-1].get("training_iteration", iteration - 1) >= iteration:
                kept.pop()
        kept.append(row)
    return kept


def _begins_attempt(before: dict[str, Any], row: dict[str, Any]) -> bool:
    last, now = before.get("iterations_since_restore"), row.get("iterations_since_restore")
    return last is None or now is None or bool(now <= last)


def _row(line: bytes) -> dict[str, Any] | None:
    import orjson

    try:
        row = orjson.loads(line)
    except ValueError:
        try:
            row = json.loads(line)  # it takes the words NaN and Infinity
        except ValueError:
            return None
    return row if isinstance(row, dict) else None


def _csv_rows(content: bytes) -> list[dict[str, Any]]:
    import io

    import pandas

    if not content.strip():
        return []
    frame = pandas.read_csv(io.BytesIO(content), dtype={"trial_id": str})
    return [{str(k): v for k, v in row.items()} for row in frame.to_dict(orient="records")]
