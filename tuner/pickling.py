"""Pickles of what users write: by value where it is of their script, and Ray's references too."""

from __future__ import annotations

import pickle
import re
import sys
from contextlib import suppress
from types import ModuleType
from typing import Any

_OF_RAY = re.compile(rb"\bray\b")


def dumps(value: Any) -> bytes:
    """A pickle, as cloudpickle makes it.

    Where this process is connected to Ray, an `ObjectRef` in it can be used by others that are.

    Args:
        value: What to pickle.
    """
    return _dumps(value, beside=False)[0]


def dumps_beside(value: Any) -> tuple[bytes, list[pickle.PickleBuffer]]:
    """The same with large buffers (numpy arrays and the like) beside it, which are not copied.

    Args:
        value: What to pickle.
    """
    return _dumps(value, beside=True)


def _dumps(value: Any, *, beside: bool) -> tuple[bytes, list[pickle.PickleBuffer]]:
    import cloudpickle

    ray = sys.modules.get("ray")
    if ray is None or not getattr(ray, "is_initialized", bool)():
        return _dumps_by(cloudpickle, value, beside)
    # Cloudpickle itself leaves out who owns an object in Ray's store, but whoever loads what Ray's
    # has made imports Ray, which takes long.
    with suppress(Exception):
        made = _dumps_by(cloudpickle, value, beside)
        if _OF_RAY.search(made[0]) is None:
            return made
    from ray import cloudpickle as cloudpickle_of_ray

    return _dumps_by(cloudpickle_of_ray, value, beside)


def _dumps_by(
    module: ModuleType, value: Any, beside: bool
) -> tuple[bytes, list[pickle.PickleBuffer]]:
    buffers: list[pickle.PickleBuffer] = []
    options = {"buffer_callback": buffers.append} if beside else {}
    return module.dumps(value, protocol=5, **options), buffers
