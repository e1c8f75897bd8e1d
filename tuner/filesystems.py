"""Every path is a filesystem and a path on it; a local one needs no filesystem object at all."""

from __future__ import annotations

import contextlib
import glob
import os
import pickle
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from tuner.errors import ConfigError, MissingDependencyError
from tuner.validation import shorten

if TYPE_CHECKING:
    import pyarrow.fs
    from fsspec import AbstractFileSystem

    FileSystem: TypeAlias = AbstractFileSystem | pyarrow.fs.FileSystem

_LOCAL_URLS = ("file://", "local://")
_OBJECT_STORES = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az"})
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
        return (None, _absolute(text)) if remote is None else (remote, _stripped(remote, text))
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
    if not _is_of_pyarrow(filesystem):
        raise ConfigError(
            f"filesystem={shorten(filesystem)} is a {type(filesystem).__name__}: "
            "pass an fsspec or a pyarrow filesystem"
        )

    import pyarrow.fs

    from tuner.arrow_filesystem import ArrowFileSystem

    if isinstance(filesystem, pyarrow.fs.LocalFileSystem):
        return None
    handler = getattr(filesystem, "handler", None)
    if isinstance(handler, pyarrow.fs.FSSpecHandler):
        return as_fsspec(handler.fs)
    return ArrowFileSystem(filesystem, skip_instance_cache=True)


def local_filesystem() -> AbstractFileSystem:
    """The fsspec filesystem of this machine's own files."""
    from fsspec.implementations.local import LocalFileSystem

    return LocalFileSystem()


def of_this_process(filesystem: AbstractFileSystem) -> AbstractFileSystem:
    """The filesystem, or a copy of one from before a fork: fsspec's refuse to work after it."""
    if getattr(filesystem, "_pid", os.getpid()) == os.getpid():
        return filesystem
    return pickle.loads(pickle.dumps(filesystem))


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
    """Writes a file; a reader of a local one sees the old content or the new one whole.

    On a remote filesystem its directory is made if it does not exist.
    """
    if filesystem is not None:
        _with_directories(filesystem, [path], lambda: filesystem.pipe_file(path, content))
        return
    part = f"{path}.{os.getpid()}.part"
    with open(part, "wb") as file:
        file.write(content)
    os.replace(part, path)


def create_file(filesystem: AbstractFileSystem, path: str, content: bytes) -> None:
    """Writes a file that does not exist yet; of several processes that try, one can.

    Where the filesystem cannot promise that (pyarrow's), two that try at the same moment may both.

    Raises:
        FileExistsError: there is such a file.
    """
    if exists(filesystem, path):
        raise FileExistsError(path)
    mode = "overwrite" if _is_arrow(filesystem) else "create"
    _with_directories(filesystem, [path], lambda: filesystem.pipe_file(path, content, mode=mode))


def exists(filesystem: AbstractFileSystem, path: str) -> bool:
    """Whether there is a file or a directory at `path`."""
    return bool(_fresh(filesystem).exists(path))


def is_directory(filesystem: AbstractFileSystem | None, path: str) -> bool:
    """Whether there is a directory at `path`."""
    return os.path.isdir(path) if filesystem is None else bool(_fresh(filesystem).isdir(path))


def list_names(filesystem: AbstractFileSystem | None, path: str) -> list[str]:
    """The names of what lies in a directory, sorted.

    Raises:
        FileNotFoundError: there is no such directory.
    """
    if filesystem is None:
        return sorted(os.listdir(path))
    return sorted(
        name.rstrip("/").rpartition("/")[2]
        for name in _fresh(filesystem).ls(path, detail=False)
        if name.strip("/") != path.strip("/")  # object stores may list the directory itself
    )


def upload_files(filesystem: AbstractFileSystem, sources: list[str], targets: list[str]) -> None:
    """Copies local files to paths of the filesystem, several at a time where it can do that."""
    if sources:
        _with_directories(filesystem, targets, lambda: filesystem.put(sources, targets))


def upload_tree(filesystem: AbstractFileSystem, source: str, path: str) -> None:
    """Copies all files below the local directory `source` to below `path`.

    Symbolic links are followed. Directories without files are left out: object stores know none.
    """
    sources = _files_below(source)
    targets = [join(path, os.path.relpath(each, source)) for each in sources]
    upload_files(filesystem, sources, targets)


def download_tree(filesystem: AbstractFileSystem, path: str, target: str) -> None:
    """Copies all files below `path` into the new local directory `target`."""
    root = path.strip("/")
    remote, local = [], []
    for name in _fresh(filesystem).find(path):
        if not name.endswith("/"):  # object stores may hold an empty object for a directory
            remote.append(name)
            local.append(join(target, name.strip("/").removeprefix(root).lstrip("/")))
    for folder in {target, *map(os.path.dirname, local)}:
        os.makedirs(folder, exist_ok=True)
    if remote:
        filesystem.get(remote, local)


