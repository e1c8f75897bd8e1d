"""What an experiment found, as `tune.run` returns it, or read from its folder."""

from typing import Any

from tuner.analysis.experiment_analysis import ExperimentAnalysis

__all__ = ["ExperimentAnalysis"]


def __getattr__(name: str) -> Any:
    if name != "Analysis":
        raise AttributeError(f"module 'tuner.analysis' has no attribute {name!r}")

    from tuner.legacy.deprecation import warn_once

    warn_once("Analysis(…)", "ExperimentAnalysis(…)")
    return ExperimentAnalysis
