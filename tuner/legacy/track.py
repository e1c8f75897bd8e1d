"""`tune.track`: how functions reported results in 0.8, by today's calls.

Outside of a trial nothing is recorded, as with `tune.report`.
"""

from __future__ import annotations

from typing import Any

from tuner.legacy.deprecation import warn_once
from tuner.legacy.metrics import old_metrics
from tuner.trainable.session import get_context, report


def log(_metric: float | None = None, /, **metrics: Any) -> None:
    """Reports a result of the running trial; the trial may end here.

    Args:
        _metric: One metric without a name.
        **metrics: Metrics by name.

    Raises:
        ReportError: There are none.
    """
    warn_once("tune.track.log(loss=…)", 'tune.report({"loss": …})')
    report(old_metrics("tune.track.log", _metric, metrics))


def trial_dir() -> str | None:
    """Folder of the running trial, None outside of one."""
    warn_once("tune.track.trial_dir()", "tune.get_context().get_trial_dir()")
    return get_context().get_trial_dir()


def trial_name() -> str | None:
    """Name of the running trial, None outside of one."""
    warn_once("tune.track.trial_name()", "tune.get_context().get_trial_name()")
    return get_context().get_trial_name()


def trial_id() -> str | None:
    """Id of the running trial, None outside of one."""
    warn_once("tune.track.trial_id()", "tune.get_context().get_trial_id()")
    return get_context().get_trial_id()


def init(ignore_reinit_error: bool = True, **settings: Any) -> None:
    """Accepted without effect: a trial is ready to report, and outside of one nothing is recorded.

    Args:
        ignore_reinit_error: Accepted for compatibility.
        **settings: Accepted for compatibility.
    """
    warn_once("tune.track.init()", because="tune.report({…}) needs no preparation")


def shutdown() -> None:
    """Accepted without effect: what was reported is recorded when the call returns."""
    warn_once("tune.track.shutdown()", because="what was reported is recorded")
