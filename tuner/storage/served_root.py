"""The files below one folder, as the file server's clients may use them."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import uuid
from typing import Any

from tuner.fsync import sync_folder, sync_tree
from tuner.storage.served_protocol import CHUNK

INCOMING = ".incoming"
"""In the served folder: what is being written."""


class ServedRoot:
    """The files below one folder; nothing outside of it can be named.

    Args:
        root: The folder, which no other file server serves.
    """

    def __init__(self, root: str) -> None:
        self.path = os.path.realpath(root)
        self._incoming = os.path.join(self.path, INCOMING)
        self.clean_up()

    def resolve(self, path: str) -> str:
        """The file that a path leads to.

        Raises:
            PermissionError: It leads out of the folder.
        """
        if not path.startswith("/") or "\0" in path or ".." in path.split("/"):
            raise PermissionError(
                errno.EACCES, "the file server takes absolute paths without '..'", path
            )
        real = os.path.realpath(path)
        if real != self.path and not real.startswith(f"{self.path.rstrip('/')}/"):
            raise PermissionError(
                errno.EACCES, f"the path, or a link in it, leads out of {self.path}", path
            )
        return real

    def entry(self, path: str) -> str:
        """The same for what is created, removed or renamed: a link is then itself meant."""
        folder, name = os.path.split(path.rstrip("/"))
        entry = os.path.join(self.resolve(folder), name)
        if not name or name == "..":
            raise PermissionError(errno.EACCES, "the file server's folder itself stays", path)
        return entry

    def new_file(self, path: str, *, with_parents: bool = False) -> NewFile:
        """A file that is going to be written."""
        return NewFile(self.entry(path), self._incoming, with_parents=with_parents)

    def clean_up(self) -> None:
        """Removes what was not completely written."""
        shutil.rmtree(self._incoming, ignore_errors=True)

    def info(self, path: str) -> dict[str, Any]:
        return {"info": _info(path.rstrip("/"), os.stat(self.resolve(path)))}

    def ls(self, path: str) -> dict[str, Any]:
        found = []
        with os.scandir(self.resolve(path)) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):  # it is gone since
                    found.append(_info(f"{path.rstrip('/')}/{entry.name}", _stat(entry)))
        return {"infos": found}

    def mkdir(self, path: str) -> dict[str, Any]:
        os.mkdir(self.entry(path))
        return {}

    def makedirs(self, path: str, exist_ok: bool) -> dict[str, Any]:
        os.makedirs(self.resolve(path), exist_ok=exist_ok)
        return {}

    def rmdir(self, path: str) -> dict[str, Any]:
        os.rmdir(self.entry(path))
        return {}

    def rm_file(self, path: str) -> dict[str, Any]:
        os.unlink(self.entry(path))
        return {}

    def rm_tree(self, path: str) -> dict[str, Any]:
        entry = self.entry(path)
        if stat.S_ISDIR(os.lstat(entry).st_mode):
            shutil.rmtree(entry)
        else:
            os.unlink(entry)
        return {}

    def mv(self, path: str, target: str) -> dict[str, Any]:
        os.rename(self.entry(path), self.entry(target))
        return {}

    def cp_file(self, path: str, target: str) -> dict[str, Any]:
        with open_regular(self.resolve(path), path) as source, self.new_file(target) as copy:
            while data := source.read(CHUNK):
                copy.write(data)
            copy.commit()
        return {}

    def sync(self, path: str) -> dict[str, Any]:
        real = self.resolve(path)
        if os.path.isdir(real):
            sync_tree(real, self.path)
        else:
            _sync_file(real)
        return {}


class NewFile:
    """A file that is written elsewhere and appears when it is complete.

    Args:
        path: Its path.
        incoming: The directory it is written in, on the same disk.
        with_parents: Makes its directory if there is none.
    """

    def __init__(self, path: str, incoming: str, *, with_parents: bool = False) -> None:
        folder, self._name = os.path.split(path)
        if with_parents:
            os.makedirs(folder, exist_ok=True)
        self._folder = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)  # it may be renamed meanwhile
        self._part = os.path.join(incoming, uuid.uuid4().hex)
        try:
            os.makedirs(incoming, exist_ok=True)
            self._file = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        except BaseException:
            os.close(self._folder)
            raise

    def write(self, data: bytes) -> None:
        """Adds to it."""
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._file, rest) :]

    def commit(self, *, exclusively: bool = False, mtime_ns: int | None = None) -> None:
        """Gives it its name.

        Args:
            exclusively: If there is such a file already, that is an error.
            mtime_ns: When it was changed, None for now.
        """
        if mtime_ns is not None:
            os.utime(self._file, ns=(mtime_ns, mtime_ns))
        give_name = os.link if exclusively else os.replace
        give_name(self._part, self._name, dst_dir_fd=self._folder)

    def __enter__(self) -> NewFile:
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self._file)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._part)
        os.close(self._folder)


def open_regular(real: str, path: str) -> Any:
    """Opens a file to read; a pipe would be waited for, and a directory has no content."""
    mode = os.stat(real).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "this is no regular file", path)
    return open(real, "rb")


def _stat(entry: os.DirEntry[str]) -> os.stat_result:
    """What an entry leads to, else the link itself."""
    try:
        return entry.stat()
    except OSError:
        return entry.stat(follow_symlinks=False)


def _info(name: str, found: os.stat_result) -> dict[str, Any]:
    kind = "other"
    if stat.S_ISDIR(found.st_mode):
        kind = "directory"
    elif stat.S_ISREG(found.st_mode):
        kind = "file"
    return {
        "name": name or "/",
        "size": found.st_size if kind == "file" else 0,
        "type": kind,
        "created": found.st_ctime,
        "mtime": found.st_mtime,
        "mtime_ns": found.st_mtime_ns,
    }


def _sync_file(path: str) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
    sync_folder(os.path.dirname(path))
