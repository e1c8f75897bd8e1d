"""Connections that keep others out, and those that send nothing."""

import asyncio
import contextlib
import socket

import h11
import pytest
import uvicorn
from server_harness import Harness, accept, running
from uvicorn.server import ServerState

from tuner.server.connections import PATIENCE_S, Connection
from tuner.server.limits import MAX_CONNECTIONS

HEAD = b"GET /experiment HTTP/1.1\r\nHost: localhost\r\n"
FOREVER = 3600.0


def port_of(harness):
    return int(harness.server.address.rpartition(":")[2])


@pytest.mark.parametrize(
    "begun",
    [
        b"",
        HEAD,
        HEAD + b"\r\n",
        HEAD.replace(b"GET", b"POST") + b"Content-Length: 9\r\n\r\n",
    ],
    ids=["nothing", "half a head", "no token", "no body"],
)
def test_whoever_does_not_know_the_token_keeps_nobody_out(tmp_path, begun):
    with Harness(tmp_path, running("a"), accept) as harness, contextlib.ExitStack() as stack:
        for _ in range(MAX_CONNECTIONS + 10):
            idle = socket.create_connection(("127.0.0.1", port_of(harness)))
            stack.enter_context(idle).sendall(begun)
        with harness.http() as http:
            for _ in range(3):
                assert http.get("/experiment").status_code == 200


def test_whoever_is_let_in_stays(tmp_path):
    with Harness(tmp_path, running("a"), accept) as harness, contextlib.ExitStack() as stack:
        http = stack.enter_context(harness.http())
        watching = stack.enter_context(http.stream("GET", "/events")).iter_raw()
        next(watching)
        for _ in range(MAX_CONNECTIONS + 10):
            stack.enter_context(socket.create_connection(("127.0.0.1", port_of(harness))))
        assert http.post("/trials/a/stop").status_code == 200
        harness.server.stop()
        assert b"".join(watching).endswith(b"event: end\ndata: {}\n\n")


def test_no_websocket_is_opened(tmp_path):
    upgrade = (
        b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    with Harness(tmp_path, running("a"), accept) as harness:
        with socket.create_connection(("127.0.0.1", port_of(harness))) as client:
            client.sendall(HEAD + upgrade)
            assert client.recv(100).startswith(b"HTTP/1.1 401")


async def answer(scope, receive, send):
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body"})


async def closed_by_impatience(sent, monkeypatch, patience_s):
    """Sends something, and reads until the other end closes."""
    for state in PATIENCE_S:
        monkeypatch.setitem(PATIENCE_S, state, patience_s.get(state, FOREVER))
    config = uvicorn.Config(answer, lifespan="off", timeout_keep_alive=FOREVER)
    state = ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(config, state, {}), "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(sent)
        received = b""
        with contextlib.suppress(ConnectionResetError):
            received = await asyncio.wait_for(reader.read(), 120)
        writer.close()
    return received


@pytest.mark.parametrize("sent", [b"", HEAD, HEAD + b"\r\n", HEAD + b"\r\n" + HEAD])
def test_a_head_is_not_waited_for_without_end(sent, monkeypatch):
    received = asyncio.run(closed_by_impatience(sent, monkeypatch, {h11.IDLE: 0.05}))
    assert received.startswith(b"HTTP/1.1 204") == (b"\r\n\r\n" in sent)


def test_a_body_is_not_waited_for_without_end(monkeypatch):
    sent = HEAD.replace(b"GET", b"POST") + b"Content-Length: 9\r\n\r\n12345678"
    assert asyncio.run(closed_by_impatience(sent, monkeypatch, {h11.SEND_BODY: 0.05})) == b""
