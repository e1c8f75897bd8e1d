"""One temporary download for all threads and processes of this machine that use it at once."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import shutil
import stat
import tempfile
import uuid
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from tuner.errors import StorageError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem


def identity(filesystem: AbstractFileSystem) -> bytes:
    """Bytes that are equal for filesystems that show the same files, also in another process."""
    try:
        content = pickle.dumps(filesystem)
    except Exception:
        return f"{os.getpid()}:{id(filesystem)}".encode()
    if b"fsspec.implementations.memory" in content:  # every process has its own
        content += str(os.getpid()).encode()
    return content


@contextlib.contextmanager
def shared_download(key: bytes, download: Callable[[str], None]) -> Iterator[str]:
    """A directory that the first of its concurrent users downloads and the last one removes.

    Users are told by file locks, which the system takes back from one that is killed.

    Args:
        key: What is downloaded; the same bytes for the same content.
        download: Puts the content into the directory that it is given, which does not exist.
    """
    root = _own_folder()
    name = hashlib.sha256(key).hexdigest()[:32]
    folder = os.path.join(root, name)
    readers = os.path.join(folder, "readers")
    content = os.path.join(folder, "content")
    # A lock's file cannot be removed safely, so their number is bounded.
    lock = FileLock(os.path.join(root, f"{name[:2]}.lock"), thread_local=False)
    reader = FileLock(os.path.join(readers, uuid.uuid4().hex), thread_local=False)
    try:
        with lock:
            if not _in_use(readers):  # what a killed process left may be old
                shutil.rmtree(folder, ignore_errors=True)
            os.makedirs(readers, exist_ok=True)
            reader.acquire()
            if not os.path.isdir(content):
                part = os.path.join(folder, "part")
                download(part)
                os.rename(part, content)
        yield content
    finally:
        with lock:
            reader.release()
            if not _in_use(readers):
                shutil.rmtree(folder, ignore_errors=True)


def _own_folder() -> str:
    """A folder for temporary files that no other user of this machine can write to."""
    folder = os.path.join(tempfile.gettempdir(), f"tuner_downloads_{os.getuid()}")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    found = os.lstat(folder)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise StorageError(f"{folder} belongs to another user: remove it, or set TMPDIR")
    return folder


def _in_use(readers: str) -> bool:
    """Whether some process holds one of the locks in the folder `readers`."""
    if not os.path.isdir(readers):
        return False
    for name in os.listdir(readers):
        reader = FileLock(os.path.join(readers, name), thread_local=False)
        try:
            reader.acquire(timeout=0)
        except Timeout:
            return True
        reader.release()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(readers, name))
    return False
