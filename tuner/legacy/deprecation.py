"""Deprecated names work, and say once what takes their place."""

from __future__ import annotations

import os
import sys
import warnings

import tuner
from tuner.trainable.session import get_context

_LIBRARY = os.path.dirname(os.path.abspath(tuner.__file__))

_warned: set[str] = set()


def warn_once(old: str, today: str | None = None, *, because: str = "") -> None:
    """Warns that a name is of an older API, once per process and name.

    The warning points at the line of the user that brought it about. What trials do, the first
    one of an experiment warns of, for all; of what a worker imports, the driver has warned.

    Args:
        old: What was used, such as `"tune.track.log(…)"`.
        today: What takes its place, such as `"tune.report({…})"`; None if nothing has to.
        because: Why nothing has to.
    """
    if old in _warned or _is_said_elsewhere():
        return
    _warned.add(old)
    successor = f"; today's form is {today}" if today else f" and has no effect: {because}"
    message = f"{old} is of an older API{successor}"
    warnings.warn(message, FutureWarning, stacklevel=_frames_of_library())


def _is_said_elsewhere() -> bool:
    trial_id = get_context().get_trial_id()
    if trial_id is not None:
        return not trial_id.endswith("_00000")
    main = getattr(sys.modules.get("__main__"), "main", None)  # of a process of this library
    return str(getattr(main, "__module__", "")).startswith("tuner.")


def _frames_of_library() -> int:
    """How many frames from `warn_once` up to the first one outside of this library."""
    frame = sys._getframe(1)
    depth = 1
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_LIBRARY + os.sep):
        frame = frame.f_back
        depth += 1
    return depth
