from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tuner.execution.ray_pointer import dead_address, pointer_file


@pytest.fixture
def pointer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    pointer_file().parent.mkdir()
    return pointer_file()


def test_the_file_is_where_ray_looks_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray._private.utils import read_ray_address

    for variable in ("RAY_TMPDIR", "TMPDIR"):
        monkeypatch.delenv("RAY_TMPDIR", raising=False)
        monkeypatch.setenv(variable, str(tmp_path / variable))
        pointer_file().parent.mkdir(parents=True)
        pointer_file().write_text(f"of {variable}\n")
        assert read_ray_address() == f"of {variable}"


def test_an_address_is_dead_if_nobody_answers(pointer: Path) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{server.getsockname()[1]}"
        pointer.write_text(f"{address}\n")
        assert dead_address() == address
        server.listen()
        assert dead_address() is None


@pytest.mark.parametrize("text", ["", "somewhere", "host:", ":6379", "host:port"])
def test_what_is_no_address_is_left_to_ray(pointer: Path, text: str) -> None:
    pointer.write_text(text)
    assert dead_address() is None


def test_no_file_names_no_cluster(pointer: Path) -> None:
    assert dead_address() is None
