"""Lossless JSON: what JSON cannot say is written as an object with the key `"$"`.

NaN and infinities, integers beyond 64 bits, bytes, dictionaries with other keys than strings and
arbitrary objects survive a round trip. Metrics are first brought to plain values and numpy arrays
(numpy scalars and tensors to numbers and lists, tuples to lists); configurations keep every type.
"""

from __future__ import annotations

import ast
import base64
import functools
import math
import operator
import pickle
from collections.abc import Collection
from enum import Enum
from numbers import Real
from typing import Any
from uuid import UUID

import orjson

from tuner import pickling
from tuner.utf8 import escaped, is_utf8

_TAG = "$"
_TAG_BYTES = b'"$"'
_REPR_BYTES = b'"$":"repr"'
_FAST = (
    orjson.OPT_PASSTHROUGH_DATACLASS
    | orjson.OPT_PASSTHROUGH_DATETIME
    | orjson.OPT_PASSTHROUGH_SUBCLASS
)
_EXACT_SCALARS = frozenset((bool, type(None)))
_is_none = functools.partial(operator.is_, None)
_PLAIN_TYPES: tuple[Any, ...] = (bool, int, float, str, bytes)
_KEY_TYPES = frozenset((*_PLAIN_TYPES, type(None)))
_INT64 = range(-(2**63), 2**63)


class StandIn(str):
    """The `repr` of an object that could not be pickled, or not be unpickled, or was not to be.

    Attributes:
        pickled: The pickled object, None if it could not be pickled. A pickle of the stand-in
            holds this in its place, so that loading it brings the object back.
    """

    __slots__ = ("pickled",)

    pickled: bytes | None

    def __new__(cls, text: str, pickled: bytes | None = None) -> StandIn:
        stand_in = super().__new__(cls, text)
        stand_in.pickled = pickled
        return stand_in

    def __reduce__(self) -> tuple[Any, ...]:
        if self.pickled is not None:
            return pickle.loads, (self.pickled,)
        return StandIn, (str(self),)


def encode_metrics(metrics: dict[Any, Any]) -> bytes:
    """One result as JSON; values that have an obvious plain form are brought to it.

    Example:
        >>> encode_metrics({"loss": float("nan"), "n": 3})
        b'{"loss":{"$":"float","v":"nan"},"n":3}'
    """
    try:
        raw = orjson.dumps(metrics, _plain, _FAST)
    except TypeError:
        return orjson.dumps(_tagged(metrics, exact=False))
    # orjson turns NaN and infinities into null: more nulls than None may tell of them.
    if raw.count(b"null") > sum(map(_is_none, metrics.values())) or _TAG_BYTES in raw:
        return orjson.dumps(_tagged(metrics, exact=False))
    return raw


def lost_metrics(metrics: dict[Any, Any], raw: bytes) -> list[Any]:
    """The names of those metrics of which `raw`, their encoding, holds no more than a `repr`."""
    if _REPR_BYTES not in raw:
        return []
    return [key for key, value in metrics.items() if _REPR_BYTES in encode_metrics({key: value})]


def encode_exact(value: object) -> bytes:
    """Any picklable value as JSON that `decode` turns back into an equal value of the same types.

    Raises:
        TypeError, pickle.PicklingError: a part of the value can neither be written nor pickled.

    Example:
        >>> decode(encode_exact({"betas": (0.9, 0.999), 3: b"x"}))
        {'betas': (0.9, 0.999), 3: b'x'}
    """
    if _is_plain(value):
        return orjson.dumps(value)
    return orjson.dumps(_tagged(value, exact=True))


def decode(raw: bytes, *, unpickle: bool = True) -> Any:
    """The value that `encode_metrics` or `encode_exact` wrote.

    Args:
        raw: JSON of one value.
        unpickle: Whether arbitrary objects are unpickled; otherwise their `repr` stands for them,
            and a Python number for a numpy scalar.
    """
    value = orjson.loads(raw)
    return untag(value, unpickle=unpickle) if _TAG_BYTES in raw else value


