"""Every path is a filesystem and a path on it; a local one needs no filesystem object at all."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, TypeAlias

from tuner.errors import ConfigError, MissingDependencyError
from tuner.validation import shorten

if TYPE_CHECKING:
    import pyarrow.fs
    from fsspec import AbstractFileSystem

    FileSystem: TypeAlias = AbstractFileSystem | pyarrow.fs.FileSystem

_LOCAL_URLS = ("file://", "local://")
_EXTRAS = {
    "s3": "s3",
    "s3a": "s3",
    "gs": "gcs",
    "gcs": "gcs",
    "abfs": "azure",
    "abfss": "azure",
    "az": "azure",
    "adl": "azure",
}


def resolve(
    path: str | os.PathLike[str], filesystem: FileSystem | None = None
) -> tuple[AbstractFileSystem | None, str]:
    """Splits what a user calls a path into a filesystem and a path on it.

    Args:
        path: A local path or an fsspec URL such as `s3://bucket/folder`; with a `filesystem`, a
            path on it.
        filesystem: An fsspec or a pyarrow filesystem.

    Returns:
        An fsspec filesystem, or None for this machine's own files, and the path on it without
        its protocol; a local path is made absolute.

    Raises:
        ConfigError: the protocol is unknown, or `filesystem` is not a filesystem.
        MissingDependencyError: the protocol's library is not installed.

    Example:
        >>> resolve("/data/run_1/")
        (None, '/data/run_1')
        >>> filesystem, path = resolve("memory://bucket/run_1")
        >>> filesystem.protocol, path
        ('memory', '/bucket/run_1')
    """
    text = os.fspath(path)
    if filesystem is not None:
        remote = as_fsspec(filesystem)
        return (None, _absolute(text)) if remote is None else (remote, remote._strip_protocol(text))
    if "://" not in text or text.startswith(_LOCAL_URLS):
        return None, _absolute(text)
    return _from_url(text)


def as_fsspec(filesystem: FileSystem) -> AbstractFileSystem | None:
    """An fsspec or pyarrow filesystem as an fsspec one; None for this machine's own files.

    Raises:
        ConfigError: `filesystem` is neither.
    """
    from fsspec import AbstractFileSystem
    from fsspec.implementations.local import LocalFileSystem

    if type(filesystem) is LocalFileSystem:
        return None
    if isinstance(filesystem, AbstractFileSystem):
        return filesystem
    arrow = sys.modules.get("pyarrow.fs")  # there, if this is one of its objects
    if arrow is None or not isinstance(filesystem, arrow.FileSystem):
        raise ConfigError(
            f"filesystem={shorten(filesystem)} is a {type(filesystem).__name__}: "
            "pass an fsspec or a pyarrow filesystem"
        )
    if isinstance(filesystem, arrow.LocalFileSystem):
        return None
    handler = getattr(filesystem, "handler", None)
    if isinstance(handler, arrow.FSSpecHandler):
        return as_fsspec(handler.fs)

    from fsspec.implementations.arrow import ArrowFSWrapper

    return ArrowFSWrapper(filesystem, skip_instance_cache=True)


def local_filesystem() -> AbstractFileSystem:
    """The fsspec filesystem of this machine's own files."""
    from fsspec.implementations.local import LocalFileSystem

    return LocalFileSystem()


def read_bytes(filesystem: AbstractFileSystem | None, path: str) -> bytes | None:
    """A file's content, None if there is no such file."""
    try:
        if filesystem is not None:
            content: bytes = filesystem.cat_file(path)
            return content
        with open(path, "rb") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None


def write_bytes(filesystem: AbstractFileSystem | None, path: str, content: bytes) -> None:
    """Writes a file; a reader of a local one sees the old content or the new one whole."""
    if filesystem is not None:
        filesystem.pipe_file(path, content)
        return
    part = f"{path}.{os.getpid()}.part"
    with open(part, "wb") as file:
        file.write(content)
    os.replace(part, path)


def is_directory(filesystem: AbstractFileSystem | None, path: str) -> bool:
    """Whether there is a directory at `path`."""
    return os.path.isdir(path) if filesystem is None else bool(filesystem.isdir(path))


def list_names(filesystem: AbstractFileSystem | None, path: str) -> list[str]:
    """The names of what lies in a directory, sorted."""
    if filesystem is None:
        return sorted(os.listdir(path))
    return sorted(
        name.rstrip("/").rpartition("/")[2]
        for name in filesystem.ls(path, detail=False)
        if name.rstrip("/") != path.rstrip("/")  # object stores may list the directory itself
    )


def download_tree(filesystem: AbstractFileSystem, path: str, target: str) -> None:
    """Copies all files below `path` into the new local directory `target`."""
    root = path.strip("/")
    remote, local = [], []
    for name in filesystem.find(path):
        if not name.endswith("/"):  # object stores may hold an empty object for a directory
            remote.append(name)
            local.append(join(target, name.strip("/").removeprefix(root).lstrip("/")))
    for folder in {target, *map(os.path.dirname, local)}:
        os.makedirs(folder, exist_ok=True)
    if remote:
        filesystem.get(remote, local)


def join(path: str, name: str) -> str:
    """`name` in the directory `path`, on any filesystem."""
    return f"{path.rstrip('/')}/{name}"


def _absolute(path: str) -> str:
    for prefix in _LOCAL_URLS:
        path = path.removeprefix(prefix)
    return os.path.abspath(os.path.expanduser(path))


def _from_url(url: str) -> tuple[Any, str]:
    import fsspec

    protocol = url.partition("://")[0]
    try:
        filesystem, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        extra = _EXTRAS.get(protocol)
        fix = f'pip install "tuner[{extra}]"' if extra else str(error)
        raise MissingDependencyError(
            f"path={url!r} needs a library for {protocol}://, which is not installed: {fix}"
        ) from error
    except ValueError as error:
        raise ConfigError(
            f"path={url!r} cannot be used: {error}; "
            "pass a local path, or a URL whose protocol fsspec knows, such as s3:// or gs://"
        ) from error
    return filesystem, path


def upload_files(filesystem: AbstractFileSystem, sources: list[str], targets: list[str]) -> None:
    """Copies local files, several at a time where the filesystem can."""
    if sources:
        filesystem.put(sources, targets)


def upload_tree(filesystem: AbstractFileSystem, source: str, path: str) -> None:
    """Copies all files below the local directory `source` to below `path`."""
    sources = [os.path.join(root, name) for root, _, names in os.walk(source) for name in names]
    targets = [join(path, os.path.relpath(each, source)) for each in sources]
    upload_files(filesystem, sources, targets)


def move_tree(filesystem: AbstractFileSystem, source: str, target: str) -> None:
    """Moves a file, or all files below a directory; object stores copy them first."""
    root = source.rstrip("/")
    sources = [name for name in filesystem.find(source) if not name.endswith("/")]
    filesystem.copy(sources, [target.rstrip("/") + name[len(root) :] for name in sources])
    remove_tree(filesystem, source)


def remove_tree(filesystem: AbstractFileSystem, path: str) -> None:
    """Removes a file, or a directory with all that is below it; nothing is no error."""
    try:
        filesystem.rm(path, recursive=True)
    except FileNotFoundError:
        return
