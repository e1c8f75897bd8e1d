"""Errors of callbacks: which of them it was, and where, without what lies in between."""

from __future__ import annotations

import os
from types import TracebackType

from tuner.callbacks.callback import Callback

_LIBRARY = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "")
_INTEGRATIONS = os.path.join(_LIBRARY, "integrations", "")
_RAISED = " has raised this, for the callback "


def blame(error: Exception, callback: Callback) -> None:
    """Notes at an error that a callback has raised it; one of the library's own is left alone."""
    users = _users_part(error.__traceback__)
    if users is not None:
        raised = users.tb_frame.f_code.co_qualname
        error.add_note(f"{raised}{_RAISED}{type(callback).__name__}.")


def begin_at_callback(error: Exception) -> None:
    """Has the traceback of an error of a callback begin there; any other is left as it is."""
    if any(_RAISED in note for note in getattr(error, "__notes__", ())):
        error.__traceback__ = _users_part(error.__traceback__)


def _users_part(frames: TracebackType | None) -> TracebackType | None:
    while frames is not None and _is_between(frames.tb_frame.f_code.co_filename):
        frames = frames.tb_next
    return frames


def _is_between(file: str) -> bool:
    return file.startswith(_LIBRARY) and not file.startswith(_INTEGRATIONS)
