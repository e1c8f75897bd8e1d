"""What a trial needs: bundles of resources, and how they are attached to a trainable."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tuner.bundles import Bundle, sum_bundles
from tuner.errors import ConfigError


class PlacementGroupFactory:
    """Resources of a trial in several bundles.

    Args:
        bundles: One dictionary per bundle; the first is for the trainable itself, the others for
            what it starts.
        strategy: `"PACK"`, `"SPREAD"`, `"STRICT_PACK"` or `"STRICT_SPREAD"`: how bundles are laid
            out over the nodes of a cluster. One machine takes their sum.

    Example:
        >>> PlacementGroupFactory([{"CPU": 1}, {"CPU": 2, "GPU": 0.5}]).required_resources
        {'CPU': 3.0, 'GPU': 0.5}
    """

    _STRATEGIES = ("PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD")

    def __init__(self, bundles: Sequence[Mapping[str, float]], strategy: str = "PACK") -> None:
        if not bundles:
            raise ConfigError("PlacementGroupFactory: bundles=[] needs at least one bundle")
        if strategy not in self._STRATEGIES:
            known = ", ".join(self._STRATEGIES)
            raise ConfigError(
                f"PlacementGroupFactory: strategy={strategy!r} must be one of {known}"
            )
        self._bundles = [_normalized(bundle) for bundle in bundles]
        self._strategy = strategy

    @property
    def bundles(self) -> list[Bundle]:
        """A copy of the bundles, amounts of zero left out."""
        return [dict(bundle) for bundle in self._bundles]

    @property
    def strategy(self) -> str:
        """How bundles are laid out over nodes."""
        return self._strategy

    @property
    def required_resources(self) -> Bundle:
        """The sum of all bundles."""
        return dict(sum_bundles(self._bundles))

    @property
    def head_cpus(self) -> float:
        """CPUs of the trainable itself."""
        return self._bundles[0].get("CPU", 0.0)

    @property
    def head_bundle_is_empty(self) -> bool:
        """Whether the trainable itself asks for nothing."""
        return not self._bundles[0]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PlacementGroupFactory):
            return NotImplemented
        return self._bundles == other._bundles and self._strategy == other._strategy

    def __hash__(self) -> int:
        return hash((self._strategy, tuple(tuple(sorted(b.items())) for b in self._bundles)))

    def __repr__(self) -> str:
        return f"PlacementGroupFactory({self._bundles}, strategy={self._strategy!r})"


Resources = Mapping[str, float] | PlacementGroupFactory
ResourceRequest = Resources | Callable[[dict[str, Any]], Resources]


def as_placement(resources: Any) -> PlacementGroupFactory:
    """Resources in any form that a user may give, as bundles.

    Raises:
        ConfigError: they are neither a dictionary of amounts nor a `PlacementGroupFactory`.
    """
    if isinstance(resources, PlacementGroupFactory):
        return resources
    if isinstance(resources, Mapping):
        return PlacementGroupFactory([resources])
    raise ConfigError(
        f"resources={resources!r} must be a dictionary such as {{'cpu': 2, 'gpu': 0.5}} or a "
        "PlacementGroupFactory"
    )


def _normalized(bundle: Any) -> Bundle:
    if not isinstance(bundle, Mapping):
        raise ConfigError(f"resources: bundle {bundle!r} must be a dictionary of amounts")
    normalized: Bundle = {}
    for name, amount in bundle.items():
        if not isinstance(name, str):
            raise ConfigError(f"resources: the name {name!r} must be a string")
        if isinstance(amount, bool) or not isinstance(amount, (int, float)):
            raise ConfigError(f"resources: {name}={amount!r} must be a number")
        if not (math.isfinite(amount) and amount >= 0):
            raise ConfigError(f"resources: {name}={amount!r} must be finite and not negative")
        if amount:
            upper = name.upper()
            normalized[upper if upper in ("CPU", "GPU") else name] = float(amount)
    return normalized
