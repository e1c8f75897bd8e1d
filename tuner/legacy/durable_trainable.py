"""`tune.durable` and `DurableTrainable` of 1.x: checkpoints are on the storage without them."""

from __future__ import annotations

from typing import Any

from tuner.legacy.deprecation import warn_once
from tuner.trainable.trainable import Trainable

_REASON = "each checkpoint is on the storage_path before the trial goes on"


def durable(trainable: Any) -> Any:
    """What is given, as it is.

    Args:
        trainable: A function, a class or a name.
    """
    warn_once("tune.durable(…)", because=_REASON)
    return trainable


class DurableTrainable(Trainable):
    """A `Trainable`."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        warn_once("tune.DurableTrainable", "tune.Trainable")