def untag(value: Any, *, unpickle: bool = True) -> Any:
    """Replaces every tagged object in parsed JSON by the value that it stands for."""
    if isinstance(value, list):
        return [untag(item, unpickle=unpickle) for item in value]
    if not isinstance(value, dict):
        return value
    kind = value.get(_TAG)
    if kind is None:
        return {key: untag(item, unpickle=unpickle) for key, item in value.items()}
    content: Any = value.get("v")
    if kind in ("tuple", "set", "frozenset"):
        return _SEQUENCES[kind](untag(item, unpickle=unpickle) for item in content)
    if kind == "dict":
        return dict(untag(pair, unpickle=unpickle) for pair in content)
    if kind == "array":
        return _array(value) if unpickle else untag(content)
    if kind in ("pickle", "object"):
        return _unpickled(value) if unpickle else _stand_in(value)
    return _SCALARS[kind](content)


_SEQUENCES: dict[str, Any] = {"tuple": tuple, "set": set, "frozenset": frozenset}
_SCALARS: dict[str, Any] = {
    "float": float,
    "int": int,
    "bytes": base64.b64decode,
    "repr": StandIn,
    "str": ast.literal_eval,
}


def _tagged(value: Any, *, exact: bool) -> Any:
    kind = type(value)
    if kind is str:
        return value if is_utf8(value) else {_TAG: "str", "v": ascii(value)}
    if kind in _EXACT_SCALARS:
        return value
    if kind is int:
        return value if value in _INT64 else {_TAG: "int", "v": str(value)}
    if kind is float:
        return value if math.isfinite(value) else {_TAG: "float", "v": str(value)}
    if kind is list or (kind is tuple and not exact):
        return [_tagged(item, exact=exact) for item in value]
    if kind is dict:
        return _tagged_dict(value, exact=exact)
    if kind is bytes:
        return {_TAG: "bytes", "v": base64.b64encode(value).decode()}
    if kind is tuple:
        return {_TAG: "tuple", "v": [_tagged(item, exact=True) for item in value]}
    if kind in (set, frozenset):
        members = value if exact else _plain_keys(value)
        return {_TAG: kind.__name__, "v": [_tagged_key(item, exact=exact) for item in members]}
    if not exact:
        plain = _plain_or_self(value)
        if plain is not value:
            return _tagged(plain, exact=False)
        if _is_array(value):
            return _tagged_array(value)
    return _pickled(value, exact=exact)


def _tagged_dict(value: dict[Any, Any], *, exact: bool) -> dict[str, Any]:
    if not exact and (keys := _plain_keys(value)) is not value:
        value = dict(zip(keys, value.values(), strict=True))
    if _TAG not in value and all(type(key) is str and is_utf8(key) for key in value):
        return {key: _tagged(item, exact=exact) for key, item in value.items()}
    pairs = [
        [_tagged_key(key, exact=exact), _tagged(item, exact=exact)] for key, item in value.items()
    ]
    return {_TAG: "dict", "v": pairs}


def _tagged_key(key: Any, *, exact: bool) -> Any:
    """A dictionary's key or a member of a set, which has to stay hashable also in a metric."""
    kind = type(key)
    if kind is tuple or kind is frozenset:
        return {_TAG: kind.__name__, "v": [_tagged_key(item, exact=exact) for item in key]}
    is_plain = kind in _KEY_TYPES
    return _tagged(key, exact=True) if exact or is_plain else _pickled(key, exact=False)


def _plain_keys(keys: Collection[Any]) -> Collection[Any]:
    """Keys of a dictionary or members of a set in their plain form, which stays hashable."""
    if _KEY_TYPES.issuperset(map(type, keys)):
        return keys
    plain = [_plain_key(key) for key in keys]
    return plain if len(set(plain)) == len(keys) else keys


def _plain_key(key: Any) -> Any:
    plain = _plain_or_self(key)
    return plain if type(plain) in _KEY_TYPES else key


