"""The environment that tests change while Ray's threads read it."""

import ctypes
import os
import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="is for glibc's setenv")

NAMES = [f"STEADY_{index}" for index in range(200)]


def place() -> int | None:
    return ctypes.c_void_p.in_dll(ctypes.PyDLL(None), "environ").value


def of_a_child() -> dict[str, str]:
    printed = "import os; print(*map('='.join, os.environ.items()), sep='\\0', end='')"
    child = subprocess.run([sys.executable, "-c", printed], capture_output=True, text=True)
    return dict(line.split("=", 1) for line in child.stdout.split("\0"))


def test_new_names_do_not_move_the_array(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEADY_FIRST", "1")
    before = place()
    for name in NAMES:
        monkeypatch.setenv(name, "1")
        assert place() == before
    for name in NAMES[::2]:
        monkeypatch.delenv(name)
    assert place() == before


def test_children_get_what_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.setenv(name, "before")
    for name in NAMES[::2]:
        monkeypatch.delenv(name)
    for name in NAMES[1::4]:
        monkeypatch.setenv(name, "ä = b")
    child = of_a_child()
    assert [child.get(name) for name in NAMES[:4]] == [None, "ä = b", None, "before"]
    assert child.items() >= os.environ.items()  # and what C has set


@pytest.mark.parametrize("name", ["STEADY_TEXT", b"STEADY_TEXT"])
def test_it_takes_what_putenv_takes(name: str | bytes) -> None:
    os.putenv(name, "ä" if isinstance(name, str) else "ä".encode())
    try:
        assert of_a_child()["STEADY_TEXT"] == "ä"
    finally:
        os.unsetenv(name)


def test_an_array_that_c_has_moved_is_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    libc = ctypes.PyDLL(None)
    monkeypatch.setenv("STEADY_FIRST", "1")
    before = place()
    libc.setenv(b"STEADY_IN_C", b"2", 1)
    try:
        assert place() != before
        monkeypatch.setenv("STEADY_SECOND", "3")
        assert place() == before
        child = of_a_child()
    finally:
        libc.unsetenv(b"STEADY_IN_C")
    assert [child[f"STEADY_{which}"] for which in ("FIRST", "IN_C", "SECOND")] == ["1", "2", "3"]


@pytest.mark.parametrize(("name", "value"), [("A=B", "1"), ("", "1"), ("A\0B", "1"), ("A", "1\0")])
def test_what_python_refuses_is_refused(name: str, value: str) -> None:
    with pytest.raises((ValueError, OSError)):
        os.environ[name] = value
    assert name not in os.environ
