"""Tasks and actors that a trial starts: those that no bundle of it has room for are refused.

Ray would place them in the trial's own placement group, where they wait for ever, and the trial for
them.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import Any

from tuner.bundles import Bundle, Bundles, normalized_bundle
from tuner.errors import ResourceError

DISABLE_VARIABLE = "TUNE_DISABLE_RESOURCE_CHECKS"


@contextlib.contextmanager
def checked(bundles: Bundles) -> Iterator[None]:
    """While entered, what this process starts by Ray fails if its group has no room for it.

    Has no effect where `TUNE_DISABLE_RESOURCE_CHECKS` is set.

    Args:
        bundles: The resources of the trial; this process takes the first.
    """
    import ray.actor
    import ray.remote_function
    from ray.util import get_current_placement_group

    if DISABLE_VARIABLE in os.environ:
        yield
        return
    group = get_current_placement_group()
    hooks: list[tuple[Any, str]] = [
        (ray.actor, "_actor_launch_hook"),
        (ray.remote_function, "_task_launch_hook"),
    ]

    def check(function: Any, resources: Mapping[str, float], strategy: Any) -> None:
        asked = getattr(strategy, "placement_group", None)
        is_ours = group is not None and asked is not None and asked.id == group.id
        if is_ours and strategy.placement_group_bundle_index == -1:
            check_room(function.class_name or function.function_name, resources, bundles)

    before = [getattr(module, name, None) for module, name in hooks]
    for module, name in hooks:
        setattr(module, name, check)
    try:
        yield
    finally:
        for (module, name), hook in zip(hooks, before, strict=True):
            setattr(module, name, hook)


def check_room(name: str, asked: Mapping[str, float], bundles: Bundles) -> None:
    """Checks that what a trial starts could run in its bundles if nothing else did.

    Args:
        name: Of the task or actor.
        asked: What it asks for.
        bundles: The resources of the trial, which takes the first itself.

    Raises:
        ResourceError: There is no room for it.

    Example:
        >>> check_room("f", {"CPU": 1}, [{}, {"CPU": 1}])
        >>> check_room("f", {"CPU": 1}, [{"CPU": 1}])
        Traceback (most recent call last):
        ...
        tuner.errors.ResourceError: f asks for {"CPU": 1}, and would wait for it for ever: the \
first of the trial's bundles [{"CPU": 1}] is for the trial itself; add one for each task and \
actor that runs at a time: tune.with_resources(train, tune.PlacementGroupFactory([{"CPU": 1}, \
{"CPU": 1}]))
    """
    wanted = normalized_bundle(asked)
    if not wanted or any(_fits(wanted, bundle) for bundle in bundles[1:]):
        return
    raise ResourceError(
        f"{name} asks for {_amounts(wanted)}, and would wait for it for ever: the first of the "
        f"trial's bundles {_in_words(bundles)} is for the trial itself; add one for each task and "
        "actor that runs at a time: tune.with_resources(train, "
        f"tune.PlacementGroupFactory({_in_words([*bundles, wanted])}))"
    )


def _fits(wanted: Bundle, bundle: Bundle) -> bool:
    return all(amount <= bundle.get(name, 0.0) for name, amount in wanted.items())


def _in_words(bundles: Bundles) -> str:
    return f"[{', '.join(map(_amounts, bundles))}]"


def _amounts(bundle: Bundle) -> str:
    inside = ", ".join(f'"{name}": {amount:.12g}' for name, amount in bundle.items())
    return f"{{{inside}}}"
