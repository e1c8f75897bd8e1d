"""The experiment's append-only log: one fact per line, in numbered segments.

A closed segment is never touched again. A writer that was killed may leave a torn last line, which
readers drop, and which the next writer cuts off before it begins a new segment.
"""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tuner import failpoints
from tuner.durable import sync_folder
from tuner.errors import JournalError, StorageError
from tuner.experiment import journal_format
from tuner.experiment.events import CheckpointSaved, Fact, TrialResult
from tuner.experiment.periodic_sync import PeriodicSync
from tuner.failpoints import Failpoint
from tuner.layout import JOURNAL_FOLDER

logger = logging.getLogger(__name__)

SEGMENT_BYTES = 16 * 1024 * 1024

_READ_BYTES = 1024 * 1024

_WAYS_OUT = (
    "put back a copy of the file, or, to lose what happened from there on, remove {}, all later "
    "segments and the folder snapshots/"
)


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a journal, between two facts.

    Attributes:
        segment: Number of the segment, from 1.
        offset: Bytes of it that lie before.
        line: Lines of it that lie before.
        seq: Number of the fact before, 0 at the start.
    """

    segment: int = 1
    offset: int = 0
    line: int = 0
    seq: int = 0


class JournalWriter:
    """Appends facts to the journal of an experiment on a local filesystem.

    What `append` has written survives the death of this process at once, and a loss of power
    within a second; facts that tell of a checkpoint survive that at once, too.

    Args:
        experiment_path: The experiment's folder; its `journal/` is made if it does not exist.
        after: Where a journal ends that is to be continued, None for a new one.
        segment_bytes: A segment is closed by the first write that brings it to this size.
        segment_period_s: It is due to be closed so many seconds after its first write.

    Raises:
        JournalError: Another run is writing to it.
        StorageError: It cannot be written to.
    """

    def __init__(
        self,
        experiment_path: str,
        after: Position | None = None,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        segment_period_s: float = math.inf,
    ) -> None:
        self._folder = os.path.join(experiment_path, JOURNAL_FOLDER)
        self._segment_bytes = segment_bytes
        self._segment_period_s = segment_period_s
        self._due = math.inf
        self._segment = 0
        self._seq = 0
        self._written = 0
        self._lines = 0
        self._total = 0
        self._fd = -1
        self._failure: StorageError | None = None
        self._sync = PeriodicSync()
        try:
            os.makedirs(self._folder, exist_ok=True)
            sync_folder(experiment_path)
            if after is not None:
                self._segment, self._seq = after.segment, after.seq
                os.truncate(segment_path(self._folder, after.segment), after.offset)
            self._next_segment()
        except OSError as error:
            raise self._explained(error) from error

    @property
    def position(self) -> Position:
        """Where the next fact will be written."""
        return Position(self._segment, self._written, self._lines, self._seq)

    @property
    def num_bytes(self) -> int:
        """How much this writer has written so far."""
        return self._total

    def append(self, facts: Iterable[Fact]) -> None:
        """Writes all `facts` with one system call.

        Raises:
            StorageError: They cannot be written, as the disk is full; nothing more can be, since it
                would follow a torn line.
        """
        if self._failure is not None:
            raise self._failure
        lines = []
        has_checkpoint = False
        for fact in facts:
            self._seq += 1
            lines.append(journal_format.encode(self._seq, fact))
            if type(fact) is TrialResult:
                has_checkpoint |= fact.checkpoint is not None
            elif type(fact) is CheckpointSaved:
                has_checkpoint = True
        if not lines:
            return
        block = b"".join(lines)
        if failpoints.is_due(Failpoint.JOURNAL_WRITE):
            os.write(self._fd, block[: -len(lines[-1]) // 2])
            failpoints.die()
        try:
            if not self._written:
                self._due = time.monotonic() + self._segment_period_s
            _write_all(self._fd, block)
            self._written += len(block)
            self._lines += len(lines)
            self._total += len(block)
            if self._written >= self._segment_bytes:
                self._next_segment()
            elif has_checkpoint:
                self._sync.now()
            else:
                self._sync.soon()
        except OSError as error:
            self._failure = self._explained(error)
            raise self._failure from error

    def sync(self) -> None:
        """Brings the journal to the disk.

        Raises:
            StorageError: That fails.
        """
        try:
            self._sync.now()
        except OSError as error:
            self._failure = self._explained(error)
            raise self._failure from error

    @property
    def due(self) -> float:
        """When the segment is to be closed (`time.monotonic()`), infinity if nothing is in it."""
        return self._due

    def step(self) -> None:
        """Closes the segment if that is due.

        Raises:
            StorageError: The disk is full.
        """
        if time.monotonic() < self._due:
            return
        try:
            self._next_segment()
        except OSError as error:
            self._failure = self._explained(error)
            raise self._failure from error

    def close(self) -> None:
        """Brings the journal to the disk and closes it."""
        try:
            self._sync.close()
            self._close_segment()
        except OSError as error:
            if self._failure is None:
                raise self._explained(error) from error

    def _explained(self, error: OSError) -> StorageError:
        path = segment_path(self._folder, max(self._segment, 1))
        return StorageError(
            f"{path} cannot be written to ({error.strerror}); what was reported before is safe: "
            f'mend that, then go on with Tuner.restore("{os.path.dirname(self._folder)}").fit()'
        )

    def _close_segment(self) -> None:
        if self._fd >= 0:
            self._sync.watch(None)
            os.close(self._fd)
            self._fd = -1

    def _next_segment(self) -> None:
        self._close_segment()
        self._segment += 1
        self._written = 0
        self._lines = 0
        self._due = math.inf
        path = segment_path(self._folder, self._segment)
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        except FileExistsError as error:
            raise JournalError(f"{path} exists already: another run is writing here") from error
        sync_folder(self._folder)
        self._sync.watch(self._fd)


class JournalReader:
    """Reads a journal and follows it while it grows.

    Args:
        experiment_path: The experiment's folder.
        after: Where to begin; at the start, without it.
        unpickle: Whether arbitrary objects in configurations are unpickled; otherwise their
            `repr` stands for them, which needs none of the user's modules.
    """

    def __init__(
        self, experiment_path: str, after: Position | None = None, *, unpickle: bool = True
    ) -> None:
        self._folder = os.path.join(experiment_path, JOURNAL_FOLDER)
        self._unpickle = unpickle
        after = after or Position()
        self._segment = after.segment
        self._offset = after.offset
        self._line = after.line
        self._seq = after.seq
        self._total = 0
        self._fd = -1
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

    def _check_presence(self, segment: int) -> None:
        path = segment_path(self._folder, segment)
        if not os.path.exists(path):
            raise JournalError(f"{path} is missing; {_WAYS_OUT.format('it')}")

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
        return _damaged(segment_path(self._folder, self._segment), self._line, what)


def check(experiment_path: str, until: Position) -> None:
    """Checks that all lines before a position are there and undamaged, without taking them in.

    Raises:
        JournalError: A line is damaged, or something is missing.
    """
    folder = os.path.join(experiment_path, JOURNAL_FOLDER)
    seq = 0
    for number in range(1, until.segment + 1):
        path = segment_path(folder, number)
        try:
            with open(path, "rb") as file:
                content = file.read(until.offset if number == until.segment else -1)
        except FileNotFoundError:
            raise JournalError(f"{path} is missing; {_WAYS_OUT.format('it')}") from None
        lines = content.split(b"\n")
        for line, text in enumerate(lines[:-1], start=1):
            if not journal_format.is_intact(text):
                raise _damaged(path, line, journal_format.DAMAGED)
        seq += len(lines) - 1
        if lines[-1] and number < until.segment:
            raise _damaged(path, len(lines), "is torn")
    if seq != until.seq:
        raise _damaged(path, len(lines), f"the facts {seq + 1} to {until.seq} are missing")


def last_seq(experiment_path: str) -> int:
    """The number of the last fact that is written, 0 without one.

    Raises:
        JournalError: Its line is damaged.
    """
    folder = os.path.join(experiment_path, JOURNAL_FOLDER)
    for number in reversed(segment_numbers(folder)):
        path = segment_path(folder, number)
        with open(path, "rb") as file:
            *lines, _ = file.read().split(b"\n")
        if lines:
            try:
                return journal_format.decode(lines[-1], unpickle=False)[0]
            except JournalError as error:
                raise _damaged(path, len(lines), str(error)) from error
    return 0


def _damaged(path: str, line: int, what: str) -> JournalError:
    return JournalError(
        f"{path}, line {line}: {what}; {_WAYS_OUT.format('this line and all that follows it')}"
    )


def segment_path(folder: str, number: int) -> str:
    """The path of a journal's segment; the first has number 1."""
    return os.path.join(folder, f"{number:08d}.jsonl")


def segment_numbers(folder: str) -> list[int]:
    """The numbers of the segments that are there, in order."""
    names = os.listdir(folder) if os.path.isdir(folder) else []
    return sorted(int(name[:8]) for name in names if name.endswith(".jsonl"))


def _write_all(fd: int, block: bytes) -> None:
    written = os.write(fd, block)
    while written < len(block):
        written += os.write(fd, block[written:])
