"""What older scripts import from `ray.tune.stopper`."""

from typing import Any

from tuner.stoppers import (
    CombinedStopper,
    ExperimentPlateauStopper,
    FunctionStopper,
    MaximumIterationStopper,
    NoopStopper,
    Stopper,
    TimeoutStopper,
    TrialPlateauStopper,
)

__all__ = [
    "CombinedStopper",
    "ExperimentPlateauStopper",
    "FunctionStopper",
    "MaximumIterationStopper",
    "NoopStopper",
    "Stopper",
    "TimeoutStopper",
    "TrialPlateauStopper",
]


def __getattr__(name: str) -> Any:
    if name != "EarlyStopping":
        raise AttributeError(f"module 'tuner.legacy.stopper' has no attribute {name!r}")

    from tuner.legacy.deprecation import warn_once

    warn_once("EarlyStopping(…)", "ExperimentPlateauStopper(…)")
    return ExperimentPlateauStopper