def move_tree(filesystem: AbstractFileSystem, source: str, target: str) -> None:
    """Moves a file, or all files below a directory; it copies them first, and then removes them."""
    root = source.rstrip("/")
    sources = [name for name in _fresh(filesystem).find(source) if not name.endswith("/")]
    targets = [target.rstrip("/") + name[len(root) :] for name in sources]
    if sources:
        _with_directories(filesystem, targets, lambda: filesystem.copy(sources, targets))
    remove_tree(filesystem, source)


def remove_file(filesystem: AbstractFileSystem, path: str) -> None:
    """Removes a file; none is no error."""
    with contextlib.suppress(FileNotFoundError):
        filesystem.rm_file(path)


def remove_tree(filesystem: AbstractFileSystem, path: str) -> None:
    """Removes a file, or a directory with all that is below it; nothing there is no error."""
    with contextlib.suppress(FileNotFoundError):
        if glob.has_magic(path):
            _remove_by_names(_fresh(filesystem), path)
        else:
            _fresh(filesystem).rm(path, recursive=True)


def join(path: str, name: str) -> str:
    """`name` in the directory `path`, on any filesystem."""
    return f"{path.rstrip('/')}/{name}"


def _fresh(filesystem: AbstractFileSystem) -> AbstractFileSystem:
    """The filesystem without the listings that it remembers: others write to it as well."""
    filesystem.invalidate_cache()
    return filesystem


def _remove_by_names(filesystem: AbstractFileSystem, path: str) -> None:
    """Removes a tree whose path `rm` would take for a pattern."""
    for name, info in sorted(filesystem.find(path, withdirs=True, detail=True).items())[::-1]:
        if info["type"] == "file":
            filesystem.rm_file(name)
        else:
            with contextlib.suppress(OSError):  # object stores have no directories
                filesystem.rmdir(name)


def _with_directories(
    filesystem: AbstractFileSystem, paths: list[str], write: Callable[[], object]
) -> None:
    """Writes files; makes their directories if that fails because they do not exist.

    Object stores know no directories, and would make a missing bucket.
    """
    try:
        write()
    except FileNotFoundError:
        if _is_object_store(filesystem):
            raise
        for folder in {path.rpartition("/")[0] for path in paths}:
            filesystem.makedirs(folder, exist_ok=True)
        write()


def _is_object_store(filesystem: Any) -> bool:
    while inner := getattr(filesystem, "fs", None) or getattr(filesystem, "base_fs", None):
        filesystem = inner
    name = getattr(filesystem, "type_name", None) or filesystem.protocol
    return not _OBJECT_STORES.isdisjoint([name] if isinstance(name, str) else name)


def _is_arrow(filesystem: AbstractFileSystem) -> bool:
    from fsspec.implementations.arrow import ArrowFSWrapper

    return isinstance(filesystem, ArrowFSWrapper)


def _files_below(folder: str) -> list[str]:
    found = []
    for entry in os.scandir(folder):
        found += _files_below(entry.path) if entry.is_dir() else [entry.path]
    return found


def _absolute(path: str) -> str:
    for prefix in _LOCAL_URLS:
        path = path.removeprefix(prefix)
    return os.path.abspath(os.path.expanduser(path))


def _stripped(filesystem: AbstractFileSystem, path: str) -> str:
    """A path on the filesystem without protocol and without a slash at its end."""
    stripped: str = filesystem._strip_protocol(path)
    return stripped.rstrip("/") or stripped


def _is_of_pyarrow(filesystem: object) -> bool:
    if "pyarrow" not in sys.modules:  # it is there, if this is one of its objects
        return False
    import pyarrow.fs

    return isinstance(filesystem, pyarrow.fs.FileSystem)


def _from_url(url: str) -> tuple[Any, str]:
    import fsspec

    protocol = url.partition("://")[0]
    try:
        fsspec.get_filesystem_class(protocol)
        filesystem, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        extra = _EXTRAS.get(protocol)
        fix = f'pip install "tuner[{extra}]"' if extra else str(error)
        raise MissingDependencyError(
            f"path={url!r} needs a library for {protocol}://, which is not installed: {fix}"
        ) from error
    except ValueError as error:
        fix = (
            "check the credentials in the environment"
            if protocol in fsspec.registry
            else "pass a local path, or a URL whose protocol fsspec knows, such as s3:// or gs://"
        )
        raise ConfigError(f"path={url!r} cannot be used: {error}; {fix}") from error
    return filesystem, _stripped(filesystem, path)
