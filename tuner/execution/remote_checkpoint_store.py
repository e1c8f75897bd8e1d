"""Where an attempt at a trial puts its checkpoints if the experiment is kept on remote storage."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
from collections.abc import Iterator

from tuner import failpoints
from tuner.checkpoint import Checkpoint
from tuner.errors import StorageError
from tuner.execution.checkpoint_store import CheckpointStore
from tuner.failpoints import Failpoint
from tuner.filesystems import (
    join,
    list_names,
    remove_file,
    remove_tree,
    upload_files,
    upload_tree,
    write_bytes,
)
from tuner.layout import INCOMPLETE, staged_path
from tuner.storage.lease import Lease
from tuner.storage.storage import Storage
from tuner.storage.transfer import retried

logger = logging.getLogger(__name__)

_PATIENCE_S = 60.0
_CHECKPOINT = re.compile(r"\.?(checkpoint_\d+)(?:\.attempt\d+)?")


class RemoteCheckpointStore(CheckpointStore):
    """Uploads checkpoints; one that cannot be uploaded now is left to the controller.

    While a checkpoint is being uploaded, a file beside it says so: readers leave such out.

    Args:
        path: The trial's folder on this machine.
        attempt: Number of the attempt.
        storage: The trial's folder on the storage.
        timeout_s: Seconds that one try may take.
        lease: Gives the right to write there; None if nobody else can.
        fallback: Takes a checkpoint that cannot be uploaded to where the controller uploads from;
            by default the trial's folder on this machine.
    """

    def __init__(
        self,
        path: str,
        attempt: int,
        storage: Storage,
        timeout_s: float,
        lease: Lease | None = None,
        fallback: CheckpointStore | None = None,
    ) -> None:
        super().__init__(path, attempt)
        self._fallback = fallback or CheckpointStore(path, attempt)
        self._lease = lease
        self._storage = storage
        self._timeout_s = timeout_s
        self._patience_s = _PATIENCE_S
        self._is_clear = attempt == 1

    def add(self, checkpoint: Checkpoint, name: str) -> Checkpoint:
        with checkpoint.as_directory() as source:
            if self._upload(source, name):
                return self._storage.checkpoint(name)
            return self._fallback.add(Checkpoint(source), name)

    def keep(self, name: str, *, is_dear: bool = True) -> Checkpoint:
        if not self._upload(self.staged(name), name):
            return self._fallback.keep(name, is_dear=is_dear)
        shutil.rmtree(self.staged(name))
        return self._storage.checkpoint(name)

    @contextlib.contextmanager
    def discarding_failures(self, name: str) -> Iterator[None]:
        with self._fallback.discarding_failures(name):
            yield

    def _upload(self, source: str, name: str) -> bool:
        """Whether all of a local directory could be brought to the storage."""
        try:
            retried(
                lambda: self._put(source, name),
                what=f"the upload of {name} to {self._storage}",
                timeout_s=self._timeout_s,
                give_up=lambda elapsed_s: elapsed_s >= self._patience_s,
            )
        except StorageError as error:
            self._patience_s = 0.0  # training goes on at once if that happens again
            kept = os.path.join(self._fallback.folder, name)
            logger.error("%s; it is kept in %s and uploaded from there later", error, kept)
            return False
        self._patience_s = _PATIENCE_S
        return True

    def _put(self, source: str, name: str) -> None:
        fs = self._storage.fs
        if self._lease is not None and not self._lease.is_held():
            self._patience_s = 0.0
            raise StorageError(f"{self._storage} is written to by another process")
        if not self._is_clear:
            self._remove_remains(name)
            self._is_clear = True
        target = join(self._storage.path, name)
        marker = staged_path(self._storage.path, name, self._attempt)
        write_bytes(fs, marker, INCOMPLETE)
        if failpoints.is_due(Failpoint.CHECKPOINT_UPLOAD):
            first = min(os.listdir(source))
            upload_files(fs, [os.path.join(source, first)], [join(target, first)])
            failpoints.die()
        upload_tree(fs, source, target)
        remove_file(fs, marker)

    def _remove_remains(self, first: str) -> None:
        """Removes what earlier attempts uploaded and nobody knows of, from a checkpoint on."""
        try:
            names = list_names(self._storage.fs, self._storage.path)
        except FileNotFoundError:
            return
        for name in names:
            match = _CHECKPOINT.fullmatch(name)
            if match and match[1] >= first:
                remove_tree(self._storage.fs, join(self._storage.path, name))
