"""Writes the experiment's append-only log: one fact per line, in numbered segments.

A closed segment is never touched again. A writer that was killed may leave a torn last line, which
readers drop, and which the next writer cuts off before it begins a new segment.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable

from tuner import failpoints
from tuner.errors import JournalError, StorageError
from tuner.experiment import journal_format
from tuner.experiment.events import CheckpointSaved, Fact, TrialResult
from tuner.experiment.journal_segments import Position, segment_path
from tuner.experiment.periodic_sync import PeriodicSync
from tuner.failpoints import Failpoint
from tuner.fsync import sync_folder
from tuner.layout import JOURNAL_FOLDER

SEGMENT_BYTES = 16 * 1024 * 1024


class JournalWriter:
    """Appends facts to the journal of an experiment on a local filesystem.

    What `append` has written survives the death of this process at once, and a loss of power
    within a second; facts that tell of a checkpoint survive that at once, too, unless told
    otherwise.

    Args:
        experiment_path: The experiment's folder; its `journal/` is made if it does not exist.
        after: Where a journal ends that is to be continued, None for a new one.
        segment_bytes: A segment is closed by the first write that brings it to this size.
        segment_period_s: It is due to be closed so many seconds after its first write.
        syncs_checkpoints: Whether facts that tell of a checkpoint survive a loss of power at once.

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
        syncs_checkpoints: bool = True,
    ) -> None:
        self._folder = os.path.join(experiment_path, JOURNAL_FOLDER)
        self._segment_bytes = segment_bytes
        self._segment_period_s = segment_period_s
        self._syncs_checkpoints = syncs_checkpoints
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
            elif has_checkpoint and self._syncs_checkpoints:
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


def _write_all(fd: int, block: bytes) -> None:
    written = os.write(fd, block)
    while written < len(block):
        written += os.write(fd, block[written:])
