"""The trainable on a node of a cluster: one nameless file for all slots there.

The first slot writes it and hands its descriptor to the others, through a socket whose name exists
only in the kernel's memory (Linux): nothing is left when they are gone, however that happens.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from tuner.execution.payload import write_payload

_GIVE_UP_AFTER_S = 600.0  # so long the first slot of a node may take to fetch a trainable
_RETRY_EVERY_S = 0.05
_CREDENTIALS = struct.Struct("3i")  # process, user and group of the other end


def node_payload(secret: bytes, fetch: Callable[[], Sequence[Any]]) -> int:
    """The descriptor of the file that holds the trainable on this node.

    Args:
        secret: What the slots of an experiment have in common.
        fetch: Gets the trainable as `pickle_trainable` made it; called in one slot of a node.
    """
    if sys.platform != "linux":
        return write_payload(fetch())
    name = "\0tuner-" + hashlib.sha256(b"payload" + secret).hexdigest()
    deadline = time.monotonic() + _GIVE_UP_AFTER_S
    while time.monotonic() < deadline:
        giver = socket.socket(socket.AF_UNIX)
        try:
            giver.bind(name)
        except OSError:  # another slot was first
            giver.close()
            payload = _ask(name, deadline - time.monotonic())
            if payload is not None:
                return payload
            time.sleep(_RETRY_EVERY_S)  # it is gone, or has not begun to listen
        else:
            giver.listen(1024)
            try:
                payload = write_payload(fetch())
            except BaseException:
                giver.close()
                raise
            threading.Thread(target=_give, args=[giver, os.dup(payload)], daemon=True).start()
            return payload
    return write_payload(fetch())


def _ask(name: str, timeout_s: float) -> int | None:
    """The descriptor from the slot that has it; None if that slot is gone."""
    with socket.socket(socket.AF_UNIX) as sock, contextlib.suppress(OSError):
        sock.settimeout(timeout_s)
        sock.connect(name)
        _, descriptors, _, _ = socket.recv_fds(sock, 1, 1)
        if descriptors:
            return descriptors[0]
    return None


def _give(giver: socket.socket, payload: int) -> None:
    """Hands the descriptor to whoever of the same user asks, as long as this process lives."""
    while True:
        sock, _ = giver.accept()
        with sock, contextlib.suppress(OSError):
            content = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            if _CREDENTIALS.unpack(content)[1] == os.getuid():
                socket.send_fds(sock, [b"x"], [payload])
