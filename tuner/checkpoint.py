"""A checkpoint: a directory on any filesystem from which a trial can resume."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Self

from tuner.errors import ConfigError, StorageError
from tuner.filesystems import (
    download_tree,
    is_directory,
    join,
    local_filesystem,
    of_this_process,
    read_bytes,
    resolve,
    write_bytes,
)
from tuner.local_copy import copy_tree
from tuner.validation import shorten

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

    from tuner.filesystems import FileSystem

METADATA_FILE = ".metadata.json"


class Checkpoint:
    """A reference to a directory, local or remote; making one reads and copies nothing.

    It can be pickled and used in another process. A local one is a path, too
    (`os.PathLike`). Two checkpoints are equal when they refer to the same path of the same
    filesystem.

    Args:
        path: A local path or an fsspec URL (`s3://…`, `gs://…`, `memory://…`, `file://…`); with
            a `filesystem`, a path on it.
        filesystem: An fsspec or a pyarrow filesystem; found from the URL if it is not given.

    Attributes:
        path: The directory's path on `filesystem`, without a protocol; absolute if local.
        filesystem: The filesystem as it was given, else an fsspec one.

    Raises:
        ConfigError: the URL's protocol is unknown, or `filesystem` is not a filesystem.
        MissingDependencyError: the protocol's library is not installed.

    Example:
        >>> import os, tempfile
        >>> folder = tempfile.mkdtemp()
        >>> _ = open(os.path.join(folder, "model.bin"), "wb").write(b"weights")
        >>> checkpoint = Checkpoint.from_directory(folder)
        >>> with checkpoint.as_directory() as directory:
        ...     os.listdir(directory)
        ['model.bin']
        >>> checkpoint.set_metadata({"epoch": 3})
        >>> checkpoint.get_metadata()
        {'epoch': 3}
    """

    def __init__(self, path: str | os.PathLike[str], filesystem: FileSystem | None = None) -> None:
        self._given = filesystem
        self._resolved, self._path = resolve(path, filesystem)

    @classmethod
    def from_directory(cls, path: str | os.PathLike[str]) -> Self:
        """The checkpoint that lies in a local directory.

        Raises:
            ConfigError: there is no such directory.
        """
        checkpoint = cls(path)
        if checkpoint._fs is None and not os.path.isdir(checkpoint.path):
            fix = (
                "it is a file: pass the directory that holds it"
                if os.path.exists(checkpoint.path)
                else "there is no such directory: make it and write the files into it first"
            )
            raise ConfigError(f"Checkpoint.from_directory: path={os.fspath(path)!r}: {fix}")
        return checkpoint

    @property
    def path(self) -> str:
        """The directory's path on `filesystem`."""
        return self._path

    @property
    def is_local(self) -> bool:
        """Whether it lies on this machine's own filesystem."""
        return self._fs is None

    @property
    def filesystem(self) -> FileSystem:
        """The filesystem as it was given, else an fsspec one."""
        if self._given is not None:
            return self._given
        return local_filesystem() if self._fs is None else self._fs

    def to_directory(self, path: str | os.PathLike[str] | None = None) -> str:
        """Copies the files to a local directory, which stays.

        Several processes may copy to the same directory at the same time: a file appears whole or
        not at all (beside hidden ones, which are being written).

        Args:
            path: The directory, made if it does not exist; a new temporary one without it.

        Returns:
            The directory's path.

        Raises:
            StorageError: the checkpoint does not exist.
        """
        with self.as_directory() as source:
            if path is None:
                target = tempfile.mkdtemp(prefix="checkpoint_")
            else:
                target = os.path.abspath(os.path.expanduser(path))
            copy_tree(source, target, whole_files=path is not None)
        return target

    @contextlib.contextmanager
    def as_directory(self) -> Iterator[str]:
        """The files as a local directory, to be read within the `with` block.

        A local checkpoint is given as it is, without a copy. A remote one is downloaded to a
        temporary directory, once for all processes of this machine that use it at the same time,
        and removed when the last of them is done.

        Yields:
            The directory's path.

        Raises:
            StorageError: the checkpoint does not exist.
        """
        if self._fs is None:
            if not os.path.isdir(self._path):
                raise self._missing()
            yield self._path
            return

        from tuner.shared_download import identity, shared_download

        key = identity(self._fs) + b"\0" + self._path.encode()
        with shared_download(key, self._download) as directory:
            yield directory

    def get_metadata(self) -> dict[str, Any]:
        """The metadata stored with the checkpoint, `{}` if there is none."""
        content = read_bytes(self._fs, join(self._path, METADATA_FILE))
        if content is None:
            return {}
        metadata: dict[str, Any] = json.loads(content)
        return metadata

    def set_metadata(self, metadata: dict[str, Any]) -> None:
        """Stores metadata as `.metadata.json` in the directory, in place of what was there.

        Raises:
            ConfigError: It is no dictionary, or JSON cannot hold it.
        """
        if not isinstance(metadata, dict):
            raise ConfigError(f"metadata={shorten(metadata)} must be a dictionary")
        try:
            content = json.dumps(metadata).encode()
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"metadata={shorten(metadata)} cannot be written as JSON ({error}): "
                "store such values as files of the checkpoint"
            ) from error
        write_bytes(self._fs, join(self._path, METADATA_FILE), content)

    def update_metadata(self, metadata: dict[str, Any]) -> None:
        """Adds to the stored metadata; a key that is there already gets the new value."""
        self.set_metadata({**self.get_metadata(), **metadata})

    def __fspath__(self) -> str:
        """The path, so that `os.path.join(checkpoint, …)` and `open` take a local checkpoint.

        Raises:
            StorageError: It is not on this machine's own filesystem.
        """
        if self._fs is not None:
            raise StorageError(
                f"checkpoint {self._path!r} is on the {_name(self._fs)} filesystem, where no local "
                "path leads: read it in `with checkpoint.as_directory() as directory`"
            )
        return self._path

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Checkpoint):
            return NotImplemented
        return self._path == other._path and _same_filesystem(self._fs, other._fs)

    def __hash__(self) -> int:
        return hash(self._path)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(filesystem={_name(self._fs)}, path={self._path})"

    @property
    def _fs(self) -> AbstractFileSystem | None:
        return None if self._resolved is None else of_this_process(self._resolved)

    def _download(self, target: str) -> None:
        fs = self._fs
        assert fs is not None
        if not is_directory(fs, self._path):
            raise self._missing()
        download_tree(fs, self._path, target)

    def _missing(self) -> StorageError:
        return StorageError(
            f"checkpoint {self._path!r} on the {_name(self._fs)} filesystem does not exist: "
            "it was moved or deleted, or the path is wrong"
        )


def as_checkpoint(value: object) -> Checkpoint | None:
    """The checkpoint that this is, also if it is one of `ray.train`; None if it is none."""
    if isinstance(value, Checkpoint):
        return value
    path, filesystem = getattr(value, "path", None), getattr(value, "filesystem", None)
    if not isinstance(path, str) or filesystem is None or not hasattr(value, "as_directory"):
        return None
    return Checkpoint(path, filesystem)


def _same_filesystem(one: AbstractFileSystem | None, other: AbstractFileSystem | None) -> bool:
    if one is other:
        return True
    if one is None or other is None:
        return False

    from tuner.shared_download import identity

    return identity(one) == identity(other)


def _name(filesystem: AbstractFileSystem | None) -> str:
    if filesystem is None:
        return "local"
    protocol = filesystem.protocol
    return protocol if isinstance(protocol, str) else str(protocol[0])
