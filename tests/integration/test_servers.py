"""The storage servers and the proxy that other tests rely on, used for real."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading

import fsspec
import pytest
from fit_helpers import wait_until
from flaky_proxy import Failure, FlakyProxy
from servers import Bucket


@pytest.fixture(params=["s3", "azure"])
def bucket(request: pytest.FixtureRequest) -> Bucket:
    server: Bucket = request.getfixturevalue(f"{request.param}_server")
    return server


@pytest.fixture(params=["s3", "azure"])
def proxied(request: pytest.FixtureRequest) -> tuple[FlakyProxy, Bucket]:
    proxy = request.getfixturevalue(f"{request.param}_proxy")
    return proxy, request.getfixturevalue(f"{request.param}_server")


def test_a_plain_url_leads_to_an_empty_bucket(bucket: Bucket) -> None:
    filesystem, path = fsspec.core.url_to_fs(f"{bucket.url}/exp")
    assert filesystem.ls(bucket.name) == []
    filesystem.pipe_file(f"{path}/a", b"content")
    assert bucket.filesystem().cat_file(f"{bucket.name}/exp/a") == b"content"


def test_another_process_reaches_the_bucket_by_its_url(bucket: Bucket) -> None:
    script = (
        "import fsspec, sys\n"
        "filesystem, path = fsspec.core.url_to_fs(sys.argv[1])\n"
        "filesystem.pipe_file(path, b'from a child')\n"
    )
    subprocess.run([sys.executable, "-c", script, f"{bucket.url}/exp/a"], check=True, timeout=240)
    assert bucket.filesystem().cat_file(f"{bucket.name}/exp/a") == b"from a child"


def test_a_healthy_proxy_hands_on_and_counts_what_is_uploaded(
    proxied: tuple[FlakyProxy, Bucket],
) -> None:
    proxy, bucket = proxied
    filesystem, path = fsspec.core.url_to_fs(f"{bucket.url}/exp")
    small, large = os.urandom(1000), os.urandom(20_000_000)
    filesystem.pipe_file(f"{path}/small", small)
    assert proxy.bytes_received == 1000
    filesystem.pipe_file(f"{path}/large", large)
    assert 20_001_000 <= proxy.bytes_received < 20_010_000
    assert filesystem.cat_file(f"{path}/large") == large
    assert filesystem.info(f"{path}/small")["size"] == 1000
    assert proxy.requests > 3
    assert proxy.failures == 0


@pytest.mark.parametrize("failure", ["503", "reset"])
def test_every_third_request_fails(
    s3_proxy: FlakyProxy, s3_server: Bucket, failure: Failure
) -> None:
    filesystem, path = fsspec.core.url_to_fs(f"{s3_server.url}/exp")
    s3_proxy.fail_every(3, failure)
    written = 0
    for i in range(9):
        try:
            filesystem.pipe_file(f"{path}/{i}", b"x")
        except Exception:
            continue
        written += 1
    assert s3_proxy.failures == s3_proxy.requests // 3 >= 3
    assert len(s3_server.filesystem().find(f"{s3_server.name}/exp")) == written


def test_a_hanging_proxy_answers_nothing_until_it_heals(
    s3_proxy: FlakyProxy, s3_server: Bucket
) -> None:
    filesystem, path = fsspec.core.url_to_fs(f"{s3_server.url}/exp")
    s3_proxy.hang()
    writer = threading.Thread(target=lambda: filesystem.pipe_file(f"{path}/a", b"content"))
    writer.start()
    wait_until(lambda: s3_proxy.failures == 1)
    assert s3_server.filesystem().find(f"{s3_server.name}/exp") == []
    s3_proxy.heal()
    writer.join(timeout=240)
    assert s3_server.filesystem().cat_file(f"{s3_server.name}/exp/a") == b"content"


def test_a_refusing_proxy_lets_nobody_in_until_it_heals(
    proxied: tuple[FlakyProxy, Bucket],
) -> None:
    proxy, bucket = proxied
    filesystem, path = fsspec.core.url_to_fs(f"{bucket.url}/exp")
    filesystem.pipe_file(f"{path}/before", b"")
    seen = proxy.requests
    for _ in range(2):
        proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", proxy.port))
        assert proxy.requests == seen
        proxy.heal()
    filesystem.pipe_file(f"{path}/after", b"")
    assert len(bucket.filesystem().find(f"{bucket.name}/exp")) == 2
