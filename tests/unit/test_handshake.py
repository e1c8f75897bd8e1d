"""Only who knows the secret gets a connection."""

from __future__ import annotations

import queue
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tuner.handshake import HandshakeError, Listener, connect, new_secret

Accepted = queue.Queue[tuple[socket.socket, dict[str, Any]]]


@pytest.fixture
def secret() -> bytes:
    return new_secret()


@pytest.fixture
def accepted() -> Accepted:
    return queue.Queue()


@pytest.fixture
def listener(secret: bytes, accepted: Accepted) -> Iterator[Listener]:
    listener = Listener("127.0.0.1", secret, lambda sock, hello: accepted.put((sock, hello)))
    yield listener
    listener.close()


def test_both_ends_talk_once_they_know_each_other(
    listener: Listener, secret: bytes, accepted: Accepted
) -> None:
    with connect(listener.address, secret, {"slot": 3}) as ours:
        theirs, hello = accepted.get(timeout=60)
        with theirs:
            ours.sendall(b"ping")
            assert theirs.recv(4) == b"ping"
            theirs.sendall(b"pong")
            assert ours.recv(4) == b"pong"
    assert hello == {"slot": 3}


def test_who_does_not_know_the_secret_is_refused(listener: Listener, accepted: Accepted) -> None:
    with pytest.raises(HandshakeError, match="another program"):
        connect(listener.address, new_secret(), {})
    assert accepted.empty()


def test_a_client_that_skips_the_check_of_the_listener_is_refused(
    listener: Listener, accepted: Accepted
) -> None:
    with socket.create_connection(listener.address) as sock:
        sock.settimeout(120)
        sock.sendall(bytes(32))
        assert len(sock.recv(64, socket.MSG_WAITALL)) == 64
        sock.sendall(bytes(32) + (2).to_bytes(4, "big") + b"{}")
        assert sock.recv(1) == b""
    assert accepted.empty()


@pytest.mark.parametrize("noise", [b"", b"GET / HTTP/1.1\r\n\r\n", bytes(32) + b"\xff" * 64])
def test_other_programs_disturb_nobody(
    listener: Listener, secret: bytes, accepted: Accepted, noise: bytes
) -> None:
    with socket.create_connection(listener.address) as other:
        other.sendall(noise)
        with connect(listener.address, secret, {"slot": 1}):
            theirs, hello = accepted.get(timeout=60)
            theirs.close()
    assert hello == {"slot": 1}


def test_a_closed_listener_accepts_nobody(listener: Listener, secret: bytes) -> None:
    listener.close()
    with pytest.raises(OSError, match=r"refused|closed"):
        connect(listener.address, secret, {})
