"""The files of a journal, and places in it."""

from __future__ import annotations

import os
from dataclasses import dataclass

from tuner.errors import JournalError

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


def segment_path(folder: str, number: int) -> str:
    """The path of a journal's segment; the first has number 1."""
    return os.path.join(folder, f"{number:08d}.jsonl")


def segment_numbers(folder: str) -> list[int]:
    """The numbers of the segments that are there, in order."""
    names = os.listdir(folder) if os.path.isdir(folder) else []
    return sorted(int(name[:8]) for name in names if name.endswith(".jsonl"))


def missing(path: str) -> JournalError:
    """The error that a segment is not there."""
    return JournalError(f"{path} is missing; {_WAYS_OUT.format('it')}")


def damaged(path: str, line: int, what: str) -> JournalError:
    """The error that a line of a segment is not as it was written."""
    return JournalError(
        f"{path}, line {line}: {what}; {_WAYS_OUT.format('this line and all that follows it')}"
    )
