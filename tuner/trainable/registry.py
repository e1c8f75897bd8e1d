"""Trainables that are referred to by name."""

from __future__ import annotations

from typing import Any

from tuner.errors import TrainableError
from tuner.trainable.wrappers import TrainableLike, check_trainable

_registered: dict[str, TrainableLike] = {}


def register_trainable(name: str, trainable: TrainableLike, warn: bool = True) -> None:
    """Makes a trainable known under a name, for `Tuner("name")`.

    Args:
        name: The name; a second registration replaces the first.
        trainable: A function or `Trainable` class.
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
    check_trainable(trainable)
    _registered[name] = trainable


def get_trainable(trainable: Any) -> TrainableLike:
    """The trainable that a name stands for; anything else than a string is returned as it is.

    Raises:
        TrainableError: nothing is registered under this name.
    """
    if not isinstance(trainable, str):
        check_trainable(trainable)
        return trainable
    if trainable in _registered:
        return _registered[trainable]
    known = ", ".join(sorted(_registered)) or "none"
    raise TrainableError(
        f"Tuner: no trainable is registered as {trainable!r} (registered: {known}); call "
        f"register_trainable({trainable!r}, …) first"
    )
