"""The local folder in which an experiment on remote storage is written before it is uploaded.

It has the layout of a local experiment. Its path follows from the storage's, so that a restore on
the same machine finds what was not uploaded when everything was killed.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import hashlib
import itertools
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import orjson

from tuner.errors import StorageError
from tuner.experiment.folder import LOCK, OF_ONE_RUN, PREVIOUS
from tuner.filesystems import download_tree, join, list_names, read_bytes
from tuner.layout import (
    DESCRIPTION_FILE,
    JOURNAL_FOLDER,
    SNAPSHOTS_FOLDER,
    TUNER_FILE,
    UPLOADS_FILE,
    is_written_by_loggers,
)
from tuner.storage.storage import Storage
from tuner.storage.trial_files import TrialFiles

logger = logging.getLogger(__name__)

VARIABLE = "TUNER_STAGING_DIR"

_SEGMENT = re.compile(r"\d{8}\.jsonl")
_SNAPSHOT = re.compile(r"\d{12}\.pkl")
_CHECKPOINT = re.compile(r"\.?checkpoint_\d+.*")


def staging_path(storage: Storage) -> str:
    """The staging folder of the experiment that is kept there.

    It lies in `TUNER_STAGING_DIR`, else in `~/.cache/tuner`.
    """
    root = os.environ.get(VARIABLE) or str(Path.home() / ".cache" / "tuner")
    if not storage.is_shared:
        root = _temporary_root()
    place = f"{storage.protocols[0]}:{storage.path}"
    digest = hashlib.sha256(place.encode()).hexdigest()[:16]
    return os.path.join(root, digest, storage.name)


def stage(storage: Storage) -> str:
    """Makes the staging folder hold the experiment, and returns its path.

    One that is there already is used, as nothing may be lost that was not uploaded; unless the
    experiment went on elsewhere since, when it is moved aside and all is downloaded.

    Raises:
        StorageError: There is no experiment, or it cannot be read.
    """
    local = staging_path(storage)
    if not storage.is_shared:
        shutil.rmtree(local, ignore_errors=True)
        download_tree(storage.fs, storage.path, local)
    elif os.path.exists(os.path.join(local, TUNER_FILE)):
        if holds_all_of(local, storage):
            return local
        _set_aside(local, storage)
        download(storage, local)
    else:
        download(storage, local)
    return local


@contextlib.contextmanager
def viewed(storage: Storage) -> Iterator[str]:
    """A local folder that holds the experiment, to be read within the `with` block."""
    local = staging_path(storage)
    if os.path.exists(os.path.join(local, TUNER_FILE)) and holds_all_of(local, storage):
        yield local
        return
    with tempfile.TemporaryDirectory(prefix="tuner_") as folder:
        download(storage, folder)
        yield folder


def exists(storage: Storage) -> bool:
    """Whether there is an experiment that can be restored."""
    local = staging_path(storage)
    if os.path.exists(os.path.join(local, TUNER_FILE)) and storage.is_shared:
        return True
    return {DESCRIPTION_FILE, TUNER_FILE} <= set(_names(storage))


def holds_all_of(local: str, storage: Storage) -> bool:
    """Whether a staging folder holds at least what is on the storage."""
    here = read_bytes(None, os.path.join(local, DESCRIPTION_FILE))
    there = read_bytes(storage.fs, join(storage.path, DESCRIPTION_FILE))
    if there is None:
        return True
    if here is None or _id_prefix(here) != _id_prefix(there):
        return False
    remote = [name for name in _names(storage.child(JOURNAL_FOLDER)) if _SEGMENT.fullmatch(name)]
    paths = [os.path.join(local, JOURNAL_FOLDER, name) for name in remote]
    if not all(map(os.path.exists, paths)):
        return False
    # Every run begins a segment, so that the last one tells which run has written it.
    last = join(join(storage.path, JOURNAL_FOLDER), remote[-1]) if remote else ""
    content = read_bytes(storage.fs, last) if last else None
    if not content:
        return True
    with open(paths[-1], "rb") as file:
        return file.read(len(content)) == content


def download(storage: Storage, local: str) -> None:
    """Fetches what a restore needs, which is all but checkpoints and the files of trials.

    Raises:
        StorageError: There is no experiment.
    """
    names = set(_names(storage))
    if not {DESCRIPTION_FILE, TUNER_FILE} <= names:
        raise StorageError(
            f"Tuner.restore(path={storage.url!r}): there is no experiment, as there is no "
            f"{DESCRIPTION_FILE} or no {TUNER_FILE}; give the folder <storage_path>/<name> of a run"
        )
    wanted = [DESCRIPTION_FILE, TUNER_FILE]
    for folder, pattern in ((JOURNAL_FOLDER, _SEGMENT), (SNAPSHOTS_FOLDER, _SNAPSHOT)):
        found = _names(storage.child(folder)) if folder in names else []
        wanted += [f"{folder}/{name}" for name in found if pattern.fullmatch(name)]
        if UPLOADS_FILE in found:
            wanted.append(f"{folder}/{UPLOADS_FILE}")
    _fetch(storage, local, wanted)


def fetch_files(storage: Storage, local: str, dirnames: Iterable[str]) -> None:
    """Fetches the files of trials that go on, but for checkpoints and what loggers write anew."""
    wanted = []
    for dirname in dirnames:
        if os.path.isdir(os.path.join(local, dirname)):
            continue
        root = join(storage.path, dirname).strip("/")
        for path in storage.fs.find(join(storage.path, dirname)):
            relative = path.strip("/").removeprefix(root).lstrip("/")
            first = relative.partition("/")[0]
            if relative and not _CHECKPOINT.fullmatch(first) and not is_written_by_loggers(first):
                wanted.append(f"{dirname}/{relative}")
    _fetch(storage, local, wanted)


def clear(local: str, files: TrialFiles) -> bool:
    """Removes an experiment that is on the storage; whether files that are not there are left.

    Args:
        local: The staging folder.
        files: Which files of trials belong on the storage.
    """
    for entry in [*os.scandir(local)]:
        if not entry.is_dir():
            os.remove(entry.path)
        elif entry.name in (JOURNAL_FOLDER, SNAPSHOTS_FOLDER):
            shutil.rmtree(entry.path)
        elif entry.name != PREVIOUS:
            for path in [*files.all(entry.name)]:
                os.remove(os.path.join(local, path))
            for inner in [*os.scandir(entry.path)]:
                if _CHECKPOINT.fullmatch(inner.name):
                    shutil.rmtree(inner.path)
    for folder, _, _ in os.walk(local, topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(folder)
    return os.path.exists(local)


@functools.cache
def _temporary_root() -> str:
    root = tempfile.mkdtemp(prefix="tuner_")
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    return root


def _fetch(storage: Storage, local: str, names: list[str]) -> None:
    targets = [os.path.join(local, name) for name in names]
    for folder in {local, *map(os.path.dirname, targets)}:
        os.makedirs(folder, exist_ok=True)
    if names:
        storage.fs.get([join(storage.path, name) for name in names], targets)


def _names(storage: Storage) -> list[str]:
    storage.fs.invalidate_cache()
    try:
        return list_names(storage.fs, storage.path)
    except FileNotFoundError:
        return []


def _id_prefix(description: bytes) -> object:
    try:
        return orjson.loads(description).get("id_prefix")
    except ValueError:
        return None


def _set_aside(local: str, storage: Storage) -> None:
    """Makes room for another state of the experiment; nothing that is only here is deleted."""
    if _is_all_on(storage, local):
        shutil.rmtree(local)
        return
    for number in itertools.count(1):
        aside = f"{local}.outdated_{number}"
        if not os.path.exists(aside):
            break
    shutil.move(local, aside)
    logger.warning(
        "the experiment went on elsewhere since it was last run on this machine; what this machine "
        "had of it is kept in %s",
        aside,
    )


def _is_all_on(storage: Storage, local: str) -> bool:
    """Whether a staging folder holds nothing but a part of the journal that is on the storage."""
    if not set(os.listdir(local)) <= {*OF_ONE_RUN, LOCK}:
        return False
    journal = os.path.join(local, JOURNAL_FOLDER)
    for name in filter(_SEGMENT.fullmatch, os.listdir(journal)):
        there = read_bytes(storage.fs, join(join(storage.path, JOURNAL_FOLDER), name)) or b""
        here = read_bytes(None, os.path.join(journal, name)) or b""
        if not there.startswith(here):
            return False
    return True
