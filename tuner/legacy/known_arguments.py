"""Functions that explain an argument they do not know."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any, NoReturn, ParamSpec, TypeVar

from tuner.errors import ConfigError
from tuner.validation import did_you_mean, reject, shorten

_GONE = {
    "chdir_to_trial_dir": "set the environment variable TUNE_CHDIR_TO_TRIAL_DIR to 0 or 1",
    "return_trials": "what is returned has them as .trials",
    "sync_on_checkpoint": "checkpoints are on the storage when report() returns",
}
"""Arguments that there once were, and what is done today."""

P = ParamSpec("P")
T = TypeVar("T")


def known_arguments_only(owner: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Has a function raise a `ConfigError` that names the argument to give, not a `TypeError`.

    Args:
        owner: What the user calls the function.

    Example:
        >>> @known_arguments_only("tune.add")
        ... def add(one, other=0):
        ...     return one + other
        >>> add(1, othr=2)
        Traceback (most recent call last):
            ...
        tuner.errors.ConfigError: tune.add(othr=2): no such argument; did you mean 'other'?
    """

    def explained(function: Callable[P, T]) -> Callable[P, T]:
        parameters = inspect.signature(function).parameters.values()
        known = [each.name for each in parameters if each.name != "self"]
        by_position = [each for each in parameters if each.kind is not each.KEYWORD_ONLY]

        @functools.wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> T:
            for name, value in kwargs.items():
                if name not in known:
                    reject_unknown(owner, name, value, known)
            if len(by_position) < len(args) <= len(parameters):
                number = len(by_position)
                name, value = [*parameters][number].name, shorten(args[number])
                raise ConfigError(
                    f"{owner}: {value} is given without a name; give {name}={value}, if that is "
                    "what it is"
                )
            return function(*args, **kwargs)

        return checked

    return explained


def reject_unknown(owner: str, name: str, value: Any, known: Iterable[str]) -> NoReturn:
    """Raises the `ConfigError` for an argument that there is not."""
    if name in _GONE:
        reject(owner, name, value, f"no such argument; {_GONE[name]}")
    reject(owner, name, value, f"no such argument{did_you_mean(name, known)}")
