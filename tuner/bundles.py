"""The resources of a trial: amounts by name, in one bundle or several."""

from __future__ import annotations

from collections.abc import Sequence

Bundle = dict[str, float]
"""Amounts of resources that go together on one node, such as `{"CPU": 1.0, "GPU": 0.5}`."""

Bundles = list[Bundle]
"""The resources of a trial; the first bundle is for the trainable itself."""


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
