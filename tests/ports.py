"""Ports for servers that are started a little later, by another process."""

import contextlib
import random
import socket

_RANDOM = random.SystemRandom()


def free_port(number: int = 1) -> int:
    """The first of so many in a row that nobody has, nor gets who asks for any.

    Those begin at 32768 on Linux, and those of Ray's workers end at 19999.
    """
    while True:
        first = _RANDOM.randrange(20_000, 32_768 - number)
        with contextlib.ExitStack() as probes, contextlib.suppress(OSError):
            for port in range(first, first + number):
                probes.enter_context(socket.create_server(("", port)))
            return first
