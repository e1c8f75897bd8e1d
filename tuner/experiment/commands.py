"""What the state machine wants done in the world, as values."""

from __future__ import annotations

from dataclasses import dataclass

from tuner.experiment.requests import Outcome
from tuner.experiment.trial import Trial
from tuner.trial_progress import Progress


@dataclass(frozen=True, slots=True)
class Launch:
    """Start the trial's current attempt, from `checkpoint` or anew.

    The checkpoint is a name in the folder of the `donor`, or without one in the trial's own.
    """

    trial: Trial
    attempt: int
    checkpoint: str | None
    progress: Progress
    donor: Trial | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """Tell a worker that waits in `report()` what was decided."""

    trial_id: str
    attempt: int
    decision: str


@dataclass(frozen=True, slots=True)
class EndAttempt:
    """End an attempt that was not told so by an answer: first gently, then by force."""

    trial_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class CommitCheckpoint:
    """Give a staged checkpoint its final name."""

    trial: Trial
    attempt: int
    name: str


@dataclass(frozen=True, slots=True)
class DeleteCheckpoint:
    """Remove a checkpoint that is no longer kept."""

    trial: Trial
    name: str


@dataclass(frozen=True, slots=True)
class DiscardStaged:
    """Remove what an attempt has staged and will not bring to an end."""

    trial: Trial
    attempt: int


@dataclass(frozen=True, slots=True)
class Respond:
    """Tell who asked for something what came of it."""

    request_id: str
    outcome: Outcome


Command = (
    Launch | Answer | EndAttempt | CommitCheckpoint | DeleteCheckpoint | DiscardStaged | Respond
)
