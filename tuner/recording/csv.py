"""`progress.csv`: the results of a trial, one row each."""

from __future__ import annotations

import csv
import io
import os
from typing import TYPE_CHECKING, Any

from tuner.flatten import flatten
from tuner.layout import PROGRESS_FILE
from tuner.recording.file_logger import FileLogger
from tuner.recording.files import LogFile
from tuner.result_fields import without_config
from tuner.utf8 import encoded, escaped

if TYPE_CHECKING:
    from tuner.experiment.trial import Trial


class CSVLoggerCallback(FileLogger):
    """Writes `progress.csv` into each trial's folder.

    The header has the keys of the results in order of appearance, nested ones joined by `/`; a
    key that first appears in a later result widens the file. What UTF-8 cannot say is escaped.

    Example:
        >>> import pandas as pd, tempfile
        >>> from tuner.experiment.trial import Trial
        >>> folder = tempfile.TemporaryDirectory()
        >>> trial = Trial(trial_id="a1", config={}, trainable_name="f", path=folder.name)
        >>> logger = CSVLoggerCallback()
        >>> logger.on_trial_result(0, [trial], trial, {"loss": 0.5, "eval": {"acc": 1}})
        >>> logger.flush()
        >>> list(pd.read_csv(f"{folder.name}/progress.csv").columns)
        ['loss', 'eval/acc']
    """

    def __init__(self) -> None:
        super().__init__()
        self._tables: dict[str, _Table] = {}

    def log_trial_start(self, trial: Trial) -> None:
        path = os.path.join(trial.path, PROGRESS_FILE)
        self._tables[trial.trial_id] = _Table(self.files.open(path, fresh=not trial.last_result))

    def log_trial_result(self, iteration: int, trial: Trial, result: dict[str, Any]) -> None:
        self._tables[trial.trial_id].add(flatten(without_config(result)))

    def on_trial_rewound(self, trial: Trial, num_results: int) -> None:
        self._tables[trial.trial_id].drop_after(num_results)

    def log_trial_end(self, trial: Trial, failed: bool = False) -> None:
        self._tables.pop(trial.trial_id).file.close()


class _Table:
    """One CSV file and its header, which is read from the file when that has one already."""

    __slots__ = ("file", "header")

    def __init__(self, file: LogFile) -> None:
        self.file = file
        self.header: list[str] | None = None

    def add(self, row: dict[str, Any]) -> None:
        names = list(row)
        if names == self.header:
            self.file.append(_line(row.values()))
            return
        row = {escaped(name): value for name, value in row.items()}
        names = list(row)
        header = self._header_with(names)
        self.file.append(_line(row.get(name) for name in header))

    def drop_after(self, num_rows: int) -> None:
        header, *rows = _parse(self.file.read()) or [[]]
        if num_rows < len(rows):
            self.file.replace(b"".join(map(_line, [header, *rows[:num_rows]])))

    def _header_with(self, names: list[str]) -> list[str]:
        header = self.header
        if header is None:
            rows = _parse(self.file.read())
            if not rows:
                self.file.append(_line(names))
                self.header = names
                return names
            header = self.header = rows[0]
        known = set(header)
        added = [name for name in names if name not in known]
        if added:
            header = self.header = header + added
            self._widen(header)
        return header

    def _widen(self, header: list[str]) -> None:
        _, *rows = _parse(self.file.read())
        padded = (row + [""] * (len(header) - len(row)) for row in rows)
        self.file.replace(b"".join(map(_line, [header, *padded])))


class _Bytes:
    """The file that `csv.writer` writes to: hands back the line as bytes."""

    @staticmethod
    def write(line: str) -> bytes:
        return encoded(line.removesuffix(_LINE_END)) + b"\n"


_LINE_END = "\r\n"  # the writer quotes what has one of its characters; the file gets the last one
_line = csv.writer(_Bytes(), lineterminator=_LINE_END).writerow


def _parse(content: bytes) -> list[list[str]]:
    before = csv.field_size_limit(max(len(content), csv.field_size_limit()))
    try:
        return list(csv.reader(io.StringIO(content.decode(), newline="")))
    finally:
        csv.field_size_limit(before)
