import os
import stat
import subprocess
import sys
import tempfile

import pytest

from tuner.errors import ConfigError
from tuner.server.token_file import find_token, remove_token, write_token


@pytest.fixture(autouse=True)
def runtime(tmp_path, monkeypatch):
    (tmp_path / "runtime").mkdir()
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return tmp_path / "runtime"


def content(token="secret", pid=None):
    return {"address": "http://127.0.0.1:5", "token": token, "pid": pid or os.getpid()}


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def test_only_the_owner_can_read_it(runtime):
    before = os.umask(0)
    try:
        path = write_token(5, content())
    finally:
        os.umask(before)
    assert path == str(runtime / "tuner" / "server-5.json")
    assert (mode(path), mode(runtime / "tuner")) == (0o600, 0o700)
    assert os.listdir(runtime / "tuner") == ["server-5.json"]
    assert find_token(5) == "secret"
    assert find_token(6) is None


def test_without_a_folder_for_the_session_it_lies_with_the_temporary_files(
    runtime, monkeypatch, tmp_path
):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "missing"))
    path = write_token(5, content())
    assert path == str(tmp_path / "temporary" / f"tuner-{os.getuid()}" / "server-5.json")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    assert find_token(5) == "secret"


def test_a_folder_that_others_can_look_into_is_not_used(runtime, tmp_path):
    (runtime / "tuner").mkdir(mode=0o755)
    assert write_token(5, content()).startswith(str(tmp_path / "temporary"))
    (runtime / "tuner" / "server-5.json").write_text('{"token": "planted", "pid": 1}')
    assert find_token(5) == "secret"
    os.chmod(tmp_path / "temporary" / f"tuner-{os.getuid()}", 0o755)
    with pytest.raises(ConfigError, match="not a folder of yours alone"):
        write_token(5, content())


def test_a_link_in_the_place_of_the_folder_is_not_followed(runtime, tmp_path):
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (runtime / "tuner").symlink_to(tmp_path / "elsewhere")
    write_token(5, content())
    assert os.listdir(tmp_path / "elsewhere") == []


def test_the_token_of_an_experiment_that_was_killed_is_not_found():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    write_token(5, content(pid=process.pid))
    assert find_token(5) is None


def test_another_servers_file_is_left_alone():
    path = write_token(5, content("old"))
    write_token(5, content("new"))
    remove_token(path, "old")
    assert find_token(5) == "new"
    remove_token(path, "new")
    remove_token(path, "new")
    assert not os.path.exists(path)
