"""Functions as values in a configuration: 0.5 called those that `tune.function` did not protect."""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from tuner.legacy.deprecation import warn_once

F = TypeVar("F", bound=Callable[..., Any])

_protected: weakref.WeakSet[Callable[..., Any]] = weakref.WeakSet()


def function(value: F) -> F:
    """What is given, as it is: functions in a configuration are values today.

    Args:
        value: The function.

    Example:
        >>> function(len)
        <built-in function len>
    """
    warn_once("tune.function(…)", because="functions in a configuration are not called")
    if inspect.isfunction(value):
        _protected.add(value)
    return value


def warn_of_functions(config: Any, path: str = "") -> None:
    """Says, of each function that 0.5 would have called for a value, that it is the value.

    Args:
        config: The search space.
        path: Where it is in a larger one, such as `"model/"`.
    """
    if not isinstance(config, Mapping):
        return
    for key, value in config.items():
        if inspect.isfunction(value) and value not in _protected:
            old = f"a function to be called for config[{path + str(key)!r}]"
            warn_once(old, "tune.sample_from(function); as it is, the function is the value")
        warn_of_functions(value, f"{path}{key}/")
