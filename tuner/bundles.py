"""The resources of a trial: amounts by name, in one bundle or several."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tuner.errors import ConfigError

Bundle = dict[str, float]
"""Amounts of resources that go together on one node, such as `{"CPU": 1.0, "GPU": 0.5}`."""

Bundles = list[Bundle]
"""The resources of a trial; the first bundle is for the trainable itself."""


def normalized_bundle(bundle: Any) -> Bundle:
    """A bundle as it was given, checked, without amounts of zero.

    Raises:
        ConfigError: It is no dictionary of amounts.

    Example:
        >>> normalized_bundle({"cpu": 2, "gpu": 0, "license": 1})
        {'CPU': 2.0, 'license': 1.0}
    """
    if not isinstance(bundle, Mapping):
        raise ConfigError(f"resources: bundle {bundle!r} must be a dictionary of amounts")
    normalized: Bundle = {}
    for name, amount in bundle.items():
        if not (isinstance(name, str) and name):
            raise ConfigError(f"resources: the name {name!r} must be a string that is not empty")
        if isinstance(amount, bool) or not isinstance(amount, (int, float)):
            raise ConfigError(f"resources: {name}={amount!r} must be a number")
        if not (math.isfinite(amount) and amount >= 0):
            raise ConfigError(f"resources: {name}={amount!r} must be finite and not negative")
        if amount:
            upper = name.upper()
            normalized[upper if upper in ("CPU", "GPU") else name] = float(amount)
    return normalized


def sum_bundles(bundles: Sequence[Bundle]) -> Bundle:
    """The sum of the bundles.

    Example:
        >>> sum_bundles([{"CPU": 1.0}, {"CPU": 2.0, "GPU": 0.5}])
        {'CPU': 3.0, 'GPU': 0.5}
    """
    if len(bundles) == 1:
        return bundles[0]
    amounts: Bundle = {}
    for bundle in bundles:
        for name, amount in bundle.items():
            amounts[name] = amounts.get(name, 0.0) + amount
    return amounts
