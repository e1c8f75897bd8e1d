"""The experiment's append-only log: one JSON object per line, in numbered segments.

A line is `{"seq": …, "time": …, "event": …, fields …, "crc": "…"}`; `crc` is the CRC-32 of all
that precedes it on the line. A closed segment is never touched again.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import orjson

from tuner import codec
from tuner.errors import JournalError
from tuner.experiment.events import (
    CheckpointSaved,
    ExperimentEnded,
    ExperimentStarted,
    ExperimentStopping,
    Fact,
    TrialCreated,
    TrialEnded,
    TrialLaunched,
    TrialResult,
)
from tuner.layout import JOURNAL_FOLDER
from tuner.result_fields import without_config

logger = logging.getLogger(__name__)

SEGMENT_BYTES = 16 * 1024 * 1024

_CRC_TAIL = len(',"crc":"00000000"}')
_READ_BYTES = 1024 * 1024


class JournalWriter:
    """Appends facts to the journal of an experiment on a local filesystem.

    Args:
        experiment_path: The experiment's folder; its `journal/` is made if it does not exist.
        segment_bytes: A segment is closed by the first write that brings it to this size.
    """

    def __init__(self, experiment_path: str, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        self._folder = os.path.join(experiment_path, JOURNAL_FOLDER)
        os.makedirs(self._folder, exist_ok=True)
        self._segment_bytes = segment_bytes
        self._segment = 0
        self._seq = 0
        self._written = 0
        self._fd = -1
        self._next_segment()

    def append(self, facts: Iterable[Fact]) -> None:
        """Writes all `facts` with one system call; they survive the death of this process."""
        lines = []
        for fact in facts:
            self._seq += 1
            lines.append(_encode(self._seq, fact))
        if not lines:
            return
        block = b"".join(lines)
        _write_all(self._fd, block)
        self._written += len(block)
        if self._written >= self._segment_bytes:
            self._next_segment()

    def close(self) -> None:
        """Brings the journal to the disk and closes it."""
        if self._fd >= 0:
            os.fsync(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _next_segment(self) -> None:
        self.close()
        self._segment += 1
        path = segment_path(self._folder, self._segment)
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        except FileExistsError as error:
            raise JournalError(f"{path} exists already: another run is writing here") from error
        self._written = 0


class JournalReader:
    """Reads a journal from the start and follows it while it grows.

    Args:
        experiment_path: The experiment's folder.
        unpickle: Whether arbitrary objects in configurations are unpickled; otherwise their
            `repr` stands for them, which needs none of the user's modules.
    """

    def __init__(self, experiment_path: str, *, unpickle: bool = True) -> None:
        self._folder = os.path.join(experiment_path, JOURNAL_FOLDER)
        self._unpickle = unpickle
        self._segment = 1
        self._fd = -1
        self._rest = b""
        self._line = 0

    def read(self) -> list[Fact]:
        """The facts that are complete by now and were not read before; at most about 1 MiB."""
        while True:
            if self._fd < 0 and not self._open():
                return []
            block = os.read(self._fd, _READ_BYTES)
            if block:
                facts = self._parse(block)
                if facts:
                    return facts
            elif not self._advance():
                return []

    def read_all(self) -> Iterator[Fact]:
        """Everything that is in the journal now, then drops a torn last line with a warning."""
        while facts := self.read():
            yield from facts
        if self._rest:
            path = segment_path(self._folder, self._segment)
            logger.warning("%s: dropped a torn last line of %d bytes", path, len(self._rest))
        self.close()

    def close(self) -> None:
        """Closes the file that is being read."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _open(self) -> bool:
        try:
            self._fd = os.open(segment_path(self._folder, self._segment), os.O_RDONLY)
        except FileNotFoundError:
            return False
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
        self._line = 0
        return True

    def _parse(self, block: bytes) -> list[Fact]:
        lines = (self._rest + block).split(b"\n")
        self._rest = lines.pop()
        facts = []
        for line in lines:
            self._line += 1
            facts.append(self._decode(line))
        return facts

    def _decode(self, line: bytes) -> Fact:
        body = line[:-_CRC_TAIL]
        if line[-_CRC_TAIL:] != _crc_tail(body):
            raise self._damaged("does not match its checksum")
        fields = orjson.loads(line)
        kind = _KINDS.get(fields["event"])
        if kind is None:
            raise self._damaged(f"holds the unknown event {fields['event']!r}")
        if b'"$"' in line:
            fields = codec.untag(fields, unpickle=self._unpickle)
        return _from_fields(kind, fields)

    def _damaged(self, what: str) -> JournalError:
        path = segment_path(self._folder, self._segment)
        return JournalError(f"{path}, line {self._line}: {what}")


def segment_path(folder: str, number: int) -> str:
    """The path of a journal's segment; the first has number 1."""
    return os.path.join(folder, f"{number:08d}.jsonl")


_KINDS: dict[str, Any] = {
    kind.event: kind
    for kind in (
        ExperimentStarted,
        TrialCreated,
        TrialLaunched,
        TrialResult,
        CheckpointSaved,
        TrialEnded,
        ExperimentStopping,
        ExperimentEnded,
    )
}


def _encode(seq: int, fact: Fact) -> bytes:
    if type(fact) is TrialResult:
        body = _result_body(seq, fact)
    else:
        fields = {f.name: getattr(fact, f.name) for f in dataclasses.fields(fact)}
        head = f'{{"seq":{seq},"time":{fields.pop("time")!r},"event":"{fact.event}",'
        body = head.encode() + codec.encode_exact(fields)[1:-1]
    return body + _crc_tail(body) + b"\n"


def _result_body(seq: int, fact: TrialResult) -> bytes:
    raw = fact.raw if fact.raw is not None else codec.encode_metrics(without_config(fact.result))
    checkpoint = f'"{fact.checkpoint}"' if fact.checkpoint else "null"
    head = (
        f'{{"seq":{seq},"time":{fact.time!r},"event":"result","trial_id":"{fact.trial_id}",'
        f'"attempt":{fact.attempt},"decision":"{fact.decision}","checkpoint":{checkpoint},'
        '"result":'
    )
    return head.encode() + raw


def _crc_tail(body: bytes) -> bytes:
    return b',"crc":"%08x"}' % zlib.crc32(body)


def _from_fields(kind: Any, fields: dict[str, Any]) -> Fact:
    del fields["seq"], fields["event"], fields["crc"]
    fact: Fact = kind(**fields)
    return fact


def _write_all(fd: int, block: bytes) -> None:
    view: Sequence[int] = memoryview(block)
    while view:
        written = os.write(fd, view)  # type: ignore[arg-type]
        view = view[written:]
