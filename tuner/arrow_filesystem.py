"""pyarrow's filesystems as fsspec ones."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from typing import Any

# Also where one is unpickled: without it, a process that has used S3 crashes when it ends.
import pyarrow.fs  # noqa: F401
from fsspec.implementations.arrow import ArrowFSWrapper

_AT_ONCE = 16


class ArrowFileSystem(ArrowFSWrapper):  # type: ignore[misc]
    """One that copies several files at a time, and makes no directories unasked.

    Args:
        fs: The pyarrow filesystem.
    """

    def put(self, lpath: list[str], rpath: list[str], **kwargs: Any) -> None:
        """Copies local files to the paths of the same place in the other list."""
        _all_of(self.put_file, lpath, rpath)

    def get(self, rpath: list[str], lpath: list[str], **kwargs: Any) -> None:
        """Copies files to the local paths of the same place in the other list."""
        _all_of(self.get_file, rpath, lpath)

    def put_file(self, lpath: str, rpath: str, **kwargs: Any) -> None:
        """Copies a local file into a directory that exists."""
        with open(lpath, "rb") as source, self.open(rpath, "wb") as target:
            shutil.copyfileobj(source, target, self.blocksize)


def _all_of(copy: Any, sources: list[str], targets: list[str]) -> None:
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for _ in pool.map(copy, sources, targets):
            pass
