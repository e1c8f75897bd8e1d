"""How far a trial has come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Progress:
    """What the autofilled fields of a trial's next result build upon.

    Attributes:
        iteration: Number of reports so far.
        time_total_s: Seconds of training so far, over all attempts.
        timesteps_total: Sum of the reported `timesteps_this_iter`, if any was reported.
        episodes_total: Sum of the reported `episodes_this_iter`, if any was reported.
    """

    iteration: int = 0
    time_total_s: float = 0.0
    timesteps_total: int | None = None
    episodes_total: int | None = None

    @classmethod
    def after(cls, result: dict[str, Any]) -> Progress:
        """The progress that a result states; nothing for an empty one."""
        return cls(
            iteration=result.get("training_iteration", 0),
            time_total_s=result.get("time_total_s", 0.0),
            timesteps_total=result.get("timesteps_total"),
            episodes_total=result.get("episodes_total"),
        )
