"""The experiment: trials, events, the state machine, the journal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tuner.experiment.trial import Trial

__all__ = ["Trial"]


def __getattr__(name: str) -> Any:
    if name != "Trial":
        raise AttributeError(f"module 'tuner.experiment' has no attribute {name!r}")
    from tuner.experiment.trial import Trial

    return Trial
