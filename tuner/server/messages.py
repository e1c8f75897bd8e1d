"""How requests and their outcomes travel between server and controller: a line of JSON each."""

from __future__ import annotations

import dataclasses
from typing import Any

import orjson

from tuner.experiment.requests import (
    AddTrials,
    ChangeLimits,
    Outcome,
    PauseTrial,
    Request,
    ResumeTrial,
    StopExperiment,
    StopTrial,
)

_KINDS: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (AddTrials, StopTrial, PauseTrial, ResumeTrial, ChangeLimits, StopExperiment)
}


def encode_request(request_id: str, request: Request) -> bytes:
    """The line for a request."""
    fields = {each.name: getattr(request, each.name) for each in dataclasses.fields(request)}
    return orjson.dumps([request_id, type(request).__name__, fields]) + b"\n"


def decode_request(line: bytes) -> tuple[str, Request]:
    """The id and the request on a line.

    Example:
        >>> decode_request(encode_request("1", StopTrial("a")))
        ('1', StopTrial(trial_id='a'))
    """
    request_id, kind, fields = orjson.loads(line)
    return request_id, _KINDS[kind](**fields)


def encode_outcome(request_id: str, outcome: Outcome) -> bytes:
    """The line for what came of a request."""
    fields = {each.name: getattr(outcome, each.name) for each in dataclasses.fields(outcome)}
    return orjson.dumps([request_id, fields]) + b"\n"


def decode_outcome(line: bytes) -> tuple[str, Outcome]:
    """The id of a request and what came of it."""
    request_id, fields = orjson.loads(line)
    return request_id, Outcome(**{**fields, "trial_ids": tuple(fields["trial_ids"])})
