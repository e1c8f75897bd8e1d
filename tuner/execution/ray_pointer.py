"""The file by which `ray start` tells other programs of this machine where its cluster is."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

_ANSWERS_WITHIN_S = 5.0


def pointer_file() -> Path:
    """Where Ray looks for it."""
    folder = os.environ.get("RAY_TMPDIR", os.environ.get("TMPDIR", "/tmp"))
    return Path(folder, "ray", "ray_current_cluster")


def dead_address() -> str | None:
    """The address in the file, if it is one at which nobody answers.

    The file stays behind when a cluster ends otherwise than by `ray stop`, and Ray tries to reach
    the cluster that it names for minutes.
    """
    with contextlib.suppress(OSError):
        address = pointer_file().read_text().strip()
        host, _, port = address.rpartition(":")
        if host and port.isdecimal() and not _answers(host.strip("[]"), int(port)):
            return address
    return None


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=_ANSWERS_WITHIN_S).close()
    except (OSError, OverflowError):
        return False
    return True
