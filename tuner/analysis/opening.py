"""Opens an experiment's folder, whoever wrote it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tuner.analysis.opened import OpenedExperiment
from tuner.analysis.ray_folder import STATE_FILE, read_ray_folder
from tuner.analysis.stored_trials import is_stored, read_stored
from tuner.errors import StorageError
from tuner.layout import DESCRIPTION_FILE
from tuner.storage.storage import locate
from tuner.trial_folder import TrialFolder

if TYPE_CHECKING:
    from tuner.filesystems import FileSystem


def open_experiment(
    path: str | os.PathLike[str], storage_filesystem: FileSystem | None = None
) -> OpenedExperiment:
    """Reads an experiment's folder as it is now.

    Args:
        path: The folder, a local path or an fsspec URL, or the file in it that describes the
            experiment; with a filesystem, a path on it.
        storage_filesystem: An fsspec or a pyarrow filesystem.

    Raises:
        ConfigError: The path or the filesystem cannot be used.
        StorageError: There is no experiment, or it cannot be read.
    """
    folder, _, name = os.fspath(path).rpartition("/")
    if name == DESCRIPTION_FILE or STATE_FILE.fullmatch(name):
        path = folder or "."
    storage, local = locate(path, storage_filesystem)
    if is_stored(storage, local):
        return read_stored(storage, local)
    opened = read_ray_folder(storage, local)
    if opened is None:
        files = TrialFolder(local, None if storage is None else storage.fs)
        raise StorageError(
            f"ExperimentAnalysis({str(storage or local)!r}): {_why_none(files)}; "
            "give the folder <storage_path>/<name> of a run"
        )
    return opened


def _why_none(files: TrialFolder) -> str:
    if not files.exists():
        return "there is no such folder"
    if files.is_trial():
        return "it is the folder of a trial, not of its experiment"
    return (
        f"there is no experiment, as there is no {DESCRIPTION_FILE}, no experiment_state-*.json "
        "and no folder of a trial"
    )
