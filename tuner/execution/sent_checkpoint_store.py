"""Where an attempt puts its checkpoints if its node does not see the trial's folder."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator

from tuner.checkpoint import Checkpoint
from tuner.execution.checkpoint_store import CheckpointStore
from tuner.filesystems import join, remove_tree, upload_tree
from tuner.layout import staged_path
from tuner.storage.storage import Storage
from tuner.storage.transfer import retried, within

_PATIENCE_S = 60.0
_CLEAN_UP_S = 10.0


class SentCheckpointStore(CheckpointStore):
    """Sends checkpoints to the controller's node, where the controller gives them their names.

    Args:
        path: The trial's folder on this machine, of which nothing else is known elsewhere.
        attempt: Number of the attempt.
        home: The trial's folder, on a `ServedFileSystem`.
        timeout_s: Seconds that one try may take.
    """

    def __init__(self, path: str, attempt: int, home: Storage, timeout_s: float) -> None:
        super().__init__(path, attempt)
        self._home = home
        self._timeout_s = timeout_s

    @property
    def folder(self) -> str:
        return self._home.path

    def add(self, checkpoint: Checkpoint, name: str) -> Checkpoint:
        with self.discarding_failures(name):
            with checkpoint.as_directory() as source:
                self._send(source, name, is_dear=True)
            return self._home.checkpoint(name)

    def keep(self, name: str, *, is_dear: bool = True) -> Checkpoint:
        self._send(self.staged(name), name, is_dear)
        shutil.rmtree(self.staged(name))
        return self._home.checkpoint(name)

    @contextlib.contextmanager
    def discarding_failures(self, name: str) -> Iterator[None]:
        try:
            with super().discarding_failures(name):
                yield
        except Exception:
            with contextlib.suppress(Exception):  # the controller removes it later
                within(_CLEAN_UP_S, lambda: remove_tree(self._home.fs, self._target(name)))
            raise

    def _target(self, name: str) -> str:
        return staged_path(self._home.path, name, self._attempt)

    def _send(self, source: str, name: str, is_dear: bool) -> None:
        retried(
            lambda: self._put(source, self._target(name), is_dear),
            what=f"sending {name} to {self._home}",
            timeout_s=self._timeout_s,
            give_up=lambda elapsed_s: elapsed_s >= _PATIENCE_S,
        )

    def _put(self, source: str, target: str, is_dear: bool) -> None:
        fs = self._home.fs
        remove_tree(fs, target)  # what an earlier try has left
        fs.makedirs(target, exist_ok=True)
        for folder, folders, files in os.walk(source, followlinks=True):
            if not folders and not files and folder != source:
                fs.makedirs(join(target, os.path.relpath(folder, source)), exist_ok=True)
        upload_tree(fs, source, target)
        if is_dear:
            fs.sync(target)