def _is_plain(value: Any) -> bool:
    """Whether JSON alone gives back the same value with the same types."""
    kind = type(value)
    if kind is str:
        return is_utf8(value)
    if kind in _EXACT_SCALARS:
        return True
    if kind is int:
        return value in _INT64
    if kind is float:
        return math.isfinite(value)
    if kind is list:
        return all(map(_is_plain, value))
    if kind is dict:
        return (
            _TAG not in value
            and all(type(key) is str and is_utf8(key) for key in value)
            and all(map(_is_plain, value.values()))
        )
    return False


def _plain(value: Any) -> Any:
    plain = _plain_or_self(value)
    if plain is value:
        raise TypeError
    return plain


def _plain_or_self(value: Any) -> Any:
    """The obvious plain form of arrays, tensors and subclasses of plain types, if there is one."""
    if isinstance(value, Enum):
        return value.value
    if _is_array(value):
        return value
    if isinstance(value, UUID):
        return str(value)
    if hasattr(value, "tolist"):  # numpy scalars and arrays, torch and jax tensors
        return _listed(value)
    for kind in _PLAIN_TYPES:
        if isinstance(value, kind):
            return kind(value)
    if isinstance(value, dict):
        return dict(value)
    if isinstance(value, (list, tuple)):
        return list(value)
    return value


def _is_array(value: Any) -> bool:
    """Whether it is a numpy array of numbers or truth values with a dimension or more."""
    kind = type(value)
    if kind.__name__ != "ndarray" or kind.__module__ != "numpy":
        return False
    return value.ndim > 0 and value.dtype.kind in "biuf" and value.dtype.itemsize <= 8


def _tagged_array(value: Any) -> dict[str, Any]:
    content = _tagged(value.tolist(), exact=True)
    return {_TAG: "array", "dtype": value.dtype.name, "shape": value.shape, "v": content}


def _array(tagged: dict[str, Any]) -> Any:
    import numpy as np

    return np.array(untag(tagged["v"]), tagged["dtype"]).reshape(tagged["shape"])


def _listed(value: Any) -> Any:
    try:
        plain = value.detach().tolist() if hasattr(value, "detach") else value.tolist()
    except Exception:  # classes of arrays, and tensors whose numbers are not at hand
        return value
    if type(plain) is not type(value):
        return plain
    return float(value) if isinstance(value, Real) else value  # numpy's long double


def _pickled(value: Any, *, exact: bool) -> dict[str, Any]:
    try:
        content = base64.b64encode(pickling.dumps(value)).decode()
    except Exception:
        if exact:
            raise
        return {_TAG: "repr", "v": _readable(value)}
    tagged = {_TAG: "pickle" if exact else "object", "repr": _readable(value), "v": content}
    plain = _plain_scalar(value)
    if plain is not None:
        tagged["plain"] = _tagged(plain, exact=True)
    return tagged


def _plain_scalar(value: Any) -> Any:
    """The Python number, truth value or string that a numpy scalar stands for, if it is one."""
    if type(value).__module__ == "numpy" and getattr(value, "ndim", None) == 0:
        plain = _listed(value)
        if type(plain) in (bool, int, float, str):
            return plain
    return None


def _stand_in(tagged: dict[str, Any]) -> Any:
    if "plain" in tagged:
        return untag(tagged["plain"])
    return StandIn(tagged["repr"], base64.b64decode(tagged["v"]))


def _unpickled(tagged: dict[str, Any]) -> Any:
    try:
        return pickle.loads(base64.b64decode(tagged["v"]))
    except Exception:  # who needs the object asks for it; a metric must not end the experiment
        return StandIn(tagged["repr"])


def _readable(value: Any) -> str:
    try:
        text = _name_or_repr(value)
    except Exception as error:
        text = f"<{type(value).__name__}, whose repr raised {type(error).__name__}>"
    return escaped(text)


def _name_or_repr(value: Any) -> str:
    if isinstance(value, type) or (hasattr(value, "__qualname__") and hasattr(value, "__module__")):
        return f"{value.__module__}.{value.__qualname__}"
    return repr(value)
