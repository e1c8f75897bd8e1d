"""The trainable on its way to the workers: a nameless file that every worker of a machine maps.

Large buffers (numpy arrays and the like) are laid out beside the pickle and mapped copy-on-write,
so that they exist once in memory however many workers read them. The file has no name, and is gone
with the last process that has it open, however that ends.
"""

from __future__ import annotations

import json
import mmap
import os
import pickle
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

from tuner import pickling
from tuner.errors import TrainableError

_ALIGNMENT = 64
_SHARE_OF_MEMORY = 0.25


def pickle_trainable(trainable: Any, name: str) -> list[Any]:
    """A trainable as a pickle and the large buffers beside it.

    Raises:
        TrainableError: it cannot be pickled.
    """
    try:
        content, buffers = pickling.dumps_beside(trainable)
    except Exception as error:
        raise TrainableError(
            f"the trainable {name!r} cannot be pickled ({type(error).__name__}: {error}); create "
            "what cannot be pickled (locks, files, connections) inside the function"
        ) from error
    return [content, *(buffer.raw() for buffer in buffers)]


def write_payload(blobs: Sequence[Any]) -> int:
    """Writes what `pickle_trainable` made to a nameless file and returns its descriptor."""
    sizes = [memoryview(blob).nbytes for blob in blobs]
    header = json.dumps(sizes).encode()
    fd = _nameless_file(sum(sizes))
    with os.fdopen(fd, "wb", closefd=False) as file:
        file.write(len(header).to_bytes(8, "big") + header)
        for blob in blobs:
            file.seek(_aligned(file.tell()))
            file.write(blob)
    return fd


def load_payload(fd: int, access: int = mmap.ACCESS_COPY) -> Any:
    """The trainable that `write_payload` wrote.

    Args:
        fd: The file.
        access: With `mmap.ACCESS_READ` large buffers are read-only.
    """
    mapped = mmap.mmap(fd, 0, access=access)
    start = 8 + int.from_bytes(mapped[:8], "big")
    sizes = json.loads(mapped[8:start])
    views = []
    view = memoryview(mapped)
    for size in sizes:
        start = _aligned(start)
        views.append(view[start : start + size])
        start += size
    return pickle.loads(views[0], buffers=views[1:])


def _nameless_file(size: int) -> int:
    """In memory where the system can and there is ample of it, else in the temporary folder."""
    if sys.platform == "linux":
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        if size <= _SHARE_OF_MEMORY * memory:
            return os.memfd_create("tuner-payload")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _aligned(offset: int) -> int:
    return -(-offset // _ALIGNMENT) * _ALIGNMENT
