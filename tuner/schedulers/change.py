"""What a scheduler wants done to a paused trial, as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tuner.bundles import Bundles


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A paused trial is to go on otherwise than it paused, once it is chosen to run.

    A pending trial can be given other resources, and nothing else.

    Attributes:
        trial_id: The trial.
        config: The configuration it goes on with, whole; None to keep the one that it has.
        donor: Id of the trial from whose latest checkpoint it goes on; None for its own. The
            donor must have a checkpoint, which is kept until it is no longer needed.
        bundles: The resources it goes on with; None to keep those that it has.
        is_logged: Whether the change is written to the `pbt_policy_*.txt` files; only a change
            with a donor can be.

    Example:
        >>> Change(trial_id="a_00001", donor="a_00003", config={"lr": 0.012}).donor
        'a_00003'
    """

    trial_id: str
    config: dict[str, Any] | None = None
    donor: str | None = None
    bundles: Bundles | None = None
    is_logged: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """A paused trial is to end.

    Attributes:
        trial_id: The trial.
    """

    trial_id: str
