"""Where a live experiment listens, and what those who ask it have to know."""

from __future__ import annotations

import dataclasses
import ipaddress
import os
from typing import Any

from tuner.config_class import config_class
from tuner.validation import check_text, check_whole, reject

TOKEN_VARIABLE = "TUNER_SERVER_TOKEN"
"""The environment variable that holds the token, for the server and for who asks it."""

_SHORTEST_TOKEN = 16


@config_class
class ServerConfig:
    """The HTTP server of a running experiment, beside the controller.

    Attributes:
        host: Where it listens. Anything but this machine alone (`"127.0.0.1"`, `"::1"`,
            `"localhost"`) needs a token of yours.
        port: Its port; 0 for one that is free.
        token: What everybody who asks has to know, of at least 16 letters, digits and `-._~+/`.
            None takes the one in the environment variable `TUNER_SERVER_TOKEN`, else makes one up.
            It is kept out of all files of the experiment, so a restore has to be given it again.

    Raises:
        ConfigError: A field is unknown or has a value that cannot work.

    Example:
        >>> ServerConfig(port=0).host
        '127.0.0.1'
        >>> ServerConfig(host="0.0.0.0")
        Traceback (most recent call last):
            ...
        tuner.errors.ConfigError: ServerConfig(host='0.0.0.0'): other machines could reach it: \
give a token=…, or set TUNER_SERVER_TOKEN
    """

    host: str = "127.0.0.1"
    port: int = 4321
    token: str | None = dataclasses.field(default=None, repr=False)

    def __post_init__(self) -> None:
        owner = "ServerConfig"
        check_text(owner, "host", self.host, "use an address of this machine")
        fix = "use a port from 1 to 65535, or 0 for one that is free"
        check_whole(owner, "port", self.port, fix, least=0)
        if self.port > 65535:
            reject(owner, "port", self.port, fix)
        if self.token is not None:
            _check_token(self.token, "token")
        self.check_token_is_given()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "token": None}

    def __copy__(self) -> ServerConfig:
        copied = object.__new__(type(self))
        copied.__dict__.update(
            self.__dict__
        )  # the token too, which `__getstate__` keeps from files
        return copied

    def __deepcopy__(self, memo: dict[int, Any]) -> ServerConfig:
        return self.__copy__()

    @property
    def given_token(self) -> str | None:
        """The token that the user has given, here or by the environment; None without one.

        Raises:
            ConfigError: The one in the environment cannot be used.
        """
        if self.token is not None:
            return self.token
        token = os.environ.get(TOKEN_VARIABLE)
        if token:
            _check_token(token, TOKEN_VARIABLE)
        return token or None

    def check_token_is_given(self) -> None:
        """Checks that other machines are not let in without a token of the user's.

        Raises:
            ConfigError: They would be.
        """
        if not is_loopback(self.host) and self.given_token is None:
            fix = f"other machines could reach it: give a token=…, or set {TOKEN_VARIABLE}"
            reject("ServerConfig", "host", self.host, fix)


def is_loopback(host: str) -> bool:
    """Whether a host is this machine for this machine alone.

    Example:
        >>> [is_loopback(host) for host in ("localhost", "127.0.0.5", "[::1]", "10.0.0.1", "box")]
        [True, True, True, False, False]
    """
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _check_token(token: object, field: str) -> None:
    fix = f"use at least {_SHORTEST_TOKEN} letters, digits and -._~+/"
    legal = isinstance(token, str) and token.isascii() and len(token) >= _SHORTEST_TOKEN
    if not legal or not all(each.isalnum() or each in "-._~+/=" for each in str(token)):
        reject("ServerConfig", field, "…", fix)  # the value is a secret
