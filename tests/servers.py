"""Servers on this machine, which tests reach as users reach the ones of a cloud.

The environment leads to storage, so that every process of a test finds it by a plain URL.
"""

from __future__ import annotations

import functools
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import fsspec
import pytest
from flaky_proxy import FlakyProxy
from ports import free_port

from tuner.execution.process import die_with_parent

START_TIMEOUT_S = 240.0
S3_KEY, S3_SECRET = "test-key", "test-secret"
AZURE_ACCOUNT = "devstoreaccount1"  # azurite knows this one, and its key is the same everywhere
AZURE_KEY = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)
MLFLOW_SERVER = "TUNER_TEST_MLFLOW_SERVER"
"""Port and folder of a running MLflow server, for tests where it cannot be started."""

_administrators: dict[int, fsspec.AbstractFileSystem] = {}


@dataclass(frozen=True)
class Bucket:
    """A fresh bucket (or container, as Azure calls it) for one test.

    Attributes:
        url: What a user gives as `storage_path`: `s3://…` or `az://…`.
        port: Where the server listens on 127.0.0.1.
        options: What a filesystem takes instead of the environment.
    """

    url: str
    port: int
    options: dict[str, Any]

    @property
    def name(self) -> str:
        """The bucket's name, with which paths on a filesystem begin."""
        return self.url.partition("://")[2]

    def filesystem(self) -> fsspec.AbstractFileSystem:
        """A filesystem past all proxies that sees what a new process would see."""
        return fsspec.filesystem(
            self.url.partition("://")[0],
            skip_instance_cache=True,
            use_listings_cache=False,
            **self.options,
        )


@pytest.fixture(scope="session")
def moto_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a running `moto_server`, which speaks S3."""
    pytest.importorskip("moto")
    pytest.importorskip("s3fs")
    with running_moto(tmp_path_factory.mktemp("moto")) as port:
        yield port


@pytest.fixture(scope="session")
def azurite_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a running azurite, which speaks Azure's blob storage."""
    pytest.importorskip("adlfs")
    azurite = shutil.which("azurite-blob", path=f"{sys.prefix}/bin:{os.environ['PATH']}")
    if azurite is None or shutil.which("node") is None:
        pytest.skip("azurite is not installed: make azurite")
    port = free_port()
    command = [azurite, "--blobHost", "127.0.0.1", "--blobPort", str(port)]
    command += ["--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry", "--silent"]
    with _running(command, port, tmp_path_factory.mktemp("azurite")):
        yield port


