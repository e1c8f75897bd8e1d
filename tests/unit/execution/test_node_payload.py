"""The slots of a node share one file."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from tuner.execution.node_payload import node_payload
from tuner.execution.payload import load_payload, pickle_trainable
from tuner.handshake import new_secret

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="shared on Linux alone")

ANOTHER_SLOT = """
import os, sys
from tuner.execution.node_payload import node_payload
from tuner.execution.payload import load_payload, pickle_trainable
payload = node_payload(bytes.fromhex(sys.argv[1]), lambda: pickle_trainable("made anew", "x"))
print(os.fstat(payload).st_ino, type(load_payload(payload)).__name__, flush=True)
input()
"""


def another_slot(secret: bytes) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", ANOTHER_SLOT, secret.hex()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def told(slot: subprocess.Popen[str]) -> list[str]:
    assert slot.stdout is not None
    return slot.stdout.readline().split()


def test_only_the_first_slot_of_a_node_fetches_the_trainable() -> None:
    fetched = []

    def fetch() -> list[Any]:
        fetched.append(1)
        return pickle_trainable({"data": np.arange(100_000)}, "trainable")

    secret = new_secret()
    first = node_payload(secret, fetch)
    second = node_payload(secret, fetch)
    other = node_payload(new_secret(), fetch)
    inodes = [os.fstat(each).st_ino for each in (first, second, other)]
    with another_slot(secret) as process:
        assert told(process) == [str(inodes[0]), "dict"]
        process.communicate("\n")
    assert inodes[0] == inodes[1] != inodes[2]
    assert len(fetched) == 2
    assert load_payload(second)["data"].sum() == np.arange(100_000).sum()
    for each in (first, second, other):
        os.close(each)


def test_a_slot_that_is_killed_is_followed_by_the_next() -> None:
    secret = new_secret()
    with another_slot(secret) as process:
        inode, kind = told(process)
        assert kind == "str"
        process.kill()
    payload = node_payload(secret, lambda: pickle_trainable([1], "x"))
    assert load_payload(payload) == [1]
    assert os.fstat(payload).st_ino != int(inode)
    os.close(payload)


def test_a_trainable_that_cannot_be_fetched_blocks_nobody() -> None:
    def fetch() -> list[Any]:
        raise OSError("lost")

    secret = new_secret()
    with pytest.raises(OSError, match="lost"):
        node_payload(secret, fetch)
    payload = node_payload(secret, lambda: pickle_trainable([1], "x"))
    assert load_payload(payload) == [1]
    os.close(payload)
