"""Which files of an experiment and of its trials go to remote storage, and when."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from tuner.layout import CHECKPOINT, is_policy_file, is_written_by_loggers
from tuner.storage.upload_index import Signature, UploadIndex


class TrialFiles:
    """The files in the trials' folders, without checkpoints, sockets, pipes and what is hidden.

    Args:
        staging: The local folder that holds the experiment.
        index: What is on the storage.
        outputs: Names of the files that take what trials print.
        with_artifacts: Whether other files belong there, too: those that the trials' own code
            writes into its working folder.
    """

    def __init__(
        self, staging: str, index: UploadIndex, outputs: Iterable[str], *, with_artifacts: bool
    ) -> None:
        self._staging = staging
        self._index = index
        self._outputs = frozenset(outputs)
        self._with_artifacts = with_artifacts

    def changed(self, dirname: str) -> list[str]:
        """Those of a trial that are not on the storage as they are, as paths in the experiment."""
        return [path for path in self.all(dirname) if self._is_changed(path)]

    def due(self, dirname: str) -> list[str]:
        """Those of a running trial whose turn it is: artifacts, and files that have doubled."""
        return [
            path
            for path in self.changed(dirname)
            if self._is_artifact(path) or self._has_doubled(path)
        ]

    def artifacts(self, dirname: str) -> list[str]:
        """Those of `changed` that the trial's own code has written."""
        return [path for path in self.changed(dirname) if self._is_artifact(path)]

    def policies(self) -> list[str]:
        """The schedules of configurations that are not on the storage as they are."""
        names = filter(is_policy_file, os.listdir(self._staging))
        return [name for name in names if self._is_changed(name)]

    def signature(self, path: str) -> Signature:
        """What tells a file from its later versions."""
        try:
            found = os.stat(os.path.join(self._staging, path))
        except FileNotFoundError:  # since it was listed
            return [0, 0]
        return [found.st_size, found.st_mtime_ns]

    def all(self, dirname: str) -> Iterator[str]:
        """Those of a trial that belong on the storage."""
        for root, folders, names in os.walk(os.path.join(self._staging, dirname)):
            folders[:] = [
                name for name in folders if name[0] != "." and not CHECKPOINT.fullmatch(name)
            ]
            inside = os.path.relpath(root, self._staging)
            for name in names:
                path = f"{inside}/{name}"
                belongs = self._with_artifacts or not self._is_artifact(path)
                if name[0] != "." and belongs and os.path.isfile(os.path.join(root, name)):
                    yield path

    def _is_artifact(self, path: str) -> bool:
        _, _, inner = path.partition("/")
        return not is_written_by_loggers(inner) and inner not in self._outputs

    def _is_changed(self, path: str) -> bool:
        return self.signature(path) != self._index.files.get(path)

    def _has_doubled(self, path: str) -> bool:
        sent = self._index.files.get(path)
        return sent is None or self.signature(path)[0] >= 2 * sent[0]
