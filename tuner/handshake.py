"""TCP connections of which both ends have proved that they know the same secret.

Each end answers the other's random challenge with an HMAC of it, so the secret itself never
travels, and nobody who has listened can answer for it.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import secrets
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any

Address = tuple[str, int]

TIMEOUT_S = 20.0
_CHALLENGE_BYTES = 32
_PROOF_BYTES = hashlib.sha256().digest_size
_LENGTH = struct.Struct("!I")
_LONGEST_HELLO = 64 * 1024
_CLIENT, _SERVER = b"client", b"server"

# Nothing is heard of a machine that has lost its power; the kernel asks whether it is there.
_KEEPALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 4, "TCP_USER_TIMEOUT": 30_000}


class HandshakeError(ConnectionError):
    """The other end does not know the secret, or said nothing that could be understood."""


def new_secret() -> bytes:
    """A secret for the processes of one run."""
    return secrets.token_bytes(32)


def connect(address: Address, secret: bytes, hello: dict[str, Any]) -> socket.socket:
    """Connects to a `Listener` and tells it who this is.

    Args:
        address: Host and port.
        secret: What the listener knows too.
        hello: What it is told, in JSON.

    Raises:
        OSError: Nobody listens there.
        HandshakeError: Who listens does not know the secret.
    """
    sock = socket.create_connection(address, timeout=TIMEOUT_S)
    try:
        _prepare(sock)
        challenge = secrets.token_bytes(_CHALLENGE_BYTES)
        sock.sendall(challenge)
        answer = _receive(sock, _PROOF_BYTES + _CHALLENGE_BYTES)
        if not hmac.compare_digest(answer[:_PROOF_BYTES], _proof(secret, _SERVER, challenge)):
            raise HandshakeError(f"what listens on {address[0]}:{address[1]} is another program")
        content = json.dumps(hello).encode()
        proof = _proof(secret, _CLIENT, answer[_PROOF_BYTES:] + content)
        sock.sendall(proof + _LENGTH.pack(len(content)) + content)
        sock.settimeout(None)
    except BaseException:
        sock.close()
        raise
    return sock


def welcome(sock: socket.socket, secret: bytes) -> dict[str, Any]:
    """The listener's side of `connect`; returns what the other end says of itself.

    Raises:
        HandshakeError: The other end does not know the secret.
        OSError: It is gone, or too slow.
    """
    sock.settimeout(TIMEOUT_S)
    _prepare(sock)
    challenge = secrets.token_bytes(_CHALLENGE_BYTES)
    sock.sendall(_proof(secret, _SERVER, _receive(sock, _CHALLENGE_BYTES)) + challenge)
    proof = _receive(sock, _PROOF_BYTES)
    (length,) = _LENGTH.unpack(_receive(sock, _LENGTH.size))
    if length > _LONGEST_HELLO:
        raise HandshakeError(f"a hello of {length} bytes is no hello")
    content = _receive(sock, length)
    if not hmac.compare_digest(proof, _proof(secret, _CLIENT, challenge + content)):
        raise HandshakeError("the other end does not know the secret")
    sock.settimeout(None)
    hello: dict[str, Any] = json.loads(content)
    return hello


class Listener:
    """Accepts connections in threads of its own, which sleep while nobody connects.

    Args:
        host: Address of this machine that others reach it by.
        secret: What both ends have to know.
        on_connection: Takes each socket with its hello, in one of these threads.

    Attributes:
        address: Where to connect to.
    """

    def __init__(
        self,
        host: str,
        secret: bytes,
        on_connection: Callable[[socket.socket, dict[str, Any]], None],
    ) -> None:
        self._secret = secret
        self._on_connection = on_connection
        self._socket = socket.create_server((host, 0), backlog=1024)
        self.address: Address = self._socket.getsockname()[:2]
        threading.Thread(target=self._run, name="listener", daemon=True).start()

    def close(self) -> None:
        """Accepts no more."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # a blocked `accept` returns
        self._socket.close()

    def _run(self) -> None:
        while True:
            try:
                sock, _ = self._socket.accept()
            except OSError:  # closed
                return
            threading.Thread(target=self._welcome, args=[sock], daemon=True).start()

    def _welcome(self, sock: socket.socket) -> None:
        try:
            hello = welcome(sock, self._secret)
        except (OSError, ValueError):  # somebody else's program; a worker of ours would be back
            sock.close()
            return
        self._on_connection(sock, hello)


def _prepare(sock: socket.socket) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _proof(secret: bytes, side: bytes, challenge: bytes) -> bytes:
    return hmac.digest(secret, side + challenge, "sha256")


def _receive(sock: socket.socket, size: int) -> bytes:
    received = bytearray()
    while len(received) < size:
        data = sock.recv(size - len(received))
        if not data:
            raise HandshakeError("the other end has closed the connection")
        received += data
    return bytes(received)
