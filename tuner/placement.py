"""What a trial needs: bundles of resources, and how they are attached to a trainable."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tuner.bundles import Bundle, normalized_bundle, sum_bundles
from tuner.errors import ConfigError
from tuner.scaling import SCALING_FIELDS, check_num_workers, scaled


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
        self._bundles = [normalized_bundle(bundle) for bundle in bundles]
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


Resources = Any
"""A dictionary of amounts, a `PlacementGroupFactory`, a `ScalingConfig` or a dictionary of its
fields."""

ResourceRequest = Resources | Callable[[dict[str, Any]], Resources]


def as_placement(resources: Any) -> PlacementGroupFactory:
    """Resources in any form that a user may give, as bundles.

    Raises:
        ConfigError: they are in none of these forms, or an amount cannot work.

    Example:
        >>> as_placement({"num_workers": 2, "resources_per_worker": {"CPU": 4}})
        PlacementGroupFactory([{}, {'CPU': 4.0}, {'CPU': 4.0}], strategy='PACK')
    """
    if isinstance(resources, PlacementGroupFactory):
        return resources
    if isinstance(resources, Mapping):
        if not resources.keys().isdisjoint(SCALING_FIELDS):
            return PlacementGroupFactory(*scaled(resources))
        return PlacementGroupFactory([resources])
    if hasattr(resources, "as_placement_group_factory"):  # a ScalingConfig of Ray
        check_num_workers(resources.num_workers)
        return as_placement(resources.as_placement_group_factory())
    if hasattr(resources, "head_bundle_is_empty"):  # a PlacementGroupFactory of Ray
        head: list[Bundle] = [{}] if resources.head_bundle_is_empty else []
        return PlacementGroupFactory(head + resources.bundles, resources.strategy)
    raise ConfigError(
        f"resources={resources!r} must be a dictionary such as {{'cpu': 2, 'gpu': 0.5}}, a "
        "PlacementGroupFactory or a ScalingConfig"
    )


def depends_on_config(resources: ResourceRequest) -> bool:
    """Whether this is a function from a trial's configuration to its resources."""
    return callable(resources) and not hasattr(resources, "bundles")
