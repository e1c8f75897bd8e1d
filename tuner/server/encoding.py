"""What the server says of a trial's values, as JSON that every program reads (RFC 8259).

NaN and infinities become null, keys strings; objects that JSON cannot hold become their `repr`.
"""

from __future__ import annotations

import json
import math
from typing import Any

import orjson

from tuner.recording.json import plain


def encode(value: Any) -> bytes:
    """A value as JSON.

    Example:
        >>> encode({"loss": float("nan"), "n": 2**70, 3: b"x"})
        b'{"loss":null,"n":1180591620717411303424,"3":"b\\'x\\'"}'
    """
    try:
        return orjson.dumps(value)
    except (TypeError, ValueError):  # large integers, other keys than strings, bytes
        text = json.dumps(_finite(plain(value)), separators=(",", ":"), allow_nan=False)
        return text.encode()


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return value
