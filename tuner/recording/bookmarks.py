"""How far the recorder has come, so that one that is killed goes on without losing or doubling.

A bookmark says: after this many facts of the journal, these files had these lengths. A recorder
that is started again cuts the files back to that and goes on with the next fact. Three rules make
every file of the experiment agree with the last bookmark at any moment:

* a file in the bookmark only grows, and is first set aside if it must be replaced;
* an older file that is not in the bookmark is added to it before it grows;
* a file that was begun after the bookmark is begun anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
from collections.abc import Callable, Iterable

import orjson

from tuner.layout import JOURNAL_FOLDER

logger = logging.getLogger(__name__)

FILE = "bookmarks.json"
SET_ASIDE = "set_aside"


class Bookmarks:
    """The bookmark of one experiment's recorder.

    Args:
        experiment_path: The experiment's folder, on a local filesystem.
    """

    def __init__(self, experiment_path: str) -> None:
        self._root = experiment_path
        self._path = os.path.join(experiment_path, JOURNAL_FOLDER, FILE)
        self._aside = os.path.join(experiment_path, JOURNAL_FOLDER, SET_ASIDE)
        self._sources: list[Callable[[], Iterable[tuple[str, int]]]] = []
        self._generation = 0
        self._facts = 0
        self._sizes: dict[str, int] = {}  # what the bookmark on the disk says, by absolute path
        self._begun: set[str] = set()  # files that were begun since then
        self._set_aside: set[str] = set()

    def watch(self, sizes: Callable[[], Iterable[tuple[str, int]]]) -> None:
        """Adds a source of paths and lengths for the bookmarks to come."""
        self._sources.append(sizes)

    def covers(self, path: str) -> bool:
        """Whether a file is in the last bookmark."""
        return path in self._sizes

    def load(self) -> int:
        """Brings the files back to the last bookmark.

        Returns:
            How many facts are recorded in them; 0 without a bookmark, or with one that does not
            fit the files, which are all to be written anew then.
        """
        if not os.path.exists(self._path):
            return 0
        try:
            with open(self._path, "rb") as file:
                content = orjson.loads(file.read())
            sizes = {os.path.join(self._root, p): size for p, size in content["files"].items()}
            self._generation = content["generation"]
            self._put_back(sizes)
            _cut(sizes)
        except (OSError, ValueError, KeyError) as error:
            logger.warning("%s: not used, all files are written anew: %s", self._path, error)
            self.reset()
            return 0
        self._sizes = sizes
        self._facts = content["facts"]
        return self._facts

    def reset(self) -> None:
        """Drops the bookmark: everything is to be recorded anew."""
        with contextlib.suppress(FileNotFoundError):
            os.remove(self._path)
        self._facts = 0
        self._sizes = {}

    def save(self, facts: int) -> None:
        """Makes a bookmark of the present state of all files, which must be flushed."""
        self._sizes = {path: size for source in self._sources for path, size in source()}
        self._facts = facts
        self._generation += 1
        self._begun.clear()
        self._write()
        for name in self._set_aside:
            os.remove(name)
        self._set_aside.clear()

    def begin(self, path: str) -> None:
        """Notes that a file is begun, which a restart will begin anew."""
        self._begun.add(path)

    def admit(self, path: str, size: int) -> None:
        """Adds a file that has not changed since the last bookmark, before it does."""
        if path not in self._begun:
            self._sizes[path] = size
            self._write()

    def set_aside(self, path: str) -> None:
        """Moves a file away that is about to be replaced, if the bookmark needs it."""
        if path not in self._sizes or not os.path.exists(path):
            return
        os.makedirs(self._aside, exist_ok=True)
        name = self._aside_name(path)
        if name not in self._set_aside:
            self._set_aside.add(name)
            os.replace(path, name)

    def _put_back(self, sizes: Iterable[str]) -> None:
        try:
            present = set(os.listdir(self._aside))
        except FileNotFoundError:
            return
        for path in sizes:
            name = self._aside_name(path)
            if os.path.basename(name) in present:
                os.replace(name, path)
        for leftover in os.listdir(self._aside):
            os.remove(os.path.join(self._aside, leftover))

    def _aside_name(self, path: str) -> str:
        relative = os.path.relpath(path, self._root)
        digest = hashlib.sha256(relative.encode()).hexdigest()[:32]
        return os.path.join(self._aside, f"{self._generation}-{digest}")

    def _write(self) -> None:
        skip = len(self._root) + 1
        content = {
            "generation": self._generation,
            "facts": self._facts,
            "files": {path[skip:]: size for path, size in self._sizes.items()},
        }
        temporary = f"{self._path}.new"
        with open(temporary, "wb") as file:
            file.write(orjson.dumps(content))
        os.replace(temporary, self._path)


def drop_beyond(experiment_path: str, num_facts: int) -> None:
    """Drops a bookmark that tells of more facts than the journal has, before it grows again.

    The journal may have lost its end, by a loss of power or as it was damaged. All files are
    recorded anew then.
    """
    path = os.path.join(experiment_path, JOURNAL_FOLDER, FILE)
    try:
        with open(path, "rb") as file:
            recorded = orjson.loads(file.read())["facts"]
    except (FileNotFoundError, ValueError, KeyError):
        return  # `Bookmarks.load` says so
    if recorded > num_facts:
        logger.warning("%s: the journal ends before its bookmark: recorded anew", experiment_path)
        os.remove(path)


def _cut(sizes: dict[str, int]) -> None:
    for path, size in sizes.items():
        if size == 0 and not os.path.exists(path):
            continue
        present = os.path.getsize(path)
        if present < size:
            raise ValueError(f"{path} has {present} bytes instead of {size}")
        if present > size:
            os.truncate(path, size)
