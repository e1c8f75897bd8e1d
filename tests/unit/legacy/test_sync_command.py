import pickle

import pytest

from tuner.errors import ConfigError, StorageError
from tuner.legacy.sync_command import SyncCommand


def command(given):
    return SyncCommand("tune.run", "sync_to_cloud", given)


def test_a_template_copies(tmp_path):
    source = tmp_path / "a folder"
    source.mkdir()
    (source / "file").write_text("content")
    command("cp -r {source} {target}")(str(source), str(tmp_path / "target"))
    assert (tmp_path / "target" / "file").read_text() == "content"


def test_a_function_gets_source_and_target():
    calls = []
    command(lambda source, target: calls.append((source, target)))("/a", "/b")
    assert calls == [("/a", "/b")]


def test_a_failure_tells_the_command_and_what_it_printed():
    with pytest.raises(StorageError, match=r"'echo no room /a /b; exit 3'.*code 3: no room /a /b"):
        command("echo no room {source} {target}; exit 3")("/a", "/b")


def test_a_failing_function_is_named():
    def copy(source, target):
        raise OSError("no room")

    with pytest.raises(StorageError, match=r"sync_to_cloud=.*copy.*OSError: no room"):
        command(copy)("/a", "/b")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("cp {source} /b", "{target} is missing"),
        ("cp /a {target}", "{source} is missing"),
        ("cp {sorce} {target}", "{sorce} is no field.*did you mean 'source'"),
        ("awk '{' {source} {target}", "write {{ and }} for braces"),
        (3, "use a command with {source} and {target}"),
    ],
)
def test_what_cannot_work_is_named(given, message):
    with pytest.raises(ConfigError, match=message):
        command(given)


def test_it_can_be_pickled():
    template = "cp {source} {target}"
    assert str(pickle.loads(pickle.dumps(command(template)))) == str(command(template))
