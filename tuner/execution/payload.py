"""The trainable on its way to the workers: a file that every worker of a machine maps.

Large buffers (numpy arrays and the like) are laid out beside the pickle and mapped copy-on-write,
so that they exist once in memory however many workers read them.
"""

from __future__ import annotations

import json
import mmap
import os
import pickle
import tempfile
from typing import Any

from tuner.errors import TrainableError

_ALIGNMENT = 64
_SHARED_MEMORY = "/dev/shm"


def write_payload(trainable: Any, name: str) -> str:
    """Writes a trainable to a new temporary file and returns the file's path.

    Raises:
        TrainableError: it cannot be pickled.
    """
    import cloudpickle

    buffers: list[pickle.PickleBuffer] = []
    try:
        content = cloudpickle.dumps(trainable, protocol=5, buffer_callback=buffers.append)
    except Exception as error:
        raise TrainableError(
            f"the trainable {name!r} cannot be pickled ({type(error).__name__}: {error}); create "
            "what cannot be pickled (locks, files, connections) inside the function"
        ) from error
    blobs = [content, *(buffer.raw() for buffer in buffers)]
    header = json.dumps([len(blob) for blob in blobs]).encode()
    fd, path = tempfile.mkstemp(prefix="tuner-payload-", dir=_folder(sum(map(len, blobs))))
    with os.fdopen(fd, "wb") as file:
        file.write(len(header).to_bytes(8, "big") + header)
        for blob in blobs:
            file.seek(_aligned(file.tell()))
            file.write(blob)
    return path


def load_payload(path: str) -> Any:
    """The trainable that `write_payload` wrote."""
    with open(path, "rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    start = 8 + int.from_bytes(mapped[:8], "big")
    sizes = json.loads(mapped[8:start])
    views = []
    view = memoryview(mapped)
    for size in sizes:
        start = _aligned(start)
        views.append(view[start : start + size])
        start += size
    return pickle.loads(views[0], buffers=views[1:])


def _folder(size: int) -> str | None:
    """Shared memory if it has ample room, else the default folder for temporary files."""
    try:
        stat = os.statvfs(_SHARED_MEMORY)
    except OSError:
        return None
    return _SHARED_MEMORY if stat.f_bavail * stat.f_frsize > 2 * size else None


def _aligned(offset: int) -> int:
    return -(-offset // _ALIGNMENT) * _ALIGNMENT
