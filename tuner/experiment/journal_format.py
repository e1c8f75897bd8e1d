"""How a fact is written down: one line of JSON with a number and a checksum.

A line is `{"seq": …, "time": …, "event": …, fields …, "crc": "…"}`; `crc` is the CRC-32 of all
that precedes it on the line.
"""

from __future__ import annotations

import dataclasses
import zlib
from typing import Any

import orjson

from tuner import codec
from tuner.errors import JournalError
from tuner.experiment.events import (
    CapacityKnown,
    CheckpointSaved,
    ExperimentChanged,
    ExperimentEnded,
    ExperimentStarted,
    ExperimentStopping,
    Fact,
    SearchEnded,
    TrialChanged,
    TrialCreated,
    TrialEnded,
    TrialLaunched,
    TrialRequeued,
    TrialResult,
    TrialSteered,
)
from tuner.result_fields import without_config

DAMAGED = "does not match its checksum"

_CRC_TAIL = len(',"crc":"00000000"}')

_LATER = ", perhaps of a later version of tuner, which could go on with it"

_KINDS: dict[str, Any] = {
    kind.event: kind
    for kind in (
        ExperimentStarted,
        ExperimentChanged,
        SearchEnded,
        TrialCreated,
        TrialLaunched,
        TrialResult,
        CheckpointSaved,
        TrialChanged,
        TrialSteered,
        TrialEnded,
        TrialRequeued,
        CapacityKnown,
        ExperimentStopping,
        ExperimentEnded,
    )
}
_FIELDS = {
    event: [field.name for field in dataclasses.fields(kind) if field.name != "time"]
    for event, kind in _KINDS.items()
}


def encode(seq: int, fact: Fact) -> bytes:
    """The line for a fact, with its line break."""
    if type(fact) is TrialResult:
        body = _result_body(seq, fact)
    else:
        fields = {name: getattr(fact, name) for name in _FIELDS[fact.event]}
        head = f'{{"seq":{seq},"time":{fact.time!r},"event":"{fact.event}",'
        body = head.encode() + codec.encode_exact(fields)[1:-1]
    return body + _crc_tail(body) + b"\n"


def is_intact(line: bytes) -> bool:
    """Whether a line, given without its line break, matches its checksum."""
    return line[-_CRC_TAIL:] == _crc_tail(line[:-_CRC_TAIL])


def decode(line: bytes, *, unpickle: bool = True) -> tuple[int, Fact]:
    """The number and the fact on a line, given without its line break.

    Args:
        line: The line.
        unpickle: Whether arbitrary objects are unpickled; otherwise their `repr` stands for them.

    Raises:
        JournalError: The line is damaged, or of a later version of the format.
    """
    if not is_intact(line):
        raise JournalError(DAMAGED)
    fields = orjson.loads(line)
    kind = _KINDS.get(fields["event"])
    if kind is None:
        raise JournalError(f"holds the unknown event {fields['event']!r}{_LATER}")
    if b'"$"' in line:
        fields = codec.untag(fields, unpickle=unpickle)
    seq: int = fields.pop("seq")
    del fields["event"], fields["crc"]
    try:
        return seq, kind(**fields)
    except TypeError as error:
        raise JournalError(f"holds an unknown kind of {kind.event!r} ({error}){_LATER}") from error


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
