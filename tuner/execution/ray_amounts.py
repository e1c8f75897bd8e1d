"""What amounts of resources Ray gives to an actor, and how it is asked for them."""

from __future__ import annotations

import math
from typing import Any

from tuner.bundles import Bundle, Bundles
from tuner.errors import ResourceError

OF_PLACEMENTS = "_group_"
"""Part of the names that Ray gives to what it has reserved."""

_STEP = 0.0001
_WHOLE = ("GPU", "HPU", "NPU", "RBLN", "neuron_cores")


def actor_options(bundle: Bundle) -> dict[str, Any]:
    """The options of an actor that is to have a bundle.

    Example:
        >>> actor_options({"CPU": 2.0, "license": 1.0})
        {'num_cpus': 2.0, 'num_gpus': 0, 'resources': {'license': 1.0}}
    """
    amounts = dict(bundle)
    options = {"num_cpus": amounts.pop("CPU", 0), "num_gpus": amounts.pop("GPU", 0)}
    if "memory" in amounts:
        options["memory"] = int(amounts.pop("memory"))
    return {**options, "resources": amounts}


def check_amounts(bundles: Bundles) -> None:
    """Refuses bundles that no cluster gives, however large; the first one is for an actor.

    Raises:
        ResourceError: Ray does not have such a resource, or not in such an amount.
    """
    for place, bundle in enumerate(bundles):
        for name, amount in bundle.items():
            problem = _problem_of_name(name) or (None if place else _problem(name, amount))
            if problem is not None:
                raise ResourceError(f"the trial asks for {name}={amount:g}: {problem}")


def _problem_of_name(name: str) -> str | None:
    if name == "bundle" or OF_PLACEMENTS in name:
        return "Ray uses such a name itself; give the resource another one"
    return None


def _problem(name: str, amount: float) -> str | None:
    if name == "object_store_memory":
        return "Ray reserves none of it for a trial; leave it out"
    if amount < _STEP and name != "memory":
        return f"Ray counts in steps of {_STEP}; ask for {_STEP} or more, or leave it out"
    if name in _WHOLE and amount > 1 and not amount.is_integer():
        low = math.floor(amount)
        return f"Ray gives a part of one, or whole ones; ask for {low} or {low + 1}"
    return _problem_by_ray(name, amount)


def _problem_by_ray(name: str, amount: float) -> str | None:
    """What Ray says to the amount; it has rules for some kinds of accelerators."""
    import ray

    try:
        ray.remote(**actor_options({name: amount}))(_Nothing)
    except ValueError as error:
        return f"Ray refuses this ({error}); ask for another amount"
    return None


class _Nothing:
    """What an actor would be of; none is started."""
