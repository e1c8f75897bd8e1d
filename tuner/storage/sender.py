"""Sends files of an experiment from its staging folder to remote storage, however long it takes."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Sequence

from tuner.errors import StorageError
from tuner.filesystems import join, list_names, remove_tree, upload_files, write_bytes
from tuner.storage.lease import Lease
from tuner.storage.storage import Storage
from tuner.storage.transfer import retried

_AT_ONCE = 200
_GIVE_UP_AFTER_S = 60.0
_NAMED = 20


class Sender:
    """Sends and deletes; what fails is tried again, and is known by its name when it is given up.

    Paths are those in the experiment's folder, the same on both sides.

    Args:
        staging: The local folder that holds the experiment.
        storage: Where it goes.
        timeout_s: Seconds that one try may take.
        lease: Gives the right to write there; nothing is sent without it.

    Attributes:
        deadline: When everything is given up (`time.monotonic()`), None as long as the experiment
            runs.
        failed: What was given up and not sent since, and why.
    """

    def __init__(self, staging: str, storage: Storage, timeout_s: float, lease: Lease) -> None:
        self.deadline: float | None = None
        self.failed: dict[str, str] = {}
        self._staging = staging
        self._storage = storage
        self._timeout_s = timeout_s
        self._lease = lease

    def send_journal(self, path: str, content: bytes) -> None:
        """Sends a segment, which is not given up while the experiment runs.

        Raises:
            StorageError: It could not be sent.
        """
        target = join(self._storage.path, path)
        self._try(
            lambda: write_bytes(self._storage.fs, target, content),
            f"the upload of {path}",
            give_up_after_s=math.inf,
        )

    def send_content(self, path: str, content: bytes) -> bool:
        """Writes a small file that is not in the staging folder; whether it could be."""
        target = join(self._storage.path, path)
        return self._attempt(
            [path], "the upload", lambda: write_bytes(self._storage.fs, target, content)
        )

    def send_files(self, paths: Sequence[str]) -> bool:
        """Sends files, but for those that are gone by now; whether all could be sent."""
        batches = [paths[start : start + _AT_ONCE] for start in range(0, len(paths), _AT_ONCE)]
        return sum(self._send_batch(batch) for batch in batches) == len(batches)

    def remove(self, path: str) -> bool:
        """Deletes a file or a folder; whether it could be."""
        target = join(self._storage.path, path)
        return self._attempt([path], "the deletion", lambda: remove_tree(self._storage.fs, target))

    def names(self, path: str) -> list[str] | None:
        """What lies in a folder; None if the storage does not say."""
        found: list[str] = []

        def list_folder() -> None:
            with contextlib.suppress(FileNotFoundError):
                found.extend(list_names(self._storage.fs, join(self._storage.path, path)))

        return found if self._attempt([path], "the listing", list_folder) else None

    def messages(self) -> list[str]:
        """What was given up, in words."""
        named = [f"{path}: {why}" for path, why in list(self.failed.items())[:_NAMED]]
        more = len(self.failed) - len(named)
        return [*named, *([f"and {more} more files"] if more else [])]

    def _send_batch(self, paths: Sequence[str]) -> bool:
        def upload() -> None:
            there = [path for path in paths if os.path.exists(os.path.join(self._staging, path))]
            sources = [os.path.join(self._staging, path) for path in there]
            targets = [join(self._storage.path, path) for path in there]
            upload_files(self._storage.fs, sources, targets)

        return self._attempt(paths, "the upload", upload)

    def _attempt(self, paths: Sequence[str], what: str, call: Callable[[], None]) -> bool:
        more = f" and {len(paths) - 1} more files" if len(paths) > 1 else ""
        try:
            self._try(call, f"{what} of {paths[0]}{more}", give_up_after_s=_GIVE_UP_AFTER_S)
        except StorageError as error:
            self.failed.update(dict.fromkeys(paths, str(error)))
            return False
        for path in paths:
            self.failed.pop(path, None)
        return True

    def _try(self, call: Callable[[], None], what: str, *, give_up_after_s: float) -> None:
        def give_up(elapsed_s: float) -> bool:
            if self.deadline is not None:
                return time.monotonic() >= self.deadline
            return self._lease.is_lost or elapsed_s >= give_up_after_s

        def call_if_allowed() -> None:
            if not self._lease.assure():
                raise StorageError(f"{self._storage} is written to by another process")
            call()

        retried(
            call_if_allowed,
            what=f"{what} ({self._storage})",
            timeout_s=self._timeout_s,
            give_up=give_up,
        )
