"""Which checkpoints of a trial are kept."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any

from tuner.experiment.trial import SavedCheckpoint
from tuner.flatten import lookup
from tuner.metrics import as_number


class Retention:
    """Keeps the best or the most recent checkpoints, and always the latest.

    Args:
        num_to_keep: How many are kept, None for all. The latest one is kept beyond this number
            when it is not among the best.
        score_attribute: The metric that says which are best, `a/b` for nested ones; without it
            the most recent are kept. A missing or NaN score is the worst.
        score_order: Whether a larger (`"max"`) or a smaller (`"min"`) score is better.
    """

    def __init__(
        self,
        num_to_keep: int | None = None,
        score_attribute: str | None = None,
        score_order: str = "max",
    ) -> None:
        self._num_to_keep = num_to_keep
        self._attribute = score_attribute
        self._sign = 1.0 if score_order == "max" else -1.0

    def score(self, result: dict[str, Any]) -> float | None:
        """The score that a checkpoint saved with this result has."""
        if self._attribute is None:
            return None
        return as_number(lookup(result, self._attribute))

    def superfluous(
        self, checkpoints: Sequence[SavedCheckpoint], in_use: Collection[str] = ()
    ) -> list[SavedCheckpoint]:
        """Those of `checkpoints` (oldest first) that need not be kept.

        Args:
            checkpoints: What there is, oldest first.
            in_use: Names of those that attempts resumed from or are to, which stay.
        """
        if self._num_to_keep is None or len(checkpoints) <= self._num_to_keep:
            return []
        latest = checkpoints[-1]
        ended = self.ranked(checkpoints)[: -self._num_to_keep]
        return [c for c in ended if c is not latest and c.name not in in_use]

    def best(self, checkpoints: Sequence[SavedCheckpoint]) -> list[SavedCheckpoint]:
        """As many of the checkpoints as are to be kept, best last."""
        ranked = self.ranked(checkpoints)
        return ranked if self._num_to_keep is None else ranked[-self._num_to_keep :]

    def ranked(self, checkpoints: Sequence[SavedCheckpoint]) -> list[SavedCheckpoint]:
        """The checkpoints, best last; of equal scores, the later one is better."""
        if self._attribute is None:
            return list(checkpoints)
        return sorted(checkpoints, key=self._rank)

    def _rank(self, checkpoint: SavedCheckpoint) -> float:
        score = checkpoint.score
        return -math.inf if score is None or score != score else self._sign * score