@pytest.fixture
def s3_server(moto_port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """An empty S3 bucket, to which the environment leads."""
    yield from s3_bucket(moto_port, monkeypatch)


@pytest.fixture
def azure_server(azurite_port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """An empty container of Azure's blob storage, to which the environment leads."""
    _lead_to_azure(azurite_port, monkeypatch)
    options = {"connection_string": _connection_string(azurite_port)}
    yield from _fresh_bucket("az", azurite_port, options)


@pytest.fixture
def s3_proxy(s3_server: Bucket, monkeypatch: pytest.MonkeyPatch) -> Iterator[FlakyProxy]:
    """A proxy in front of `s3_server`, to which the environment leads from here on."""
    with FlakyProxy(s3_server.port) as proxy:
        _lead_to_s3(proxy.port, monkeypatch)
        _forget_filesystems("s3")
        yield proxy


@pytest.fixture
def azure_proxy(azure_server: Bucket, monkeypatch: pytest.MonkeyPatch) -> Iterator[FlakyProxy]:
    """A proxy in front of `azure_server`, to which the environment leads from here on."""
    with FlakyProxy(azure_server.port) as proxy:
        _lead_to_azure(proxy.port, monkeypatch)
        _forget_filesystems("az")
        yield proxy


@dataclass
class MlflowServer:
    """An `mlflow server` on sqlite that can be killed and started again.

    Attributes:
        folder: Where database and artifacts are.
        port: Where it listens on 127.0.0.1.
    """

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        """What a user gives as `tracking_uri`."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def client(self) -> Any:
        """A client of MLflow's own."""
        from mlflow.tracking import MlflowClient

        return MlflowClient(self.uri)

    def start(self) -> None:
        """Starts it and waits until it answers."""
        command = [sys.executable, "-m", "mlflow", "server", "--workers", "1"]
        command += ["--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db"]
        command += ["--artifacts-destination", str(self.folder / "artifacts")]
        command += ["--host", "127.0.0.1", "--port", str(self.port)]
        environ = {name: text for name, text in os.environ.items() if "MLFLOW" not in name}
        with open(self.folder / "output", "wb") as output:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env={
                    **environ,
                    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # ten processes less
                    "MLFLOW_TRUNCATE_LONG_VALUES": "false",  # as older servers
                },
                start_new_session=True,
            )
        _wait_until_it_answers(self.process, self.port, self.folder / "output")

    def kill(self) -> None:
        """Kills it with its workers."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def runs(self, experiment: str) -> list[Any]:
        """All runs of an MLflow experiment, by their names."""
        found = self.client.get_experiment_by_name(experiment)
        runs = self.client.search_runs([found.experiment_id], max_results=1000) if found else []
        return sorted(runs, key=lambda run: str(run.info.run_name))


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    """A running MLflow server, which tests share: each needs experiments of its own."""
    pytest.importorskip("mlflow")
    if MLFLOW_SERVER in os.environ:
        port, _, shared = os.environ[MLFLOW_SERVER].partition(" ")
        yield MlflowServer(Path(shared), int(port))
        return
    server = MlflowServer(tmp_path_factory.mktemp("mlflow"), free_port())
    try:
        server.start()
        yield server
    finally:
        server.kill()


@pytest.fixture
def own_mlflow_server(mlflow_server: MlflowServer, tmp_path: Path) -> Iterator[MlflowServer]:
    """An MLflow server that is not running yet, and that a test may kill."""
    folder = tmp_path / "mlflow_server"
    folder.mkdir()
    shutil.copy(mlflow_server.folder / "mlflow.db", folder)  # making its tables takes seconds
    server = MlflowServer(folder, free_port())
    try:
        yield server
    finally:
        server.kill()


@contextmanager
def running_moto(folder: Path) -> Iterator[int]:
    """A `moto_server` that writes into a folder; the port that it listens on."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with _running(command, port, folder):
        yield port


@contextmanager
def running_tensorboard(logdir: Path | str, folder: Path, *options: str) -> Iterator[str]:
    """TensorBoard on a folder or a URL; its address. What it prints goes into `folder`."""
    port = free_port()
    command = [sys.executable, "-m", "tensorboard.main", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--logdir", str(logdir), "--reload_interval", "1", *options]
    with _running(command, port, folder):
        yield f"http://127.0.0.1:{port}"


def s3_bucket(port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """An empty bucket of the server at a port, to which the environment leads."""
    _lead_to_s3(port, monkeypatch)
    options = {
        "endpoint_url": f"http://127.0.0.1:{port}",
        "key": S3_KEY,
        "secret": S3_SECRET,
    }
    yield from _fresh_bucket("s3", port, options)


def _lead_to_s3(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", S3_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", S3_SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)


def _lead_to_azure(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AZURE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", _connection_string(port))


def _connection_string(port: int) -> str:
    return (
        f"DefaultEndpointsProtocol=http;AccountName={AZURE_ACCOUNT};AccountKey={AZURE_KEY};"
        f"BlobEndpoint=http://127.0.0.1:{port}/{AZURE_ACCOUNT};"
    )


def _fresh_bucket(protocol: str, port: int, options: dict[str, Any]) -> Iterator[Bucket]:
    bucket = Bucket(f"{protocol}://test-{uuid.uuid4().hex[:12]}", port, options)
    if port not in _administrators:  # one client for all tests: each costs a third of a second
        _administrators[port] = bucket.filesystem()
    _administrators[port].mkdir(bucket.name)
    _forget_filesystems(protocol)
    yield bucket
    _forget_filesystems(protocol)


def _forget_filesystems(protocol: str) -> None:
    """fsspec keeps filesystems by their arguments, and the environment is not among them."""
    fsspec.get_filesystem_class(protocol).clear_instance_cache()


@contextmanager
def _running(command: list[str], port: int, folder: Path) -> Iterator[None]:
    """A server that runs within the block, and writes nowhere but in its folder."""
    with open(folder / "output", "wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**os.environ, "TMPDIR": str(folder)},
            preexec_fn=functools.partial(die_with_parent, os.getpid(), signal.SIGTERM),
        )
    try:
        _wait_until_it_answers(process, port, folder / "output")
        yield
    finally:
        process.kill()
        process.wait()


def _wait_until_it_answers(process: subprocess.Popen[bytes], port: int, output: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        connection = HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/")
            connection.getresponse()
            return
        except OSError as error:
            late = time.monotonic() > deadline
            if late or process.poll() is not None:
                text = f"{process.args} does not answer: {error}\n{output.read_text()}"
                raise RuntimeError(text) from error
        finally:
            connection.close()
        time.sleep(0.02)
