"""Loading the trainable in a process that is to run it."""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Iterator
from typing import Any

from tuner.execution.payload import load_payload
from tuner.trainable.wrappers import WrappedFunction

_is_loading = False


def load_trainable(payload: int) -> Any:
    """Loads the trainable and closes the file that holds it.

    Args:
        payload: Descriptor of the file that `write_payload` wrote.
    """
    global _is_loading
    _is_loading = True
    try:
        trainable = load_payload(payload)
    finally:
        _is_loading = False
        os.close(payload)
    share_main(trainable)
    return trainable


def share_main(trainable: Any) -> None:
    """Makes what a trainable refers to of the user's script part of `__main__` here as well.

    Code of a trial can then pickle objects of classes that the script defines.
    """
    main = sys.modules["__main__"]
    for function in _functions(trainable):
        if function.__module__ == "__main__":
            for name, value in function.__globals__.items():
                if not name.startswith("__"):
                    setattr(main, name, value)


def is_loading() -> bool:
    """Whether this process is loading a trainable, during which no experiment may begin."""
    return _is_loading


def _functions(trainable: Any) -> Iterator[Any]:
    """The functions that a trainable consists of; those of one script share their globals."""
    if isinstance(trainable, WrappedFunction):
        trainable = trainable.function
    while isinstance(trainable, functools.partial):
        trainable = trainable.func
    if inspect.isfunction(trainable):
        yield trainable
        return
    for each in inspect.getmro(trainable if inspect.isclass(trainable) else type(trainable)):
        yield from filter(inspect.isfunction, vars(each).values())
