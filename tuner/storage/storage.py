"""A folder on a filesystem that is not this machine's own."""

from __future__ import annotations

import itertools
import os
import posixpath
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from tuner.checkpoint import Checkpoint
from tuner.errors import ConfigError
from tuner.filesystems import exists as path_exists
from tuner.filesystems import join, resolve
from tuner.storage.transfer import answered

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

    from tuner.filesystems import FileSystem


@dataclass(frozen=True, slots=True)
class Storage:
    """Where an experiment, or one of its trials, is kept.

    Attributes:
        fs: The filesystem, as fsspec knows it.
        path: The folder's path on it.
        given: The filesystem as the user gave it, None where a URL named it.
    """

    fs: AbstractFileSystem
    path: str
    given: FileSystem | None = None

    @property
    def filesystem(self) -> FileSystem:
        """The filesystem as it was given, else an fsspec one."""
        return self.fs if self.given is None else self.given

    @property
    def url(self) -> str:
        """What a user would give to find it."""
        return str(self.fs.unstrip_protocol(self.path)) if self.given is None else self.path

    @property
    def name(self) -> str:
        """The folder's name."""
        return posixpath.basename(self.path.rstrip("/"))

    @property
    def is_shared(self) -> bool:
        """Whether other processes see the same files."""
        return "memory" not in self.protocols

    @property
    def protocols(self) -> tuple[str, ...]:
        """The protocols that the filesystem is known by."""
        protocol: Any = self.fs.protocol
        return (protocol,) if isinstance(protocol, str) else tuple(protocol)

    def child(self, name: str) -> Storage:
        """A folder in this one."""
        return Storage(self.fs, join(self.path, name), self.given)

    def checkpoint(self, name: str) -> Checkpoint:
        """The checkpoint of this name in this folder."""
        return Checkpoint(join(self.path, name), self.filesystem)

    def __str__(self) -> str:
        return self.url


def locate(
    path: str | os.PathLike[str], filesystem: FileSystem | None = None
) -> tuple[Storage | None, str]:
    """Where a path leads to.

    Args:
        path: A local path or an fsspec URL; with a filesystem, a path on it.
        filesystem: An fsspec or a pyarrow filesystem.

    Returns:
        The folder and its path; None instead of the folder for this machine's own filesystem.

    Raises:
        ConfigError: It names no folder, or an unknown protocol, or `filesystem` is none.
        MissingDependencyError: The protocol's library is not installed.

    Example:
        >>> storage, path = locate("memory://bucket/exp")
        >>> str(storage), path
        ('memory:///bucket/exp', '/bucket/exp')
        >>> locate("/data/exp")
        (None, '/data/exp')
    """
    fs, where = resolve(path, filesystem)
    if fs is None:
        return None, where
    if not where.strip("/"):
        raise ConfigError(f"storage_path={os.fspath(path)!r} names no folder: add one to it")
    return Storage(fs, where, filesystem), where


def new_child(storage: Storage, name: str) -> Storage:
    """A folder in another one that does not exist so far, numbered if the name is taken.

    Raises:
        StorageError: It does not answer.
    """
    for number in itertools.count(1):
        child = storage.child(name if number == 1 else f"{name}_{number}")
        if not answered(partial(path_exists, child.fs, child.path), storage.url, "read"):
            break
    return child
