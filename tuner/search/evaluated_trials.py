"""The trials that another experiment has found, in whichever form it hands them out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tuner.errors import ConfigError


@dataclass(frozen=True, slots=True)
class EvaluatedTrial:
    """A trial of another experiment.

    Attributes:
        config: Its configuration.
        result: Its last result, `{}` without one.
        failed: Whether it ended with an error.
    """

    config: dict[str, Any]
    result: dict[str, Any]
    failed: bool


def evaluated_trials(source: Any) -> list[EvaluatedTrial]:
    """The trials of what an experiment has found.

    Args:
        source: A `ResultGrid`, an `ExperimentAnalysis`, a trial, a `Result`, or several of these.

    Raises:
        ConfigError: It is nothing of the kind.
    """
    source = getattr(source, "trials", source)
    found = [*source] if isinstance(source, Iterable) else [source]
    return [_evaluated(each) for each in found]


def _evaluated(trial: Any) -> EvaluatedTrial:
    if hasattr(trial, "config") and hasattr(trial, "last_result"):
        return EvaluatedTrial(trial.config, trial.last_result or {}, trial.status == "ERROR")
    if hasattr(trial, "config") and hasattr(trial, "metrics"):
        return EvaluatedTrial(trial.config or {}, trial.metrics or {}, trial.error is not None)
    raise ConfigError(
        f"{trial!r:.100} is no trial that a searcher could learn from; give an ExperimentAnalysis, "
        "a ResultGrid, or a list of trials"
    )
