"""Server-sent events, as who watches an experiment reads them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in an experiment.

    Attributes:
        kind: `"result"`, `"trial"` (its status or configuration changed) or `"experiment"`.
        seq: Its number in the experiment's journal.
        data: What is known of it: `time`, `trial_id`, `result`, `status` and more.
    """

    kind: str
    seq: int
    data: dict[str, Any]


def read_events(chunks: Iterable[bytes]) -> Iterator[Event]:
    """The events of a stream; one without a kind only says how far the stream has come.

    Example:
        >>> [*read_events([b"id: 7\\nevent: tri", b'al\\ndata: {"status": "RUNNING"}\\n\\n'])]
        [Event(kind='trial', seq=7, data={'status': 'RUNNING'})]
    """
    seq, kind, data = 0, "", b"{}"
    for line in _lines(chunks):
        name, _, value = line.partition(b": ")
        if name == b"id":
            seq = int(value)
        elif name == b"event":
            kind = value.decode()
        elif name == b"data":
            data = value
        elif not line:
            yield Event(kind, seq, orjson.loads(data))
            kind, data = "", b"{}"


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Lines that end in a line feed; other line separators may stand in a text."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines
