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
from collections.abc import Container, Iterator
from pathlib import Path

import orjson

from tuner.errors import StorageError
from tuner.experiment.folder import LOCK, OF_ONE_RUN
from tuner.filesystems import download_tree, join, read_bytes
from tuner.layout import DESCRIPTION_FILE, JOURNAL_FOLDER, TUNER_FILE
from tuner.storage.fetching import fetch, names_in, segments_in
from tuner.storage.storage import Storage
from tuner.storage.transfer import explained
from tuner.storage.trial_files import TrialFiles
from tuner.storage.upload_index import UploadIndex

logger = logging.getLogger(__name__)

VARIABLE = "TUNER_STAGING_DIR"

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


def stage(storage: Storage, id_prefix: str) -> None:
    """Makes the staging folder hold the experiment, of which the caller holds all locks.

    One that is there already is used, as nothing may be lost that was not uploaded; unless the
    experiment went on elsewhere since, when it is set aside and all is fetched.

    Args:
        storage: The experiment's folder.
        id_prefix: What the ids of its trials begin with.

    Raises:
        StorageError: The storage holds another run, or cannot be read.
    """
    local = staging_path(storage)
    with explained(storage.url, "read"):
        if not storage.is_shared:
            empty(local)
            download_tree(storage.fs, storage.path, local)
        elif not _is_up_to_date(local, storage):
            _set_aside(local, storage)
            fetch(storage, local)
    if _id_prefix(local) != id_prefix:
        raise StorageError(f"{storage} holds another run than when Tuner.restore was called")


@contextlib.contextmanager
def viewed(storage: Storage) -> Iterator[str]:
    """A local folder that holds the experiment, to be read within the `with` block.

    Raises:
        StorageError: The storage cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="tuner_") as folder:
        with explained(storage.url, "read"):
            local = staging_path(storage)
            if not (storage.is_shared and _is_up_to_date(local, storage)):
                local = folder
                fetch(storage, folder)
        yield local


def lacks(storage: Storage, local: str, num_facts: int) -> bool:
    """Whether the staging folder holds what is not on the storage.

    Args:
        storage: The experiment's folder.
        local: What `viewed` gave: the staging folder, or one for the moment.
        num_facts: How many facts the journal there holds.
    """
    return local == staging_path(storage) and UploadIndex(local).facts < num_facts


def exists(storage: Storage) -> bool:
    """Whether there is an experiment that can be restored."""
    if storage.is_shared and _holds_experiment(staging_path(storage)):
        return True
    with explained(storage.url, "read"):
        return {DESCRIPTION_FILE, TUNER_FILE} <= set(names_in(storage))


def clear(local: str, dirnames: Container[str], files: TrialFiles) -> bool:
    """Removes a run that is on the storage; whether files of it that are not there are left.

    Args:
        local: The staging folder.
        dirnames: The folders of the run's trials; those of earlier runs stay.
        files: Which files of trials belong on the storage.
    """
    left = False
    for name in _entries(local):
        path = os.path.join(local, name)
        if name in dirnames:
            left |= _clear_trial(local, name, files)
        elif not os.path.isdir(path):
            os.remove(path)
        elif name in OF_ONE_RUN:
            shutil.rmtree(path)
    return left


def _clear_trial(local: str, dirname: str, files: TrialFiles) -> bool:
    folder = os.path.join(local, dirname)
    for path in [*files.all(dirname)]:
        os.remove(os.path.join(local, path))
    for name in os.listdir(folder):
        if _CHECKPOINT.fullmatch(name):
            shutil.rmtree(os.path.join(folder, name))
    remove_empty_folders(folder)
    return os.path.exists(folder)


def remove_empty_folders(path: str) -> None:
    """Removes a folder if it holds nothing but folders."""
    for folder, _, _ in os.walk(path, topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(folder)


def release(storage: Storage) -> None:
    """Removes the staging folder if nothing is in it any more."""
    local = staging_path(storage)
    if not _entries(local):
        shutil.rmtree(local, ignore_errors=True)
        with contextlib.suppress(OSError):
            os.rmdir(os.path.dirname(local))


def discard_copy(storage: Storage) -> None:
    """Empties the staging folder if all that it holds is on the storage as well."""
    local = staging_path(storage)
    if _is_copy(local, storage):
        empty(local)


def _holds_experiment(local: str) -> bool:
    return os.path.exists(os.path.join(local, DESCRIPTION_FILE))


def _id_prefix(local: str) -> object:
    return _id_prefix_in(read_bytes(None, os.path.join(local, DESCRIPTION_FILE)))


def _id_prefix_in(description: bytes | None) -> object:
    try:
        return orjson.loads(description or b"{}").get("id_prefix")
    except ValueError:
        return None


def _is_up_to_date(local: str, storage: Storage) -> bool:
    """Whether a staging folder holds at least what is on the storage."""
    if not _holds_experiment(local):
        return False
    remote = segments_in(storage)
    there = read_bytes(storage.fs, join(storage.path, DESCRIPTION_FILE))
    if there is None:
        return True
    if _id_prefix(local) != _id_prefix_in(there):
        return False
    paths = [os.path.join(local, JOURNAL_FOLDER, name) for name in remote]
    if not remote or not all(map(os.path.exists, paths)):
        return not remote
    # Every run begins a segment, so that the last one tells which run has written it.
    last = read_bytes(storage.fs, join(join(storage.path, JOURNAL_FOLDER), remote[-1])) or b""
    with open(paths[-1], "rb") as file:
        return file.read(len(last)) == last


def _set_aside(local: str, storage: Storage) -> None:
    """Makes room for another state of the experiment; nothing that is only here is deleted."""
    if not _holds_experiment(local) or _is_copy(local, storage):
        empty(local)
        return
    for number in itertools.count(1):
        aside = f"{local}.outdated_{number}"
        if not os.path.exists(aside):
            break
    os.makedirs(aside)
    for name in _entries(local):
        shutil.move(os.path.join(local, name), aside)
    logger.warning(
        "the experiment went on elsewhere since it was last run on this machine; what this machine "
        "had of it is kept in %s",
        aside,
    )


def _is_copy(local: str, storage: Storage) -> bool:
    """Whether a staging folder holds nothing but a part of what is on the storage."""
    if not set(_entries(local)) <= set(OF_ONE_RUN):
        return False
    journal = os.path.join(local, JOURNAL_FOLDER)
    for name in os.listdir(journal) if os.path.isdir(journal) else ():
        there = read_bytes(storage.fs, join(join(storage.path, JOURNAL_FOLDER), name)) or b""
        here = read_bytes(None, os.path.join(journal, name)) or b""
        if name.endswith(".jsonl") and not there.startswith(here):
            return False
    return True


def _entries(local: str) -> list[str]:
    """What lies in a staging folder, but for the lock that its user holds."""
    return [name for name in os.listdir(local) if name != LOCK] if os.path.isdir(local) else []


def empty(local: str) -> None:
    """Removes all that lies in a staging folder."""
    for name in _entries(local):
        path = os.path.join(local, name)
        shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)


@functools.cache
def _temporary_root() -> str:
    root = tempfile.mkdtemp(prefix="tuner_")
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    return root
