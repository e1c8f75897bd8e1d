"""The folder of an experiment on remote storage: the counterpart of `experiment.folder`."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Container, Set
from functools import partial

from tuner.config import SyncConfig
from tuner.experiment.folder import OF_ONE_RUN, PREVIOUS
from tuner.experiment.naming import is_of_run
from tuner.filesystems import (
    exists,
    join,
    list_names,
    move_tree,
    remove_tree,
    upload_files,
    upload_tree,
)
from tuner.layout import DESCRIPTION_FILE, TUNER_FILE
from tuner.storage.lease import Lease, LeaseKeeper
from tuner.storage.staging import clear, empty
from tuner.storage.storage import Storage
from tuner.storage.transfer import answered, retried, within
from tuner.storage.trial_files import TrialFiles
from tuner.storage.upload_index import UploadIndex
from tuner.storage.upload_plan import UploadPlan

logger = logging.getLogger(__name__)

_GIVE_UP_AFTER_S = 20.0
_TIMEOUT_S = 300.0
_RELEASE_TIMEOUT_S = 5.0


class RemoteFolder:
    """The folder that one run writes to, held under a lease if others see it.

    Args:
        storage: The folder.
        staging: The local folder from which it is uploaded.

    Raises:
        ExperimentLockedError: another process is writing to it.
        StorageError: it cannot be written to.
    """

    def __init__(self, storage: Storage, staging: str) -> None:
        self.storage = storage
        self._staging = staging
        self._lease = Lease(storage)
        self._keeper: LeaseKeeper | None = None
        if not storage.is_shared:
            return
        answered(self._lease.acquire, storage.url, "written to")
        # To begin or to resume a run may take long; the recorder renews it, too, and outlives us.
        self._keeper = LeaseKeeper(self._lease)

    def begin(self) -> str | None:
        """Makes room for a new run and uploads what a restore needs.

        Returns:
            Where an earlier run of the same name was moved, None if there was none.
        """
        moved = self._move_previous()
        names = [DESCRIPTION_FILE, TUNER_FILE]
        sources = [os.path.join(self._staging, name) for name in names]
        targets = [join(self.storage.path, name) for name in names]
        self._insist(
            lambda: upload_files(self.storage.fs, sources, targets), f"the upload of {TUNER_FILE}"
        )
        return moved

    def entries(self) -> frozenset[str]:
        """The names of what lies in the folder."""
        try:
            return frozenset(list_names(self.storage.fs, self.storage.path))
        except FileNotFoundError:
            return frozenset()

    def remove_strays(self, id_prefix: str, launched: Set[str]) -> None:
        """Removes what a machine that was lost has sent of trials that nothing else is known of.

        Args:
            id_prefix: What the ids of this run's trials begin with.
            launched: The folders of the trials that were launched, as the journal has it.
        """
        for name in self.entries() - launched:
            if is_of_run(name, id_prefix):
                stray = self.storage.child(name)
                self._insist(partial(remove_tree, stray.fs, stray.path), f"the removal of {name}")

    def upload_plan(self, config: SyncConfig, outputs: tuple[str, ...]) -> UploadPlan | None:
        """How the experiment is uploaded while it runs, None if that is done at its end."""
        if not self.storage.is_shared:
            return None
        return UploadPlan(self.storage, config, self._lease, outputs)

    def complete(self, plan: UploadPlan | None, num_facts: int, dirnames: Container[str]) -> bool:
        """Whether all of the experiment is on the storage, when it has ended.

        What is there is removed from the staging folder.

        Args:
            plan: How it was uploaded while it ran.
            num_facts: How many facts the journal holds.
            dirnames: The folders of its trials.
        """
        if plan is None:
            upload_tree(self.storage.fs, self._staging, self.storage.path)
            empty(self._staging)
            return True
        index = UploadIndex(self._staging)
        if index.facts < num_facts:
            return False
        with_artifacts = plan.config.sync_artifacts
        files = TrialFiles(self._staging, index, plan.outputs, with_artifacts=with_artifacts)
        if clear(self._staging, dirnames, files):
            logger.warning(
                "files that trials wrote into their working folders are kept in %s; "
                "SyncConfig(sync_artifacts=True) brings such files to the storage",
                self._staging,
            )
        return True

    def release(self) -> None:
        """Lets others write to the folder."""
        if self._keeper is None:
            return
        self._keeper.close()
        try:
            within(_RELEASE_TIMEOUT_S, self._lease.release)
        except Exception as error:
            logger.warning("%s stays locked for a minute: %r", self.storage, error)

    def _move_previous(self) -> str | None:
        present = [name for name in OF_ONE_RUN if name in self.entries()]
        if not present:
            return None
        fs = self.storage.fs
        previous = self.storage.child(PREVIOUS)
        number = 1
        while exists(fs, previous.child(f"{number:04d}").path):
            number += 1
        target = previous.child(f"{number:04d}")
        for name in present:
            source, moved = self.storage.child(name).path, target.child(name).path
            self._insist(partial(move_tree, fs, source, moved), f"moving {name} to {PREVIOUS}/")
        return target.url

    def _insist(self, call: Callable[[], None], what: str) -> None:
        retried(
            call,
            what=f"{what} ({self.storage})",
            timeout_s=_TIMEOUT_S,
            give_up=lambda elapsed_s: elapsed_s >= _GIVE_UP_AFTER_S,
        )
