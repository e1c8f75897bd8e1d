"""How much can be asked of the server."""

from __future__ import annotations

import math
from typing import Any

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES = 1024 * 1024
MAX_DEPTH = 32
"""How deeply a configuration may be nested."""

MAX_NEW_TRIALS = 1000
"""How many trials one request may add."""

MAX_PAGE = 1000
"""How many trials one answer may list."""

MAX_STREAMS = 100
"""How many may watch the events at once."""

MAX_OPEN_REQUESTS = 64
"""How many requests may wait for the controller at once."""

MAX_CONNECTIONS = 512
"""How many connections there may be, those that wait for a request included."""

TOO_LARGE = f"the body is larger than {MAX_BODY_BYTES} bytes"


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


def num_combinations(config: Any) -> int:
    """How many configurations a configuration with `{"grid_search": [...]}` in it stands for.

    Example:
        >>> num_combinations({"a": {"grid_search": [1, 2]}, "b": [{"grid_search": [1, 2, 3]}]})
        6
    """
    if isinstance(config, list):
        return math.prod(map(num_combinations, config))
    if not isinstance(config, dict):
        return 1
    grid = config.get("grid_search")
    if len(config) == 1 and isinstance(grid, list):
        return sum(map(num_combinations, grid))
    return math.prod(map(num_combinations, config.values()))
