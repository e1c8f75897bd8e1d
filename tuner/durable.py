"""Bringing files to the disk, so that a loss of power does not lose them."""

from __future__ import annotations

import os


def sync_tree(path: str) -> None:
    """Brings all files below a local directory, and their names, to the disk."""
    for folder, _, names in os.walk(path):
        for name in names:
            _sync(os.path.join(folder, name), os.O_RDONLY)
        sync_folder(folder)


def sync_folder(path: str) -> None:
    """Brings the names of what lies in a local directory to the disk."""
    _sync(path, os.O_RDONLY | os.O_DIRECTORY)


def _sync(path: str, flags: int) -> None:
    fd = os.open(path, flags)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
