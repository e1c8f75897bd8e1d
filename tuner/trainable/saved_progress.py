"""How far an object had come that was saved outside of a trial, beside its state."""

from __future__ import annotations

import dataclasses
import json
import os
from typing import TYPE_CHECKING

from tuner.errors import StorageError
from tuner.filesystems import join, read_bytes
from tuner.trial_progress import Progress

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

PROGRESS_FILE = "trainable_progress.json"
"""Is in no checkpoint that a trial has saved, as the experiment's journal tells of those."""


def write_progress(directory: str, progress: Progress) -> None:
    """Writes it into a checkpoint's directory on this machine."""
    with open(os.path.join(directory, PROGRESS_FILE), "w", encoding="utf-8") as file:
        json.dump(dataclasses.asdict(progress), file)


def read_progress(path: str, filesystem: AbstractFileSystem | None = None) -> Progress | None:
    """Reads it from a checkpoint's directory, None if it is not there.

    Args:
        path: The directory's path on `filesystem`.
        filesystem: An fsspec filesystem, None for this machine's own files.

    Raises:
        StorageError: The file is damaged.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> write_progress(folder, Progress(iteration=3, time_total_s=1.5))
        >>> read_progress(folder)
        Progress(iteration=3, time_total_s=1.5, timesteps_total=None, episodes_total=None)
    """
    content = read_bytes(filesystem, join(path, PROGRESS_FILE))
    if content is None:
        return None
    try:
        return Progress(**json.loads(content))
    except (ValueError, TypeError) as error:
        fix = "delete it to count from 0"
        raise StorageError(f"{join(path, PROGRESS_FILE)} is damaged ({error}); {fix}") from error
