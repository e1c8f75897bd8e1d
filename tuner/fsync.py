"""Bringing files to the disk, so that a loss of power does not lose them."""

from __future__ import annotations

import os


def sync_tree(path: str, root: str) -> None:
    """Brings a new local directory to the disk, with the names that lead to it.

    Args:
        path: The directory.
        root: A directory above it; its own name is on the disk already.
    """
    for folder, _, names in os.walk(path):
        for name in names:
            _sync(os.path.join(folder, name), os.O_RDONLY)
        sync_folder(folder)
    while path != root:
        path = os.path.dirname(path)
        sync_folder(path)


def sync_folder(path: str) -> None:
    """Brings the names of what lies in a local directory to the disk."""
    _sync(path, os.O_RDONLY | os.O_DIRECTORY)


def _sync(path: str, flags: int) -> None:
    fd = os.open(path, flags)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
