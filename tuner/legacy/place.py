"""Where an experiment lies, as the older APIs say it."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from typing import Any

from tuner.experiment.folder import default_storage_path
from tuner.filesystems import join
from tuner.legacy.deprecation import warn_once
from tuner.legacy.sync_command import SyncCommand
from tuner.storage.storage import locate
from tuner.validation import check_text, reject

logger = logging.getLogger(__name__)

PathLike = str | os.PathLike[str]


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where experiments lie, and where to they are copied.

    Attributes:
        storage_path: The folder in which the experiment's folder lies; None for the default one.
        storage_filesystem: The filesystem that it belongs to, None where the path says it.
        upload_dir: Where `upload` copies the experiment to, None if nothing is copied.
        upload: What copies, None without it.
    """

    storage_path: str | None = None
    storage_filesystem: Any = None
    upload_dir: str | None = None
    upload: SyncCommand | None = None

    @property
    def is_local(self) -> bool:
        """Whether neither the experiment nor a copy of it lies anywhere but on this machine."""
        return (
            self.upload is None
            and locate(self.storage_path or "", self.storage_filesystem)[0] is None
        )

    def folder_of(self, name: str) -> str:
        """Where an experiment of this name lies."""
        return join(self.storage_path or default_storage_path(), name)

    def copy_of(self, name: str) -> str:
        """Where an experiment of this name is copied to."""
        assert self.upload_dir is not None
        return join(self.upload_dir, name)


def place_of(
    owner: str,
    *,
    storage_path: PathLike | None = None,
    storage_filesystem: Any = None,
    local_dir: PathLike | None = None,
    upload_dir: PathLike | None = None,
    sync_to_cloud: Any = None,
) -> Place:
    """The place that the arguments of `tune.run` and `Experiment` mean.

    An `upload_dir` is a `storage_path` of today, to which all is brought while the experiment runs.
    With `sync_to_cloud` it is only a text for that command.

    Args:
        owner: What the user called with them.
        storage_path: The folder for experiments: a path or a URL.
        storage_filesystem: The filesystem that it belongs to.
        local_dir: The folder for experiments on this machine.
        upload_dir: The folder for experiments on remote storage.
        sync_to_cloud: What copies an experiment from `local_dir` to `upload_dir`.

    Raises:
        ConfigError: One contradicts another.

    Example:
        >>> place_of("tune.run", storage_path="s3://bucket/exp").storage_path
        's3://bucket/exp'
    """
    if storage_path is not None:
        for name, value in (("local_dir", local_dir), ("upload_dir", upload_dir)):
            if value:
                reject(owner, name, value, "give storage_path=… alone, which takes its place")
        return _plain(owner, storage_path, storage_filesystem, sync_to_cloud)
    for name, value in (("local_dir", local_dir), ("upload_dir", upload_dir)):
        if value:
            check_text(owner, name, os.fspath(value), "use a path or a URL")
            warn_once(f"{owner}({name}=…)", "storage_path=…")
    if not upload_dir:
        return _plain(owner, local_dir or None, storage_filesystem, sync_to_cloud)
    if sync_to_cloud is not None:
        upload = SyncCommand(owner, "sync_to_cloud", sync_to_cloud)
        warn_once(f"{owner}(sync_to_cloud=…)", "storage_path=… with a URL, to which all is brought")
        return Place(
            storage_path=_text(local_dir or None),
            storage_filesystem=storage_filesystem,
            upload_dir=os.fspath(upload_dir),
            upload=upload,
        )
    if local_dir:
        logger.warning(
            "%s(local_dir=%r): the experiment lies in upload_dir=%r; give sync_to_cloud=… as well "
            "for one that lies here and is copied there",
            owner,
            os.fspath(local_dir),
            os.fspath(upload_dir),
        )
    return Place(storage_path=_text(upload_dir), storage_filesystem=storage_filesystem)


def _plain(owner: str, path: PathLike | None, filesystem: Any, sync_to_cloud: Any) -> Place:
    if sync_to_cloud is not None:
        SyncCommand(owner, "sync_to_cloud", sync_to_cloud)
        logger.warning(
            "%s(sync_to_cloud=…): nothing is uploaded, as there is no upload_dir=…", owner
        )
    return Place(storage_path=_text(path), storage_filesystem=filesystem)


def _text(path: PathLike | None) -> str | None:
    return None if path is None else os.fspath(path)
