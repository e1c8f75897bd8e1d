"""Large objects that all trials read without a copy: `pin_in_object_store`, `get_pinned_object`.

On one machine an object lies in a nameless file in memory, as the trainable does on its way to the
workers. The process that pinned it holds the file open, and others open it through that process's
entry in `/proc`, so that it is freed when that process has ended, in whatever way.
"""

from __future__ import annotations

import mmap
import os
import socket
import sys
from dataclasses import dataclass
from typing import Any

from tuner import pickling
from tuner.errors import TunerError
from tuner.execution.payload import load_payload, write_payload
from tuner.legacy.deprecation import warn_once

_held: list[Any] = []  # what this process has pinned: descriptors, and references of Ray


@dataclass(frozen=True, slots=True)
class PinnedObject:
    """Where a pinned object lies; to be passed to `get_pinned_object`.

    Attributes:
        host: The machine.
        pid: The process that pinned it.
        fd: Its descriptor there.
        file: Device and number of the file, by which it is recognized.
    """

    host: str
    pid: int
    fd: int
    file: tuple[int, int]

    def __repr__(self) -> str:
        return f"<object pinned by process {self.pid} of {self.host}>"

    def open(self) -> int:
        """A descriptor of the object's file in this process.

        Raises:
            TunerError: The process that pinned it is gone, or on another machine.
        """
        try:
            fd = os.open(f"/proc/{self.pid}/fd/{self.fd}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise self._missing() from error
        if _identity(fd) != self.file:
            os.close(fd)
            raise self._missing()
        return fd

    def _missing(self) -> TunerError:
        return TunerError(
            f"get_pinned_object({self!r}): that process is gone, or not to be seen from "
            f"{socket.gethostname()}; pin in the process that calls fit(), and for several "
            "machines after ray.init()"
        )


def pin_in_object_store(value: Any) -> Any:
    """Makes a large object known to trials, which read it without a copy of their own.

    It is written once. Functions refer to what is returned, and get the object in their trials by
    `get_pinned_object`. It stays as long as this process lives.

    Args:
        value: The object. Numpy arrays and the like are shared; the rest is unpickled by each.

    Returns:
        What to pass to `get_pinned_object`; where this process is connected to Ray, an
        `ObjectRef`.

    Raises:
        TunerError: It can be pinned neither here, as this is not Linux, nor in Ray.

    Example:
        >>> import numpy as np
        >>> pinned = pin_in_object_store({"data": np.arange(1000)})
        >>> data = get_pinned_object(pinned)["data"]
        >>> int(data.sum()), data.flags.writeable
        (499500, False)
    """
    warn_once("pin_in_object_store(…)", "tune.with_parameters(train, data=…)")
    ray = sys.modules.get("ray")
    if ray is not None and ray.is_initialized():
        reference = ray.put(value)
        _held.append(reference)
        return reference
    if sys.platform != "linux":
        raise TunerError(
            "pin_in_object_store: this needs Linux, or Ray: call ray.init() before, or give the "
            "object by tune.with_parameters"
        )
    content, buffers = pickling.dumps_beside(value)
    fd = write_payload([content, *(buffer.raw() for buffer in buffers)])
    _held.append(fd)
    return PinnedObject(socket.gethostname(), os.getpid(), fd, _identity(fd))


def get_pinned_object(pinned: Any) -> Any:
    """An object that `pin_in_object_store` has pinned; its arrays are read-only.

    Args:
        pinned: What `pin_in_object_store` returned.

    Raises:
        TunerError: It is something else, or the process that pinned it is gone.
    """
    if type(pinned).__module__.partition(".")[0] == "ray":
        import ray

        return ray.get(pinned)
    if not isinstance(pinned, PinnedObject):
        raise TunerError(
            f"get_pinned_object({pinned!r:.100}): pass what pin_in_object_store returned; on Ray "
            "the function has to refer to it itself, as a configuration cannot hold an ObjectRef"
        )
    fd = pinned.open()
    try:
        return load_payload(fd, mmap.ACCESS_READ)
    finally:
        os.close(fd)


def _identity(fd: int) -> tuple[int, int]:
    status = os.fstat(fd)
    return status.st_dev, status.st_ino
