"""Pickles of what users write: by value where it is of their script, and Ray's references too."""

from __future__ import annotations

import importlib
import io
import pickle
import sys
from types import ModuleType
from typing import Any

import cloudpickle


def dumps(value: Any) -> bytes:
    """A pickle, as cloudpickle makes it.

    Where this process is connected to Ray, what only Ray can pickle is pickled by it: an
    `ObjectRef`, which others that are connected can use, and objects of classes that
    `ray.util.register_serializer` knows.

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
    buffers: list[pickle.PickleBuffer] = []
    options: dict[str, Any] = {"buffer_callback": buffers.append} if beside else {}
    file = io.BytesIO()
    try:
        _Pickler(file, protocol=5, **options).dump(value)
    except _OnlyByRay:
        from ray import cloudpickle as cloudpickle_of_ray

        buffers.clear()
        return cloudpickle_of_ray.dumps(value, protocol=5, **options), buffers
    return file.getvalue(), buffers


class _OnlyByRay(Exception):
    """Cloudpickle itself would pickle something wrongly."""


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Cloudpickle's, as whoever loads a pickle of Ray's imports Ray, which takes long."""

    def __init__(self, file: io.BytesIO, **options: Any) -> None:
        super().__init__(file, **options)
        self._of_ray = _classes_of_ray()

    def reducer_override(self, obj: Any) -> Any:
        """Refuses what has to be left to Ray; modules such as `torch.ops` travel by name."""
        if type(obj) in self._of_ray:
            raise _OnlyByRay
        is_unusual = isinstance(obj, ModuleType) and type(obj) is not ModuleType
        if is_unusual and obj.__name__ in sys.modules:  # cloudpickle cannot
            return importlib.import_module, (obj.__name__,)
        return super().reducer_override(obj)


def _classes_of_ray() -> set[type]:
    """The classes whose objects Ray pickles in ways of its own."""
    ray = sys.modules.get("ray")
    if ray is None or not getattr(ray, "is_initialized", bool)():
        return set()
    return {*ray.cloudpickle.CloudPickler.dispatch} - {*cloudpickle.Pickler.dispatch}
