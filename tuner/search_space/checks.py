"""Checks of what a user passes to a domain; each failure is one line naming call, value and fix."""

import math
import operator
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from tuner.errors import SearchSpaceError
from tuner.validation import shorten


def call_text(function: str, *args: object) -> str:
    """Returns a call as a user would have typed it, for messages and reprs."""
    return f"{function}({', '.join(shorten(arg) for arg in args)})"


def fail(call: str, problem: str) -> NoReturn:
    """Raises the error for `call`, whose arguments cannot work."""
    raise SearchSpaceError(f"{call}: {problem}")


def finite(call: str, name: str, value: Any) -> float:
    """Returns `value` as a float, or raises if it is not a finite number."""
    if not isinstance(value, (str, bytes)):
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            pass
        else:
            if math.isfinite(number):
                return number
            fail(call, f"{name} must be finite, got {shorten(value)}")
    fail(call, f"{name} must be a number, got {shorten(value)}")


def whole(call: str, name: str, value: Any) -> int:
    """Returns `value` as an int, or raises if it is not a whole number of at most 64 bits."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    try:
        number = operator.index(value)
    except TypeError:
        fail(call, f"{name} must be a whole number, got {shorten(value)}")
    if not -(2**63) <= number < 2**63:
        fail(call, f"{name} must fit into 64 bits, got {shorten(value)}")
    return number


def listed(function: str, values: Any) -> list[Any]:
    """Returns the values given to `choice` or `grid_search` as a list, or raises.

    A set is put in the order of its reprs, so that it is the same in every process.
    """
    call = call_text(function, values)
    if isinstance(values, (str, bytes)):
        fail(call, f"the values must be a list such as [{shorten(values)}], not a single text")
    if isinstance(values, Mapping):
        fail(call, "the values must be a list, not a dict; give list(d) or list(d.values())")
    if not isinstance(values, Iterable) or getattr(values, "shape", None) == ():
        fail(call, f"the values must be a list such as [{shorten(values)}]")
    chosen = sorted(values, key=repr) if isinstance(values, (set, frozenset)) else list(values)
    if not chosen:
        fail(call, "the values are empty; give at least one")
    return chosen


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal; arrays and frames are compared as a whole."""
    if one is other:
        return True
    try:
        return bool(one == other)
    except Exception:  # an array has no single truth value; any class may define `==`
        return type(one) is type(other) and _same_array(one, other)


def _same_array(one: Any, other: Any) -> bool:
    import numpy as np

    try:
        return bool(np.array_equal(one, other))
    except Exception:
        return False
