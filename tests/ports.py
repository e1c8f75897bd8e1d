"""Ports for servers that are started a little later, by another process."""

import random
import socket

_RANDOM = random.SystemRandom()


def free_port() -> int:
    """One that nobody has, nor gets who asks for any: those begin at 32768, Ray's end below."""
    while True:
        port = _RANDOM.randrange(20_000, 32_768)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("", port))
            except OSError:
                continue
            return port
