"""Reads the experiment's log, and follows it while it grows."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

from tuner.errors import JournalError
from tuner.experiment import journal_format
from tuner.experiment.events import Fact
from tuner.experiment.journal_segments import (
    Position,
    damaged,
    missing,
    segment_numbers,
    segment_path,
)
from tuner.layout import JOURNAL_FOLDER

logger = logging.getLogger(__name__)

_READ_BYTES = 1024 * 1024


class JournalReader:
    """Reads a journal and follows it while it grows; closes its file when nobody needs it.

    Args:
        experiment_path: The experiment's folder.
        after: Where to begin; at the start, without it.
        unpickle: Whether arbitrary objects in configurations are unpickled; otherwise their
            `repr` stands for them, which needs none of the user's modules.
    """

    def __init__(
        self, experiment_path: str, after: Position | None = None, *, unpickle: bool = True
    ) -> None:
        self._fd = -1
        self._folder = os.path.join(experiment_path, JOURNAL_FOLDER)
        self._unpickle = unpickle
        after = after or Position()
        self._segment = after.segment
        self._offset = after.offset
        self._line = after.line
        self._seq = after.seq
        self._total = 0
        self._rest = b""

    @property
    def position(self) -> Position:
        """Behind the last fact that was read."""
        return Position(self._segment, self._offset, self._line, self._seq)

    @property
    def num_bytes(self) -> int:
        """How much of the journal was read."""
        return self._total

    def read(self) -> list[Fact]:
        """The facts that are complete by now and were not read before; at most about 1 MiB.

        Raises:
            JournalError: A line is damaged, or something is missing.
        """
        while True:
            if self._fd < 0 and not self._open():
                return []
            block = os.read(self._fd, _READ_BYTES)
            if block:
                self._total += len(block)
                facts = self._parse(block)
                if facts:
                    return facts
            elif not self._advance():
                return []

    def read_all(self) -> Iterator[Fact]:
        """Everything that is in the journal now, then drops a torn last line with a warning.

        Raises:
            JournalError: A line is damaged, or something is missing.
        """
        while True:
            while facts := self.read():
                yield from facts
            self._check_presence(self._segment)
            if not any(number > self._segment for number in segment_numbers(self._folder)):
                break
            self._check_presence(self._segment + 1)  # it may have been begun just now
        if self._rest:
            path = segment_path(self._folder, self._segment)
            logger.warning("%s: dropped a torn last line of %d bytes", path, len(self._rest))
        self.close()

    def close(self) -> None:
        """Closes the file that is being read."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __del__(self) -> None:
        self.close()

    def _check_presence(self, segment: int) -> None:
        path = segment_path(self._folder, segment)
        if not os.path.exists(path):
            raise missing(path)

    def _open(self) -> bool:
        try:
            self._fd = os.open(segment_path(self._folder, self._segment), os.O_RDONLY)
        except FileNotFoundError:
            return False
        os.lseek(self._fd, self._offset, os.SEEK_SET)
        return True

    def _advance(self) -> bool:
        """Goes on to the next segment, once it exists and this one has been read to its end."""
        if not os.path.exists(segment_path(self._folder, self._segment + 1)):
            return False
        if block := os.read(self._fd, _READ_BYTES):  # written just before the segment was closed
            os.lseek(self._fd, -len(block), os.SEEK_CUR)
            return True
        if self._rest:
            raise self._damaged("ends in the middle of a line")
        self.close()
        self._segment += 1
        self._offset = 0
        self._line = 0
        return True

    def _parse(self, block: bytes) -> list[Fact]:
        lines = (self._rest + block).split(b"\n")
        self._rest = lines.pop()
        facts = []
        for line in lines:
            self._line += 1
            self._offset += len(line) + 1
            try:
                seq, fact = journal_format.decode(line, unpickle=self._unpickle)
            except JournalError as error:
                raise self._damaged(str(error)) from error
            if seq != self._seq + 1:
                raise self._damaged(f"has number {seq}, but follows number {self._seq}")
            self._seq = seq
            facts.append(fact)
        return facts

    def _damaged(self, what: str) -> JournalError:
        return damaged(segment_path(self._folder, self._segment), self._line, what)
