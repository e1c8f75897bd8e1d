"""What is trained, with what the older APIs say beside it."""

from __future__ import annotations

import os
from typing import Any

from tuner.legacy.deprecation import warn_once
from tuner.legacy.from_checkpoint import begun_from
from tuner.legacy.resources import placement
from tuner.trainable import registry
from tuner.trainable.wrappers import trainable_name, with_resources

_SUCCESSORS = {"PG": "PPO"}
"""Algorithms that RLlib no longer has, and what is trained in their place."""


def as_trained(
    run: Any, *, resources: Any = None, restore: str | os.PathLike[str] | None = None
) -> Any:
    """What `Tuner` is to be given.

    Args:
        run: A function, a class or a name.
        resources: What each trial needs, None for what the trainable says.
        restore: A checkpoint that every trial begins from.

    Raises:
        TrainableError: It cannot be trained.
        ConfigError: Resources or checkpoint cannot work.
    """
    run = _still_there(run)
    if resources is None and restore is None:
        return run
    trainable = registry.get_trainable(run)
    if resources is not None:
        trainable = with_resources(trainable, placement(resources))
    if restore is not None:
        trainable = begun_from(trainable, restore)
    return _called(trainable, label_of(run))


def label_of(run: Any) -> str:
    """What experiments and trials are called after."""
    return run if isinstance(run, str) else trainable_name(run)


def _still_there(run: Any) -> Any:
    successor = _SUCCESSORS.get(run) if isinstance(run, str) else None
    if successor is None or registry.is_registered(run):
        return run
    warn_once(f"the algorithm {run!r}, which RLlib no longer has,", repr(successor))
    return successor


def _called(trainable: Any, label: str) -> Any:
    """A trainable that was made here, with the name that the user knows."""
    trainable.__name__ = label
    return trainable
