"""Whether a storage can be written to, before anything relies on it."""

from __future__ import annotations

import threading
import uuid
from typing import TYPE_CHECKING

from tuner.errors import StorageError
from tuner.filesystems import join, write_bytes

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem


def check_writable(filesystem: AbstractFileSystem, path: str, timeout_s: float = 15.0) -> None:
    """Writes a small file to the directory `path` and removes it.

    Libraries of object stores go on trying for minutes where nobody answers; this does not.

    Raises:
        StorageError: it cannot be written to, or does not answer within `timeout_s`.

    Example:
        >>> import fsspec
        >>> check_writable(fsspec.filesystem("memory"), "/bucket/run")
    """
    url = filesystem.unstrip_protocol(path)
    errors: list[Exception] = []

    def attempt() -> None:
        file = join(path, f".writable_{uuid.uuid4().hex}")
        try:
            write_bytes(filesystem, file, b"")
            filesystem.rm_file(file)
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=attempt, name="check_writable", daemon=True)
    thread.start()
    thread.join(timeout_s)
    if thread.is_alive():
        raise StorageError(
            f"{url} did not answer within {timeout_s:g} s: check the network and the address of "
            "the storage's server"
        )
    for error in errors:
        reason = (str(error).splitlines() or [""])[0]
        raise StorageError(
            f"{url} cannot be written to ({type(error).__name__}: {reason}): check that the "
            "bucket or folder exists, the credentials, and the address of the storage's server"
        ) from error
