"""Trainables that are referred to by name."""

from __future__ import annotations

from typing import Any

from tuner.errors import TrainableError
from tuner.trainable import converters
from tuner.trainable.wrappers import TrainableLike, check_trainable
from tuner.validation import did_you_mean

_registered: dict[str, TrainableLike] = {}


def register_trainable(name: str, trainable: TrainableLike, warn: bool = True) -> None:
    """Makes a trainable known under a name, for `Tuner("name")`.

    Args:
        name: The name; a second registration replaces the first.
        trainable: A function, a `Trainable` class or an algorithm class of RLlib.
        warn: Accepted for compatibility, without effect.

    Raises:
        TrainableError: `name` is no string, or `trainable` cannot be trained.

    Example:
        >>> register_trainable("constant", lambda config: {"score": 1})
        >>> get_trainable("constant")({})
        {'score': 1}
    """
    if not isinstance(name, str) or not name:
        raise TrainableError(f"register_trainable: name={name!r} must be a string with a character")
    _registered[name] = _checked(trainable, "register_trainable")


def is_registered(name: str) -> bool:
    """Whether a trainable was registered under this name."""
    return name in _registered


def get_trainable(trainable: Any) -> TrainableLike:
    """The trainable that a name stands for, or that is made of what another library trains.

    Functions and `Trainable` classes are returned as they are.

    Raises:
        TrainableError: nothing is registered under this name, or it cannot be trained.
        MissingDependencyError: it is of a library that is not installed.
    """
    if not isinstance(trainable, str):
        return _checked(trainable, "Tuner")
    if trainable in _registered:
        return _registered[trainable]
    found = converters.trainable_named(trainable)
    if found is not None:
        return found
    known = ", ".join(sorted(_registered)) or "none"
    raise TrainableError(
        f"Tuner: no trainable is registered as {trainable!r} (registered: {known}); call "
        f"register_trainable({trainable!r}, …) first"
        f"{did_you_mean(trainable, {*_registered, *converters.names()})}"
    )


def _checked(trainable: Any, where: str) -> TrainableLike:
    trainable = converters.converted(trainable)
    check_trainable(trainable, where)
    return trainable
