"""Pickles of what users write: by value where it is of their script, and Ray's references too."""

from __future__ import annotations

import sys
from typing import Any


def dumps(value: Any, **options: Any) -> bytes:
    """A pickle, as cloudpickle makes it.

    Where this process is connected to Ray, an `ObjectRef` in it can be used by others that are: so
    it is not with cloudpickle itself, which leaves out who owns the object.

    Args:
        value: What to pickle.
        **options: For `cloudpickle.dumps`.
    """
    ray = sys.modules.get("ray")
    if ray is not None and getattr(ray, "is_initialized", bool)():
        from ray import cloudpickle
    else:
        import cloudpickle
    content: bytes = cloudpickle.dumps(value, **options)
    return content
