"""The short text that tells a trial's parameters in its folder name and in tables."""

import functools
import re
import reprlib
from collections import Counter
from collections.abc import Mapping
from typing import Any

_MAX_VALUE = 32
_MAX_TAG = 128
_UNSAFE = re.compile(r"[^\w.+-]+")


def format_tag(evaluated: Mapping[str, Any]) -> str:
    """Returns `name=value` pairs that can stand in a file name.

    Names are shortened to their last parts, as long as they stay apart and do not begin with a
    list index; floats have 4 significant digits; the whole has at most 128 characters.

    Args:
        evaluated: Values by flat name, as from `evaluated_params`.

    Example:
        >>> format_tag({"alpha": 0.123456, "model/layers/0": 2, "data/file": "a b.csv"})
        'alpha=0.1235,layers_0=2,file=a_b.csv'
    """
    names = _short_names(tuple(evaluated))
    pairs = [f"{names[name]}={_safe(_text(value))}" for name, value in evaluated.items()]
    return ",".join(pairs)[:_MAX_TAG]


@functools.lru_cache(maxsize=16)  # most trials have the same parameters
def _short_names(names: tuple[str, ...]) -> dict[str, str]:
    endings = {name: _endings(name) for name in names}
    counts = Counter(ending for all_endings in endings.values() for ending in all_endings)
    return {
        name: _safe(next((ending for ending in endings[name] if counts[ending] == 1), name))
        for name in names
    }


def _endings(name: str) -> list[str]:
    """Returns the ends of a flat name, shortest first, that do not begin with a list index."""
    parts = name.split("/")
    starts = [i for i in range(len(parts)) if i == 0 or not parts[i].isdecimal()]
    return ["/".join(parts[start:]) for start in reversed(starts)]


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if type(value).__module__ == "numpy" and getattr(value, "ndim", None) == 0:
        value = value.item()
    return f"{value:.4g}" if isinstance(value, float) else _REPR.repr(value)


class _ShortRepr(reprlib.Repr):
    """Shortens containers, and leaves out addresses, which differ in every run."""

    def repr_instance(self, x: Any, level: int) -> str:
        if isinstance(x, type) or callable(x):
            return getattr(x, "__name__", type(x).__name__)
        text = repr(x)
        return type(x).__name__ if " at 0x" in text else text


_REPR = _ShortRepr()


def _safe(text: str) -> str:
    return _UNSAFE.sub("_", text[: 2 * _MAX_VALUE]).strip("_")[:_MAX_VALUE]
