"""The files of the controller's node, for a worker on another one, as an fsspec filesystem."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from fsspec import AbstractFileSystem
from fsspec.callbacks import DEFAULT_CALLBACK
from fsspec.spec import AbstractBufferedFile

from tuner.storage.file_client import FileClient, write_request
from tuner.storage.served_protocol import CHUNK, Line, Secret, raise_error

_NOT_THERE = (FileNotFoundError, NotADirectoryError)


class ServedFileSystem(AbstractFileSystem):  # type: ignore[misc]
    """What a `FileServer` serves; a path is the absolute path on the server's machine.

    It can be pickled, and used after a fork and by several threads. Nothing is cached.

    Args:
        host: Host of the server.
        port: Its port.
        secret: What the server has to know, and wants to be known.
    """

    protocol = "tuner-served"
    root_marker = "/"
    cachable = False

    def __init__(self, host: str, port: int, secret: Secret, **storage_options: Any) -> None:
        super().__init__(**storage_options)
        self._client = FileClient((host, port), secret)

    def sync(self, path: str) -> None:
        """Brings a file, or all that is below a directory, to the disk, with the names of the
        directories above it, so that a loss of power does not lose it."""
        self._client.call("sync", path=self._strip_protocol(path))

    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        info: dict[str, Any] = self._client.call("info", path=self._strip_protocol(path))["info"]
        return info

    def ls(self, path: str, detail: bool = True, **kwargs: Any) -> list[Any]:
        path = self._strip_protocol(path)
        try:
            infos: list[dict[str, Any]] = self._client.call("ls", path=path)["infos"]
        except NotADirectoryError:
            infos = [self.info(path)]
        return infos if detail else [info["name"] for info in infos]

    def exists(self, path: str, **kwargs: Any) -> bool:
        return self._type(path) is not None

    def isdir(self, path: str) -> bool:
        return self._type(path) == "directory"

    def isfile(self, path: str) -> bool:
        return self._type(path) == "file"

    def created(self, path: str) -> datetime:
        return datetime.fromtimestamp(self.info(path)["created"], tz=UTC)

    def modified(self, path: str) -> datetime:
        return datetime.fromtimestamp(self.info(path)["mtime"], tz=UTC)

    def mkdir(self, path: str, create_parents: bool = True, **kwargs: Any) -> None:
        path = self._strip_protocol(path)
        if create_parents:
            self._client.call("makedirs", again=False, path=path, exist_ok=False)
        else:
            self._client.call("mkdir", again=False, path=path)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        path = self._strip_protocol(path)
        self._client.call("makedirs", again=exist_ok, path=path, exist_ok=exist_ok)

    def rmdir(self, path: str) -> None:
        self._client.call("rmdir", again=False, path=self._strip_protocol(path))

    def rm_file(self, path: str) -> None:
        self._client.call("rm_file", again=False, path=self._strip_protocol(path))

    _rm = rm_file

    def rm(self, path: Any, recursive: bool = False, maxdepth: int | None = None) -> None:
        """Removes files, or directories with all that is below them; a name is no pattern."""
        do = "rm_tree" if recursive else "rm_file"
        for each in [path] if isinstance(path, (str, os.PathLike)) else path:
            self._client.call(do, again=False, path=self._strip_protocol(each))

    def mv(self, path1: str, path2: str, **kwargs: Any) -> None:
        """Renames a file or a directory; a file takes the place of an older one."""
        path, target = self._strip_protocol(path1), self._strip_protocol(path2)
        self._client.call("mv", again=False, path=path, target=target)

    def cp_file(self, path1: str, path2: str, **kwargs: Any) -> None:
        path, target = self._strip_protocol(path1), self._strip_protocol(path2)
        try:
            self._client.call("cp_file", path=path, target=target)
        except IsADirectoryError:
            self.makedirs(target, exist_ok=True)

    def cat_file(
        self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any
    ) -> bytes:
        def take(size: int, pieces: Iterator[bytes]) -> bytes:
            return b"".join(pieces)

        return self._client.read(self._strip_protocol(path), take, start, end)

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kwargs: Any) -> None:
        content = memoryview(value).cast("B")
        starts = range(0, len(content), CHUNK)
        self._client.write(
            self._strip_protocol(path),
            lambda: (bytes(content[start : start + CHUNK]) for start in starts),
            create=mode == "create",
        )

    def put_file(
        self,
        lpath: str,
        rpath: str,
        callback: Any = DEFAULT_CALLBACK,
        mode: str = "overwrite",
        keep_mtime: bool = False,
        **kwargs: Any,
    ) -> None:
        """Copies a local file there.

        Args:
            lpath: Its path; a directory is only made.
            rpath: The path there.
            callback: Is told of the progress.
            mode: With `"create"`, there must be no such file.
            keep_mtime: Whether the copy is as old as the file, rather than new.
            **kwargs: Ignored.
        """
        rpath = self._strip_protocol(rpath)
        if os.path.isdir(lpath):
            self.makedirs(rpath, exist_ok=True)
            return
        found = os.stat(lpath)
        callback.set_size(found.st_size)
        self._client.write(
            rpath,
            lambda: _watched(_pieces(lpath), callback),
            create=mode == "create",
            with_parents=True,
            mtime_ns=found.st_mtime_ns if keep_mtime else None,
        )

    def get_file(
        self,
        rpath: str,
        lpath: str,
        callback: Any = DEFAULT_CALLBACK,
        outfile: Any = None,
        **kwargs: Any,
    ) -> None:
        def take(size: int, pieces: Iterator[bytes]) -> None:
            callback.set_size(size)
            if outfile is not None:
                outfile.seek(0)
                outfile.truncate()
                outfile.writelines(_watched(pieces, callback))
                return
            with open(lpath, "wb") as file:
                file.writelines(_watched(pieces, callback))

        if outfile is None:
            os.makedirs(os.path.dirname(os.path.abspath(lpath)), exist_ok=True)
        try:
            self._client.read(self._strip_protocol(rpath), take)
        except IsADirectoryError:
            os.makedirs(lpath, exist_ok=True)

    def _type(self, path: str) -> str | None:
        try:
            kind: str = self.info(path)["type"]
        except _NOT_THERE:
            return None
        return kind

    def _open(
        self, path: str, mode: str = "rb", block_size: int | None = None, **kwargs: Any
    ) -> ServedFile:
        if mode not in ("rb", "wb", "xb"):
            raise ValueError(f"open({path!r}, mode={mode!r}): use one of rb, wb, xb, or r, w, x")
        return ServedFile(self, path, mode, block_size or CHUNK, self._client, **kwargs)


class ServedFile(AbstractBufferedFile):  # type: ignore[misc]
    """A file that is open: read from any place, or written from its start to its end.

    What is written has a connection of its own, and appears when the file is closed.
    """

    def __init__(
        self,
        fs: ServedFileSystem,
        path: str,
        mode: str,
        block_size: int,
        client: FileClient,
        **kwargs: Any,
    ) -> None:
        self._client = client
        self._owner = os.getpid()
        self._line: Line | None = None
        super().__init__(fs, path, mode, block_size, **kwargs)

    def close(self) -> None:
        if self._owner != os.getpid():  # a fork's copy of a file that another process writes
            self.closed = True
        super().close()

    def _initiate_upload(self) -> None:
        self._line = self._client.line()
        self._line.begin(write_request(self.path, "x" in self.mode, False, None))

    def _upload_chunk(self, final: bool = False) -> bool:
        assert self._line is not None
        content = self.buffer.getvalue()
        try:
            for start in range(0, len(content), CHUNK):
                self._line.add(content[start : start + CHUNK])
                if self._line.has_answer():
                    raise_error(self._line.answer())
        except BaseException:
            self.discard()
            raise
        if final and self.autocommit:
            self.commit()
        return True

    def commit(self) -> None:
        """Has the file appear."""
        assert self._line is not None
        try:
            self._line.end()
            raise_error(self._line.answer())
        finally:
            self._line.close()

    def discard(self) -> None:
        """Gives up what was written."""
        self.closed = True
        if self._line is not None:
            self._line.close()


def _pieces(path: str) -> Iterator[bytes]:
    with open(path, "rb") as file:
        while data := file.read(CHUNK):
            yield data


def _watched(pieces: Iterable[bytes], callback: Any) -> Iterator[bytes]:
    for piece in pieces:
        yield piece
        callback.relative_update(len(piece))
