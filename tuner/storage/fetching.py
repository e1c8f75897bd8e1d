"""Fetches an experiment from remote storage to a local folder."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from tuner.experiment.journal_checks import last_seq
from tuner.experiment.journal_segments import segment_numbers, segment_path
from tuner.filesystems import join, list_names
from tuner.layout import (
    DESCRIPTION_FILE,
    JOURNAL_FOLDER,
    SNAPSHOTS_FOLDER,
    TUNER_FILE,
    UPLOADS_FILE,
    is_written_by_loggers,
)
from tuner.storage.storage import Storage
from tuner.storage.transfer import answered
from tuner.storage.upload_index import UploadIndex

_SEGMENT = re.compile(r"\d{8}\.jsonl")
_SNAPSHOT = re.compile(r"\d{12}\.pkl")
_CHECKPOINT = re.compile(r"\.?checkpoint_\d+.*")


def names_in(storage: Storage) -> list[str]:
    """The names of what lies in a folder, none if there is no such folder.

    Raises:
        StorageError: It does not answer.
    """

    def names() -> list[str]:
        try:
            return list_names(storage.fs, storage.path)
        except FileNotFoundError:
            return []

    return answered(names, storage.url, "read")


def segments_in(storage: Storage) -> list[str]:
    """The names of the journal's segments that are on the storage, in order."""
    return [name for name in names_in(storage.child(JOURNAL_FOLDER)) if _SEGMENT.fullmatch(name)]


def fetch(storage: Storage, local: str) -> None:
    """Fetches what a restore needs, which is all but checkpoints and the files of trials.

    The description is the last, so that only a complete folder passes for an experiment.
    """
    names = set(names_in(storage))
    wanted = [TUNER_FILE] if TUNER_FILE in names else []
    for folder, pattern in ((JOURNAL_FOLDER, _SEGMENT), (SNAPSHOTS_FOLDER, _SNAPSHOT)):
        found = names_in(storage.child(folder)) if folder in names else []
        wanted += [f"{folder}/{name}" for name in found if pattern.fullmatch(name)]
        if UPLOADS_FILE in found:
            wanted.append(f"{folder}/{UPLOADS_FILE}")
    _fetch(storage, local, wanted)
    _agree_on_end(local)
    _fetch(storage, local, [DESCRIPTION_FILE] if DESCRIPTION_FILE in names else [])


def fetch_files(storage: Storage, local: str, dirnames: Iterable[str]) -> None:
    """Fetches the files of trials that go on, but for checkpoints and what loggers write anew."""
    wanted = []
    for dirname in dirnames:
        root = join(storage.path, dirname).strip("/")
        for path in storage.fs.find(join(storage.path, dirname)):
            relative = path.strip("/").removeprefix(root).lstrip("/")
            first = relative.partition("/")[0]
            if relative and not _CHECKPOINT.fullmatch(first) and not is_written_by_loggers(first):
                wanted.append(f"{dirname}/{relative}")
    _fetch(storage, local, wanted)


def _fetch(storage: Storage, local: str, names: list[str]) -> None:
    targets = [os.path.join(local, name) for name in names]
    for folder in {local, *map(os.path.dirname, targets)}:
        os.makedirs(folder, exist_ok=True)
    if names:
        storage.fs.get([join(storage.path, name) for name in names], targets)


def _agree_on_end(local: str) -> None:
    """Has a fetched experiment end where its journal does, of which the end was not uploaded."""
    folder = os.path.join(local, JOURNAL_FOLDER)
    numbers = segment_numbers(folder)
    if UploadIndex(local).segments > len(numbers):
        os.remove(os.path.join(local, UploadIndex.PATH))  # all is sent again
    os.makedirs(folder, exist_ok=True)
    snapshots = os.path.join(local, SNAPSHOTS_FOLDER)
    last = last_seq(local)
    for name in os.listdir(snapshots) if os.path.isdir(snapshots) else ():
        if int(name[:12]) > last:
            os.remove(os.path.join(snapshots, name))
    if not numbers or os.path.exists(os.path.join(snapshots, f"{last:012d}.pkl")):
        # The snapshot may have been taken when the segment after the last one had just begun.
        open(segment_path(folder, max(numbers, default=0) + 1), "x").close()
