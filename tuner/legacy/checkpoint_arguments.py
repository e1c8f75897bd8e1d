"""Which checkpoints are made and kept, as the older APIs say it."""

from __future__ import annotations

import dataclasses
from typing import Any

from tuner.config import CheckpointConfig
from tuner.legacy.deprecation import warn_once
from tuner.legacy.error_names import named_as
from tuner.validation import check_text, reject

_MIN = "min-"
_OLDER = {
    "checkpoint_frequency": "checkpoint_freq",
    "num_to_keep": "keep_checkpoints_num",
    "checkpoint_score_attribute": "checkpoint_score_attr",
}
"""Arguments by the fields of today."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CheckpointArguments:
    """The arguments of `tune.run` and `Experiment` that speak of checkpoints.

    Attributes:
        checkpoint_config: Today's form of the others, a dictionary of its fields will do.
        checkpoint_freq: A checkpoint of a class trainable every so many iterations; 0 never.
        checkpoint_at_end: Whether a class trainable is saved when its trial ends.
        keep_checkpoints_num: How many of a trial's checkpoints are kept; None for all.
        checkpoint_score_attr: The metric whose best checkpoints are kept, `"min-loss"` where a
            lower one is better.

    Example:
        >>> CheckpointArguments().as_config("tune.run").checkpoint_at_end
        False
    """

    checkpoint_config: CheckpointConfig | dict[str, Any] | None = None
    checkpoint_freq: int = 0
    checkpoint_at_end: bool = False
    keep_checkpoints_num: int | None = None
    checkpoint_score_attr: str | None = None

    def as_config(self, owner: str) -> CheckpointConfig:
        """Today's form.

        Args:
            owner: What the user called with them.

        Raises:
            ConfigError: One cannot work, or contradicts `checkpoint_config`.
        """
        given = self.checkpoint_config
        fields = self._translated(owner)
        if given is None:
            with named_as(owner, **_OLDER):
                return CheckpointConfig(**{"checkpoint_at_end": False, **fields})
        if fields:
            reject(owner, "checkpoint_config", given, f"give {', '.join(fields)} in it alone")
        if isinstance(given, CheckpointConfig):
            return given
        if not isinstance(given, dict):
            reject(owner, "checkpoint_config", given, "use CheckpointConfig(...)")
        return CheckpointConfig(**given)

    def _translated(self, owner: str) -> dict[str, Any]:
        """The fields of a `CheckpointConfig` that the older arguments set."""
        fields: dict[str, Any] = {}
        if self.checkpoint_freq:
            fields["checkpoint_frequency"] = self.checkpoint_freq
            _warn(owner, "checkpoint_freq", "checkpoint_frequency=…")
        if self.checkpoint_at_end:
            fields["checkpoint_at_end"] = self.checkpoint_at_end
            _warn(owner, "checkpoint_at_end", "checkpoint_at_end=…")
        if self.keep_checkpoints_num is not None:
            fields["num_to_keep"] = self.keep_checkpoints_num
            _warn(owner, "keep_checkpoints_num", "num_to_keep=…")
        score = self.checkpoint_score_attr
        if score is not None:
            check_text(owner, "checkpoint_score_attr", score, "use the name of a metric")
            fields["checkpoint_score_attribute"] = score.removeprefix(_MIN)
            fields["checkpoint_score_order"] = "min" if score.startswith(_MIN) else "max"
            today = "checkpoint_score_attribute=…, checkpoint_score_order=…"
            _warn(owner, "checkpoint_score_attr", today)
        return fields


def _warn(owner: str, name: str, fields: str) -> None:
    warn_once(f"{owner}({name}=…)", f"checkpoint_config=CheckpointConfig({fields})")
