"""Who is let in: whoever knows the token, and reaches the server under a name that it has."""

from __future__ import annotations

import hmac

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from tuner.server.config import is_loopback
from tuner.server.problems import problem

LET_IN = "tuner.let_in"
"""What the scope of a request holds once it is let in."""


class Gate:
    """Refuses whoever does not give the token, whatever they ask for.

    A server that listens on this machine alone also refuses requests that were made under the name
    of another machine: a web page may have had that name lead here (DNS rebinding).

    Args:
        app: What lies behind.
        token: The token.
        host: Where the server listens.
    """

    def __init__(self, app: ASGIApp, token: str, host: str) -> None:
        self._app = app
        self._token = token.encode()
        self._is_local = is_loopback(host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(Headers(scope=scope)) if scope["type"] == "http" else None
        if refusal is None:
            scope[LET_IN] = True
        await (refusal or self._app)(scope, receive, send)

    def _refusal(self, headers: Headers) -> Response | None:
        host = headers.get("host", "")
        if self._is_local and not is_loopback(_without_port(host)):
            return problem(421, f"this server is not {host[:100]!r}; ask for localhost")
        scheme, _, given = headers.get("authorization", "").partition(" ")
        is_known = hmac.compare_digest(given.strip().encode(), self._token)
        if scheme.lower() == "bearer" and is_known:
            return None
        words = "the token is missing: send the header 'Authorization: Bearer <token>'"
        if given:
            words = "the token is another one: it is printed when the experiment starts"
        response = problem(401, words)
        response.headers["WWW-Authenticate"] = 'Bearer realm="tuner"'
        return response


def _without_port(host: str) -> str:
    """The name in a `Host` header.

    Example:
        >>> [_without_port(host) for host in ("localhost:80", "[::1]:80", "::1", "box")]
        ['localhost', '[::1]', '::1', 'box']
    """
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() and (":" not in name or name.endswith("]")) else host
