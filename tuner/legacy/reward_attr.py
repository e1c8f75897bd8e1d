"""`reward_attr`: how 0.5 names the metric, which is to grow."""

from __future__ import annotations

from tuner.legacy.deprecation import warn_once
from tuner.validation import reject


def objective(
    owner: str, reward_attr: str | None, metric: str | None, mode: str | None
) -> tuple[str | None, str | None]:
    """The metric and the mode that are meant.

    Args:
        owner: The class that has these arguments.
        reward_attr: The reported value that is to grow, as 0.5 names it.
        metric: The metric, as it is named since.
        mode: Its mode.

    Raises:
        ConfigError: `reward_attr` is given beside one of the others.

    Example:
        >>> objective("MedianStoppingRule", None, "loss", "min")
        ('loss', 'min')
    """
    if reward_attr is None:
        return metric, mode
    if metric is not None or mode is not None:
        reject(owner, "reward_attr", reward_attr, "give it, or metric and mode")
    warn_once(f"{owner}(reward_attr=…)", f'{owner}(metric=…, mode="max")')
    return reward_attr, "max"
