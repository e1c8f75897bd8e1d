"""The files of a trial, apart from checkpoints, whose node does not see the trial's folder."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator

from tuner.filesystems import join
from tuner.layout import CHECKPOINT, STAGED, is_written_by_loggers
from tuner.storage.served_protocol import ConnectionLost
from tuner.storage.storage import Storage

logger = logging.getLogger(__name__)

Signature = tuple[int, int]
"""Size and time of change of a file; a copy has those of the original."""


class TrialFileSender:
    """Brings what a trial prints and what its code writes to the controller's node.

    What loggers write there is theirs alone. What cannot be sent is a warning.

    Args:
        path: The trial's folder on this machine.
        home: The trial's folder, on a `ServedFileSystem`.
    """

    def __init__(self, path: str, home: Storage) -> None:
        self._path = path
        self._home = home
        self._at_home: dict[str, Signature] | None = None
        self._failed: set[str] = set()

    def fetch(self) -> None:
        """Brings the files of earlier attempts, which may have run on another node, here."""
        self._each(lambda: self._known().keys(), self._fetch)

    def send(self, *, is_end: bool = False) -> None:
        """Sends what is new or has changed.

        Args:
            is_end: Whether the attempt is over. Before, a file that grows is sent when it has
                doubled, so that it does not travel again and again.
        """
        self._each(self._files_here, lambda name: self._send(name, is_end))

    def _each(self, names: Callable[[], Iterable[str]], exchange: Callable[[str], None]) -> None:
        try:
            for name in names():
                try:
                    exchange(name)
                except ConnectionLost:
                    raise
                except FileNotFoundError:  # it was removed meanwhile
                    continue
                except OSError as error:
                    self._warn(name, error)
        except OSError as error:
            self._warn("", error)

    def _warn(self, name: str, error: OSError) -> None:
        if name not in self._failed:
            self._failed.add(name)
            what = f"file {name!r}" if name else "files"
            logger.warning("%s of %s: not sent or fetched: %s", what, self._home, error)

    def _fetch(self, name: str) -> None:
        path = os.path.join(self._path, name)
        _, mtime_ns = self._known()[name]
        here = _signature(path)
        if here is None or here[1] < mtime_ns:
            self._home.fs.get_file(join(self._home.path, name), path)
            os.utime(path, ns=(mtime_ns, mtime_ns))

    def _send(self, name: str, is_end: bool) -> None:
        path = os.path.join(self._path, name)
        here = _signature(path)
        sent = self._known().get(name)
        if here is None or here == sent:
            return
        if is_end or sent is None or not sent[0] < here[0] < 2 * sent[0]:
            self._home.fs.put_file(path, join(self._home.path, name), keep_mtime=True)
            self._known()[name] = here

    def _known(self) -> dict[str, Signature]:
        if self._at_home is None:
            self._at_home = dict(self._files_at_home(""))
        return self._at_home

    def _files_here(self) -> Iterator[str]:
        for root, folders, names in os.walk(self._path):
            inside = os.path.relpath(root, self._path)
            if inside == ".":
                folders[:] = [name for name in folders if _is_sent(name)]
                names = [name for name in names if _is_sent(name)]
            for name in names:
                if os.path.isfile(os.path.join(root, name)):
                    yield os.path.normpath(os.path.join(inside, name))

    def _files_at_home(self, folder: str) -> Iterator[tuple[str, Signature]]:
        try:
            infos = self._home.fs.ls(join(self._home.path, folder).rstrip("/"))
        except FileNotFoundError:
            return
        for info in infos:
            name = os.path.join(folder, os.path.basename(info["name"]))
            if not _is_sent(name):
                continue
            if info["type"] == "directory":
                yield from self._files_at_home(name)
            elif info["type"] == "file":
                yield name, (info["size"], info["mtime_ns"])


def _is_sent(name: str) -> bool:
    """Whether what has this path in a trial's folder is neither a checkpoint nor of a logger."""
    return not (CHECKPOINT.fullmatch(name) or STAGED.fullmatch(name) or is_written_by_loggers(name))


def _signature(path: str) -> Signature | None:
    """None if there is no such file."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_size, found.st_mtime_ns
