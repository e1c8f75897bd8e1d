from __future__ import annotations

import os
import time

import pytest
from flaky_proxy import FlakyProxy
from servers import Bucket

from tuner.errors import StorageError
from tuner.filesystems import resolve
from tuner.storage_check import check_writable


@pytest.fixture(params=["s3", "azure"])
def bucket(request: pytest.FixtureRequest) -> Bucket:
    server: Bucket = request.getfixturevalue(f"{request.param}_server")
    return server


def test_a_storage_that_works_is_left_as_it_was(bucket: Bucket) -> None:
    filesystem, path = resolve(f"{bucket.url}/exp")
    check_writable(filesystem, path)
    assert bucket.filesystem().find(bucket.name) == []


def test_a_missing_bucket_is_named_and_not_made(bucket: Bucket) -> None:
    filesystem, path = resolve(f"{bucket.url}-not/exp")
    with pytest.raises(StorageError, match=rf"{bucket.name}-not/exp cannot be written .*not exist"):
        check_writable(filesystem, path)
    assert not bucket.filesystem().exists(f"{bucket.name}-not")


def test_a_wrong_key_is_told(azure_server: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    given = os.environ["AZURE_STORAGE_CONNECTION_STRING"]
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", given.replace("=Eby8", "=AAAA"))
    filesystem, path = resolve(f"{azure_server.url}/exp")
    with pytest.raises(StorageError, match=r"exp cannot be written to .*authenticate"):
        check_writable(filesystem, path)


def test_missing_credentials_are_told(s3_server: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    filesystem, path = resolve(f"{s3_server.url}/exp")
    with pytest.raises(StorageError, match=r"exp cannot be written to \(NoCredentialsError"):
        check_writable(filesystem, path)


@pytest.mark.parametrize("how", ["hang", "refuse"])
@pytest.mark.parametrize("kind", ["s3", "azure"])
def test_nobody_waits_long_for_a_server_that_does_not_answer(
    kind: str, how: str, request: pytest.FixtureRequest
) -> None:
    proxy: FlakyProxy = request.getfixturevalue(f"{kind}_proxy")
    url = request.getfixturevalue(f"{kind}_server").url
    filesystem, path = resolve(f"{url}/exp")
    getattr(proxy, how)()
    begin = time.monotonic()
    with pytest.raises(StorageError, match=r"exp did not answer within 1 s: check the network"):
        check_writable(filesystem, path, timeout_s=1)
    assert time.monotonic() - begin < 10
