"""Resources as the older APIs state them: for a trial, and extra for what it starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tuner.bundles import Bundle, sum_bundles
from tuner.placement import PlacementGroupFactory, as_placement
from tuner.scaling import SCALING_FIELDS

_EXTRA = "extra_"


class Resources(PlacementGroupFactory):
    """What a trial takes, and what the actors take that it starts, as a second bundle.

    Args:
        cpu: CPUs of the trial itself.
        gpu: GPUs of the trial itself.
        memory: Its memory in bytes.
        object_store_memory: Its memory in Ray's object store, in bytes.
        extra_cpu: CPUs of what it starts.
        extra_gpu: GPUs of what it starts.
        extra_memory: Memory of what it starts, in bytes.
        extra_object_store_memory: Likewise, in Ray's object store.
        custom_resources: Other resources of the trial itself, by name.
        extra_custom_resources: Other resources of what it starts, by name.

    Raises:
        ConfigError: An amount is negative or no number.

    Example:
        >>> Resources(cpu=1, gpu=1, extra_gpu=4).bundles
        [{'CPU': 1.0, 'GPU': 1.0}, {'GPU': 4.0}]
    """

    def __init__(
        self,
        cpu: float = 1,
        gpu: float = 0,
        memory: float = 0,
        object_store_memory: float = 0,
        extra_cpu: float = 0,
        extra_gpu: float = 0,
        extra_memory: float = 0,
        extra_object_store_memory: float = 0,
        custom_resources: Mapping[str, float] | None = None,
        extra_custom_resources: Mapping[str, float] | None = None,
    ) -> None:
        own = _bundle(cpu, gpu, memory, object_store_memory, custom_resources)
        extra = _bundle(
            extra_cpu, extra_gpu, extra_memory, extra_object_store_memory, extra_custom_resources
        )
        super().__init__([own, extra] if any(extra.values()) else [own])

    @classmethod
    def of(cls, placement: PlacementGroupFactory) -> Resources:
        """The amounts of a placement: those of its first bundle, and of all others together.

        Example:
            >>> Resources.of(PlacementGroupFactory([{"CPU": 2}, {"CPU": 1}, {"CPU": 1}])).extra_cpu
            2.0
        """
        resources = cls.__new__(cls)
        own, *others = placement.bundles
        extra = sum_bundles(others) if others else {}
        PlacementGroupFactory.__init__(resources, [own, extra] if extra else [own])
        return resources

    @property
    def cpu(self) -> float:
        """CPUs of the trial itself."""
        return self._own("CPU")

    @property
    def gpu(self) -> float:
        """GPUs of the trial itself."""
        return self._own("GPU")

    @property
    def extra_cpu(self) -> float:
        """CPUs of what the trial starts."""
        return self._extra("CPU")

    @property
    def extra_gpu(self) -> float:
        """GPUs of what the trial starts."""
        return self._extra("GPU")

    def cpu_total(self) -> float:
        """CPUs of both."""
        return self.cpu + self.extra_cpu

    def gpu_total(self) -> float:
        """GPUs of both."""
        return self.gpu + self.extra_gpu

    def _own(self, name: str) -> float:
        return self._bundles[0].get(name, 0.0)

    def _extra(self, name: str) -> float:
        return self._bundles[1].get(name, 0.0) if len(self._bundles) > 1 else 0.0


def placement(resources: Any) -> PlacementGroupFactory:
    """The bundles of what an older script gives as the resources of a trial.

    Args:
        resources: A dictionary such as `{"cpu": 1, "extra_gpu": 4}`, `Resources`, or what
            `with_resources` takes.

    Raises:
        ConfigError: They are in none of these forms, or an amount is negative or no number.

    Example:
        >>> placement({"cpu": 1, "gpu": 1, "extra_gpu": 4}).bundles
        [{'CPU': 1.0, 'GPU': 1.0}, {'GPU': 4.0}]
        >>> placement({"gpu": 0.2}).bundles
        [{'CPU': 1.0, 'GPU': 0.2}]
    """
    if not isinstance(resources, Mapping) or not resources.keys().isdisjoint(SCALING_FIELDS):
        return as_placement(resources)
    own: dict[Any, Any] = {"cpu": 1}
    extra: dict[Any, Any] = {}
    for name, amount in resources.items():
        if not isinstance(name, str) or not name.startswith(_EXTRA):
            own.update(_amounts("cpu" if name == "CPU" else name, amount))
        else:
            extra.update(_amounts(name.removeprefix(_EXTRA), amount))
    return PlacementGroupFactory([own, extra] if any(extra.values()) else [own])


def _amounts(name: Any, amount: Any) -> dict[Any, Any]:
    return dict(amount or {}) if name == "custom_resources" else {name: amount}


def _bundle(
    cpu: float,
    gpu: float,
    memory: float,
    object_store_memory: float,
    custom: Mapping[str, float] | None,
) -> Bundle:
    amounts = {"CPU": cpu, "GPU": gpu, "memory": memory, "object_store_memory": object_store_memory}
    return {**amounts, **(custom or {})}
