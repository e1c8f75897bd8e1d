"""What functions of 1.x ask about their trial, by today's calls."""

from __future__ import annotations

from tuner.legacy.deprecation import warn_once
from tuner.trainable.session import get_context, get_session


def get_trial_id() -> str | None:
    """Id of the running trial, None outside of one."""
    warn_once("tune.get_trial_id()", "tune.get_context().get_trial_id()")
    return get_context().get_trial_id()


def get_trial_name() -> str | None:
    """Name of the running trial, None outside of one."""
    warn_once("tune.get_trial_name()", "tune.get_context().get_trial_name()")
    return get_context().get_trial_name()


def get_trial_dir() -> str | None:
    """Folder of the running trial, None outside of one."""
    warn_once("tune.get_trial_dir()", "tune.get_context().get_trial_dir()")
    return get_context().get_trial_dir()


def is_session_enabled() -> bool:
    """Whether this is called in a trial."""
    warn_once("tune.is_session_enabled()", "tune.get_context().get_trial_id() is not None")
    return get_session() is not None
