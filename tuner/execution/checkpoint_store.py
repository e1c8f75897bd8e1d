"""Where an attempt at a trial puts its checkpoints: in the trial's folder."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator

from tuner.checkpoint import Checkpoint
from tuner.fsync import sync_tree
from tuner.layout import staged_path
from tuner.local_copy import copy_tree


class CheckpointStore:
    """Stages checkpoints in the trial's folder, where the controller gives them their names.

    Args:
        path: The trial's folder.
        attempt: Number of the attempt.
    """

    def __init__(self, path: str, attempt: int) -> None:
        self._path = path
        self._attempt = attempt

    @property
    def folder(self) -> str:
        """The folder in which checkpoints are committed."""
        return self._path

    def staged(self, name: str) -> str:
        """Where a checkpoint is put together, for `keep`."""
        return staged_path(self._path, name, self._attempt)

    def add(self, checkpoint: Checkpoint, name: str) -> Checkpoint:
        """Copies a checkpoint; what it returns can be used once the checkpoint is reported."""
        with self.discarding_failures(name):
            with checkpoint.as_directory() as source:
                copy_tree(source, self.staged(name))
            return self.keep(name)

    def keep(self, name: str, *, is_dear: bool = True) -> Checkpoint:
        """The same for one that lies at `staged` already; only what `is_dear` survives a loss of
        power."""
        if is_dear:
            sync_tree(self.staged(name), os.path.dirname(self._path))
        return Checkpoint(os.path.join(self.folder, name))

    @contextlib.contextmanager
    def discarding_failures(self, name: str) -> Iterator[None]:
        """While entered, a checkpoint that fails is removed, which makes room at once."""
        try:
            yield
        except Exception as error:
            shutil.rmtree(self.staged(name), ignore_errors=True)
            error.add_note(f"{name} was not saved in {self.folder}")
            raise
