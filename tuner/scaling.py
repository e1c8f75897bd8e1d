"""Dictionaries like the `ScalingConfig` of `ray.train`: how many workers train one trial."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tuner.bundles import Bundle, Bundles, normalized_bundle, sum_bundles
from tuner.errors import ConfigError
from tuner.validation import did_you_mean

SCALING_FIELDS = frozenset(
    {
        "num_workers",
        "placement_strategy",
        "resources_per_worker",
        "trainer_resources",
        "use_gpu",
    }
)


def scaled(fields: Mapping[str, Any]) -> tuple[Bundles, str]:
    """The bundles for workers of one trial, and the strategy by which they are placed.

    The trainable itself takes nothing. The first worker shares a bundle with the coordinator.

    Raises:
        ConfigError: A field is unknown, or its value cannot work.

    Example:
        >>> scaled({"num_workers": 2, "use_gpu": True, "trainer_resources": {"CPU": 1}})
        ([{}, {'CPU': 1.0, 'GPU': 1.0}, {'GPU': 1.0}], 'PACK')
    """
    for name in fields:
        if name not in SCALING_FIELDS:
            raise ConfigError(
                f"resources: {name!r} is no field of a scaling configuration, which has "
                f"{', '.join(sorted(SCALING_FIELDS))}{did_you_mean(name, SCALING_FIELDS)}"
            )
    num_workers = fields.get("num_workers", 1)
    check_num_workers(num_workers)
    worker = _worker(fields.get("resources_per_worker"), bool(fields.get("use_gpu", False)))
    coordinator = normalized_bundle(fields.get("trainer_resources") or {})
    first = sum_bundles([coordinator, worker])
    return [{}, first, *[worker] * (num_workers - 1)], fields.get("placement_strategy", "PACK")


def check_num_workers(num_workers: Any) -> None:
    """Refuses what is no number of workers.

    Raises:
        ConfigError: It is none, or a range of numbers, as in elastic training.
    """
    if isinstance(num_workers, tuple):
        raise ConfigError(
            f"resources: num_workers={num_workers!r}: a trial has as many workers from start to "
            "end; give one number"
        )
    if isinstance(num_workers, bool) or not isinstance(num_workers, int) or num_workers < 0:
        raise ConfigError(f"resources: num_workers={num_workers!r} must be an integer >= 0")


def _worker(resources: Any, use_gpu: bool) -> Bundle:
    """What one worker takes: by default a GPU if GPUs are used, else a CPU."""
    if resources is None:
        return {"GPU": 1.0} if use_gpu else {"CPU": 1.0}
    worker = normalized_bundle(resources)
    if "GPU" in worker and not use_gpu:
        raise ConfigError(
            f"resources: resources_per_worker={resources!r} has GPUs; add 'use_gpu': True"
        )
    return {**worker, "GPU": 1.0} if use_gpu and "GPU" not in worker else worker
