"""Many append-only files, few of them open at a time, each written once per batch."""

from __future__ import annotations

import os
from collections.abc import Iterator

from tuner.recording.bookmarks import Bookmarks

MAX_OPEN = 256


class LogFile:
    """A file that grows; what is appended reaches it with the next `LogFiles.flush`.

    Attributes:
        path: Where it lies.
        size: Its length in bytes, without what is not flushed yet.
    """

    __slots__ = ("_files", "chunks", "fd", "path", "size")

    def __init__(self, files: LogFiles, path: str, size: int) -> None:
        self._files = files
        self.path = path
        self.size = size
        self.fd = -1
        self.chunks: list[bytes] = []

    def append(self, data: bytes) -> None:
        """Adds bytes to the end."""
        if not self.chunks:
            self._files.unflushed.append(self)
        self.chunks.append(data)

    def read(self) -> bytes:
        """All that was appended so far."""
        if self.chunks:
            self._files.flush()
        if not self.size:
            return b""
        with open(self.path, "rb") as file:
            return file.read()

    def replace(self, content: bytes) -> None:
        """Puts `content` in the place of all that was appended so far; readers see old or new."""
        self._files.replace(self, content)

    def close(self) -> None:
        """Flushes and forgets the file; opening the same path again goes on where it ended."""
        self._files.forget(self)


class LogFiles:
    """The files of one logger.

    Args:
        bookmarks: Where their lengths are kept for a restart, None if nowhere.
        max_open: How many are open at once; the least recently written is closed first.
    """

    def __init__(self, bookmarks: Bookmarks | None = None, *, max_open: int = MAX_OPEN) -> None:
        self.unflushed: list[LogFile] = []
        self._files: dict[str, LogFile] = {}
        self._open: dict[LogFile, None] = {}  # least recently written first
        self._max_open = max_open
        self._bookmarks = bookmarks
        if bookmarks is not None:
            bookmarks.watch(self.sizes)

    @property
    def num_open(self) -> int:
        """How many files are open now."""
        return len(self._open)

    def open(self, path: str, *, fresh: bool) -> LogFile:
        """The file at `path`, to be appended to.

        Args:
            path: Where it lies; missing folders are made.
            fresh: Nothing was recorded in it yet, so what an earlier recorder may have left
                there after its last bookmark is dropped.
        """
        file = self._files.get(path)
        if file is None:
            file = self._files[path] = self._new(path, fresh=fresh)
        return file

    def sizes(self) -> Iterator[tuple[str, int]]:
        """Path and length of every file that is in use, as of the last flush."""
        return ((file.path, file.size) for file in self._files.values())

    def flush(self) -> None:
        """Writes everything that was appended, with one system call per file."""
        files, self.unflushed = self.unflushed, []
        for file in files:
            data = b"".join(file.chunks)
            file.chunks = []
            _write_all(self._fd(file), data)
            file.size += len(data)

    def replace(self, file: LogFile, content: bytes) -> None:
        """See `LogFile.replace`."""
        self.flush()
        folder, name = os.path.split(file.path)
        temporary = os.path.join(folder, f".{name}.new")
        with open(temporary, "wb") as new:
            new.write(content)
        self._close(file)
        if self._bookmarks is not None:
            self._bookmarks.set_aside(file.path)
        os.replace(temporary, file.path)
        file.size = len(content)

    def forget(self, file: LogFile) -> None:
        """See `LogFile.close`."""
        self.flush()
        self._close(file)
        del self._files[file.path]

    def close(self) -> None:
        """Flushes and closes all files; their lengths stay known."""
        self.flush()
        for file in list(self._open):
            self._close(file)

    def _new(self, path: str, *, fresh: bool) -> LogFile:
        known = self._bookmarks is not None and self._bookmarks.covers(path)
        exists = os.path.exists(path)
        if (fresh and not known) or not exists:
            if self._bookmarks is not None:
                self._bookmarks.begin(path)
            if exists:
                os.truncate(path, 0)
            return LogFile(self, path, 0)
        size = os.path.getsize(path)
        if self._bookmarks is not None and not known:
            self._bookmarks.admit(path, size)
        return LogFile(self, path, size)

    def _fd(self, file: LogFile) -> int:
        if file.fd >= 0:
            del self._open[file]
        else:
            file.fd = _open(file.path, truncate=False)
        self._open[file] = None
        if len(self._open) > self._max_open:
            self._close(next(iter(self._open)))
        return file.fd

    def _close(self, file: LogFile) -> None:
        if file.fd >= 0:
            os.close(file.fd)
            file.fd = -1
            del self._open[file]


def write_file(path: str, content: bytes) -> None:
    """Writes a small file at once; missing folders are made."""
    fd = _open(path, truncate=True)
    try:
        _write_all(fd, content)
    finally:
        os.close(fd)


def _open(path: str, *, truncate: bool) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | (os.O_TRUNC if truncate else 0)
    try:
        return os.open(path, flags, 0o644)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return os.open(path, flags, 0o644)


def _write_all(fd: int, data: bytes) -> None:
    written = os.write(fd, data)
    while written < len(data):
        written += os.write(fd, data[written:])
