"""What somebody outside asks of a live experiment, and what comes of it, as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class AddTrials:
    """Run configurations that the searcher has not proposed.

    Attributes:
        config: Values for parameters of the search space, nested like it, `{"grid_search": [...]}`
            for several trials; parameters that are missing are sampled.
        num_samples: How often.
    """

    config: dict[str, Any]
    num_samples: int = 1


@dataclass(frozen=True, slots=True)
class StopTrial:
    """End a trial: at its next report, or by force after a grace period."""

    trial_id: str


@dataclass(frozen=True, slots=True)
class PauseTrial:
    """Have a running trial pause at its next report, until it is resumed."""

    trial_id: str


@dataclass(frozen=True, slots=True)
class ResumeTrial:
    """Let a trial go on that was paused by a request."""

    trial_id: str


@dataclass(frozen=True, slots=True)
class ChangeLimits:
    """Other limits from now on; None leaves one as it is.

    Attributes:
        num_samples: How often the search space is sampled, what was done before included.
        time_budget_s: Seconds for the experiment, the time used before included.
        max_concurrent_trials: How many trials may run at once.
    """

    num_samples: int | None = None
    time_budget_s: float | None = None
    max_concurrent_trials: int | None = None


@dataclass(frozen=True, slots=True)
class StopExperiment:
    """End the experiment; `resumable`, trials are left to be continued by a restore."""

    resumable: bool = False


Request = AddTrials | StopTrial | PauseTrial | ResumeTrial | ChangeLimits | StopExperiment


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a request.

    Attributes:
        trial_ids: The trials that it was about, or that it added.
        refusal: Why nothing was done, None if it was done.
        kind: What is wrong: `"unknown"` a trial that there is not, `"conflict"` with the state of
            the experiment, `"invalid"` a value.
        field: Which value is wrong, `"spec.config"`; None where it is no value.
    """

    trial_ids: tuple[str, ...] = ()
    refusal: str | None = None
    kind: Literal["unknown", "conflict", "invalid"] | None = None
    field: str | None = None
