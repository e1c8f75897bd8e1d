"""Functions of `ray.tune` that a trial calls in place of ours, where one import was forgotten."""

from __future__ import annotations

import contextlib
import re
import sys
import warnings
from collections.abc import Iterator

from tuner.errors import TrainableError

_WARNING = r"`(\w+)` is meant to only be called inside a function that is executed by a Tuner"
_OURS = {"report": "tuner.report", "get_checkpoint": "tuner.get_checkpoint"}


@contextlib.contextmanager
def refused() -> Iterator[None]:
    """While entered, they raise: Ray only warns, once, and what they report is lost.

    Raises:
        TrainableError: The code within has called one.
    """
    debug = sys.modules.get("ray.util.debug")
    if debug is not None:
        debug.reset_log_once()  # it may have warned in an earlier trial of this process
    with warnings.catch_warnings():
        warnings.filterwarnings("error", _WARNING, UserWarning)
        try:
            yield
        except UserWarning as warning:
            found = re.match(_WARNING, str(warning))
            if found is None:
                raise
            name = found[1]
            raise TrainableError(
                f"{name} of ray.tune knows nothing of this trial, which tuner runs; call "
                f"{_OURS.get(name, f'tuner.get_context().{name}')} instead (import tuner as tune)"
            ) from warning
