"""Errors of today's configs, in the words of the older API that was called."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tuner.errors import ConfigError

_FIELD = re.compile(r"^\w+Config\((\w+)=")


@contextmanager
def named_as(owner: str | Callable[[str], str], **older: str) -> Iterator[None]:
    """Has errors about a field of a config name the argument that the user has given.

    Args:
        owner: What the user called, or a function of the argument that tells it.
        **older: Arguments that are not called as their fields, by these.

    Example:
        >>> from tuner import TuneConfig
        >>> with named_as("Experiment", num_samples="repeat"):
        ...     TuneConfig(num_samples=0)
        Traceback (most recent call last):
            ...
        tuner.errors.ConfigError: Experiment(repeat=0): use a whole number >= 1, or -1 for no limit
    """
    try:
        yield
    except ConfigError as error:
        field = _FIELD.match(str(error))
        if field is None:
            raise
        name = older.get(field[1], field[1])
        called = owner if isinstance(owner, str) else owner(name)
        raise ConfigError(f"{called}({name}={str(error)[field.end() :]}") from None
