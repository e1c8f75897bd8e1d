"""How much can be asked of the server."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any, NamedTuple

import orjson
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES = 1024 * 1024
MAX_DEPTH = 32
"""How deeply a configuration may be nested."""

MAX_NEW_TRIALS = 1000
"""How many trials one request may add."""

MAX_NEW_BYTES = 16 * 1024 * 1024
"""How long the configurations of these trials may be, all together as JSON."""

MAX_PAGE_BYTES = 4 * 1024 * 1024
"""How long an answer with more than one trial may be."""

MAX_PAGE = 1000
"""How many trials one answer may list."""

MAX_STREAMS = 100
"""How many may watch the events at once."""

MAX_OPEN_REQUESTS = 64
"""How many requests may wait for the controller at once."""

MAX_CONNECTIONS = 512
"""How many connections there may be, those that wait for a request included."""

TOO_LARGE = f"the body is larger than {MAX_BODY_BYTES} bytes"


_MANY = 10**12  # of which nobody needs to know how many


class BodyLimit:
    """Refuses bodies that are too large, before they are read where their length is said."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        lengths = [int(value) for name, value in scope["headers"] if name == b"content-length"]
        left = MAX_BODY_BYTES - sum(lengths)

        async def receive_limited() -> Message:
            nonlocal left
            message = await receive()
            if not lengths:
                left -= len(message.get("body", b""))
            if left < 0:
                raise HTTPException(413, TOO_LARGE)
            return message

        await self._app(scope, receive_limited, send)


def depth(value: Any) -> int:
    """How deeply lists and objects are nested in parsed JSON.

    Example:
        >>> depth(1), depth([]), depth({"a": [1, {"b": 2}]})
        (0, 1, 3)
    """
    deepest = 0
    level = [value]
    while level := [each for each in level if isinstance(each, dict | list)]:
        deepest += 1
        level = [
            inner for each in level for inner in (each.values() if isinstance(each, dict) else each)
        ]
    return deepest


class Expansion(NamedTuple):
    """What a configuration with `{"grid_search": [...]}` in it stands for.

    Attributes:
        number: How many configurations.
        num_bytes: How long they are as JSON, all together.
    """

    number: int
    num_bytes: int


def expansion(config: Any) -> Expansion:
    """Counts configurations without making them.

    Example:
        >>> expansion({"a": {"grid_search": [1, 22]}, "b": [{"grid_search": [1, 2, 3]}]})
        Expansion(number=6, num_bytes=93)
        >>> expansion({"a": 1, "b": [1]})
        Expansion(number=1, num_bytes=15)
    """
    if isinstance(config, list):
        return _product(map(expansion, config))
    if not isinstance(config, dict):
        return Expansion(1, len(orjson.dumps(config)))
    grid = config.get("grid_search")
    if len(config) == 1 and isinstance(grid, list):
        parts = [expansion(each) for each in grid]
        return Expansion(sum(part.number for part in parts), sum(part.num_bytes for part in parts))
    keys = (Expansion(1, len(orjson.dumps(key))) for key in config)
    return _product(itertools.chain(keys, map(expansion, config.values())))


def _product(parts: Iterable[Expansion]) -> Expansion:
    """What each part with each of the others gives; between them are separators."""
    number, num_bytes = 1, 1
    for part in parts:
        longer = num_bytes * part.number + (part.num_bytes + part.number) * number
        number, num_bytes = min(number * part.number, _MANY), min(longer, _MANY)
    return Expansion(number, num_bytes)
