"""The experiment's folder as a run sees it: on this machine, and perhaps on remote storage."""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import TYPE_CHECKING, Any

from tuner.config import SyncConfig
from tuner.experiment.folder import ExperimentFolder
from tuner.experiment.naming import is_of_run
from tuner.storage.fetching import fetch_files
from tuner.storage.staging import discard_copy, release, stage, staging_path
from tuner.storage.storage import Storage

if TYPE_CHECKING:
    from tuner.storage.remote_folder import RemoteFolder
    from tuner.storage.upload_plan import UploadPlan


class Home:
    """Holds the locks of an experiment's folders until it is released.

    Args:
        path: The experiment's folder on this machine, without a storage.
        storage: Its folder on remote storage, for which it is staged on this machine.

    Raises:
        ExperimentLockedError: another process is writing to it.
        StorageError: it cannot be written to.
    """

    def __init__(self, path: str | None, storage: Storage | None) -> None:
        self.storage = storage
        self._remote: RemoteFolder | None = None
        self._folder = ExperimentFolder(staging_path(storage) if storage else path or "")
        if storage is not None:
            from tuner.storage.remote_folder import RemoteFolder  # a part that few need

            try:
                self._folder.await_recorder()
                self._remote = RemoteFolder(storage, self.path)
            except BaseException:
                self.release()
                raise

    @property
    def path(self) -> str:
        """The folder on this machine."""
        return self._folder.path

    @property
    def url(self) -> str:
        """What finds the experiment for a restore."""
        return self.path if self.storage is None else self.storage.url

    @property
    def modules(self) -> tuple[str, ...]:
        """Names of the modules that it takes to bring checkpoints to the storage."""
        if self.storage is None or not self.storage.is_shared:
            return ()
        return ("tuner.storage.transfer", type(self.storage.fs).__module__)

    def entries(self, id_prefix: str | None = None) -> frozenset[str]:
        """The names of what lies in the folders.

        Args:
            id_prefix: What the ids of a run's trials begin with; their folders on remote storage
                are left out, as the journal names those that stay there.
        """
        found = self._folder.entries()
        if self._remote is None:
            return found
        remote = self._remote.entries()
        return found | {name for name in remote if not id_prefix or not is_of_run(name, id_prefix)}

    def begin(self, tuner: bytes) -> list[str]:
        """Makes room for a new run and writes the first part of what a restore needs.

        Args:
            tuner: The pickled trainable, space and configs.

        Returns:
            Where an earlier run of the same name was moved on this machine, if there was one.
        """
        if self.storage is not None:
            discard_copy(self.storage)
        moved = self._folder.begin(tuner)
        return [] if moved is None else [moved]

    def describe(self, description: dict[str, Any]) -> list[str]:
        """Completes a new run, which can be restored from here on: its journal is there already.

        Args:
            description: Readable facts about the experiment.

        Returns:
            Where an earlier run of the same name was moved on remote storage, if there was one.
        """
        self._folder.describe(description)
        moved = self._remote.begin() if self._remote is not None else None
        return [] if moved is None else [moved]

    def resume(self, id_prefix: str) -> None:
        """Makes ready for going on with the run that the folder holds.

        Args:
            id_prefix: What the ids of its trials begin with.

        Raises:
            StorageError: The storage holds another run.
        """
        if self.storage is not None:
            stage(self.storage, id_prefix)
        self._folder.resume()

    def remove_strays(self, id_prefix: str, launched: Iterable[str]) -> None:
        """Removes from the storage what a lost machine had uploaded of trials that begin anew.

        Args:
            id_prefix: What the ids of this run's trials begin with.
            launched: The folders of the trials of which the journal has a launch.
        """
        if self.storage is not None and self._remote is not None and self.storage.is_shared:
            self._remote.remove_strays(id_prefix, frozenset(launched))

    def without_files(self, dirnames: Iterable[str]) -> frozenset[str]:
        """Those of the trials' folders that are not on this machine."""
        return frozenset(dirnames) - self._folder.entries()

    def fetch_files(self, dirnames: Iterable[str]) -> None:
        """Fetches the files from the storage that trials go on with."""
        if self.storage is not None and self.storage.is_shared:
            fetch_files(self.storage, self.path, dirnames)

    def upload_plan(self, config: SyncConfig, outputs: tuple[str, ...]) -> UploadPlan | None:
        """How the experiment is uploaded while it runs, None if it is not."""
        return self._remote.upload_plan(config, outputs) if self._remote else None

    def complete(
        self, plan: UploadPlan | None, num_facts: int, dirnames: Container[str]
    ) -> Storage | None:
        """Where the experiment lies when it has ended, None for the folder on this machine.

        Args:
            plan: How it was uploaded while it ran.
            num_facts: How many facts the journal holds.
            dirnames: The folders of its trials.
        """
        if self._remote is None or not self._remote.complete(plan, num_facts, dirnames):
            return None
        return self.storage

    def release(self) -> None:
        """Lets others write to the folder."""
        if self._remote is not None:
            self._remote.release()
        if self.storage is not None:
            release(self.storage)
        self._folder.release()
