"""Files of trials whose node does not see the trial's folder, and whole attempts there."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from executor_driver import Driver, Failed, Finished, kinds

from tuner import Checkpoint, Trainable, get_checkpoint, report
from tuner.execution.local import LocalExecutor
from tuner.execution.sent_files import TrialFileSender
from tuner.storage import file_client
from tuner.storage.file_server import FileServer
from tuner.storage.served_files import ServedFileSystem
from tuner.storage.storage import Storage

OF_LOGGERS = {
    "result.json": "theirs",
    "progress.csv": "theirs",
    "params.json": "theirs",
    "params.pkl": "theirs",
    "error.txt": "theirs",
    "events.out.tfevents.1.host": "theirs",
}


@pytest.fixture
def there(tmp_path: Path) -> Path:
    path = tmp_path / "experiment" / "t"
    path.mkdir(parents=True)
    put(path, OF_LOGGERS)
    return path


@pytest.fixture
def home(server: FileServer, there: Path) -> Storage:
    fs = server.filesystem
    return Storage(fs, str(there))


def put(folder: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)


def read(folder: Path) -> dict[str, str]:
    """What lies in a folder, but for what loggers have written."""
    found = {
        str(path.relative_to(folder)): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }
    return {name: text for name, text in found.items() if OF_LOGGERS.get(name) != text}


def test_all_but_checkpoints_and_what_loggers_write_is_sent(
    here: Path, there: Path, home: Storage
) -> None:
    own = {"stdout": "1", "deep/er/result.json": "2", ".hidden": "3", "with space": "4"}
    put(here, own)
    put(here, dict.fromkeys(OF_LOGGERS, "mine"))
    put(here, {"checkpoint_000001/n": "5", ".checkpoint_000002.attempt1/n": "6"})
    os.mkfifo(here / "pipe")
    TrialFileSender(str(here), home).send()
    assert read(there) == own
    assert read(there).keys() | OF_LOGGERS.keys() == set(own) | set(OF_LOGGERS)


def test_only_what_has_changed_is_sent(
    here: Path, there: Path, home: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []
    put_file = ServedFileSystem.put_file

    def noting(fs: Any, lpath: str, rpath: str, **kwargs: Any) -> None:
        sent.append(os.path.basename(rpath))
        put_file(fs, lpath, rpath, **kwargs)

    monkeypatch.setattr(ServedFileSystem, "put_file", noting)
    sender = TrialFileSender(str(here), home)
    put(here, {"same": "1", "rewritten": "aaaa", "growing": "1234", "shrinking": "1234"})
    sender.send()
    assert sorted(sent) == ["growing", "rewritten", "same", "shrinking"]
    sent.clear()
    put(here, {"rewritten": "bbbb", "growing": "12345", "shrinking": "1", "new": "1"})
    sender.send()
    assert sorted(sent) == ["new", "rewritten", "shrinking"]
    sent.clear()
    put(here, {"growing": "12345678"})
    sender.send()
    assert sent == ["growing"]
    sent.clear()
    put(here, {"growing": "123456789"})
    sender.send()
    sender.send(is_end=True)
    TrialFileSender(str(here), home).send(is_end=True)
    assert sent == ["growing"]
    assert read(there) == read(here)


def test_files_of_earlier_attempts_are_brought_along(
    here: Path, there: Path, home: Storage, tmp_path: Path
) -> None:
    put(here, {"stdout": "one\n", "data/history": "1"})
    put(there, {"checkpoint_000001/n": "1"})
    TrialFileSender(str(here), home).send(is_end=True)
    elsewhere = tmp_path / "other" / "t"
    elsewhere.mkdir(parents=True)
    sender = TrialFileSender(str(elsewhere), home)
    sender.fetch()
    assert read(elsewhere) == {"stdout": "one\n", "data/history": "1"}
    put(elsewhere, {"stdout": "one\ntwo\n"})
    sender.send(is_end=True)
    put(here, {"data/history": "1, not sent when the attempt died"})
    TrialFileSender(str(here), home).fetch()
    assert read(here) == {
        "stdout": "one\ntwo\n",
        "data/history": "1, not sent when the attempt died",
    }


def test_what_cannot_be_sent_is_a_warning_and_the_rest_is_sent(
    here: Path, there: Path, home: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    (there / "a").mkdir()
    put(here, {"a": "a directory there", "b": "1"})
    sender = TrialFileSender(str(here), home)
    for _ in range(3):
        sender.send()
    assert read(there) == {"b": "1"}
    (warning,) = caplog.messages
    assert warning.startswith(f"file 'a' of tuner-served://{there}: not sent")


def test_a_server_that_is_gone_is_a_warning(
    here: Path,
    home: Storage,
    server: FileServer,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(file_client, "_WAITS_S", (0.0,))
    server.close()
    put(here, {"a": "1", "b": "1"})
    TrialFileSender(str(here), home).send()
    (warning,) = caplog.messages
    assert "cannot be reached" in warning


def saving(config: dict[str, Any]) -> None:
    checkpoint = get_checkpoint()
    start = 0
    if checkpoint is not None:
        with checkpoint.as_directory() as folder:
            start = int(Path(folder, "n").read_text())
    for n in range(start + 1, start + 3):
        print("step", n)
        with Path("history").open("a") as file:
            file.write(f"{n} ")
        Path("mine").mkdir(exist_ok=True)
        Path("mine/n").write_text(str(n))
        report({"n": n}, checkpoint=Checkpoint.from_directory("mine"))
        last = get_checkpoint()
        assert last is not None
        assert last.path.endswith(f"checkpoint_{n - 1:06d}")
        if n == config.get("die"):
            os.kill(os.getpid(), signal.SIGKILL)
    if config.get("fail"):
        raise ValueError("as asked for")


class Counting(Trainable):
    def setup(self, config: dict[str, Any]) -> None:
        self.n = 0

    def step(self) -> dict[str, Any]:
        self.n += 1
        Path("history").write_text(str(self.n))
        return {"n": self.n, "done": self.n == 3}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        Path(checkpoint_dir, "n").write_text(str(self.n))

    def load_checkpoint(self, checkpoint: str) -> None:
        self.n = int(Path(checkpoint, "n").read_text())


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_an_attempt_elsewhere_leaves_all_on_the_controllers_node(
    method: Any, here: Path, there: Path, home: Storage, tmp_path: Path
) -> None:
    executor = LocalExecutor(num_cpus=2, start_method=method)
    with Driver(executor, saving, tmp_path) as driver:
        fields = {
            "path": str(here),
            "stdout": str(here / "stdout"),
            "home": home,
            "upload_timeout_s": 20.0,
        }
        told = driver.run("t", **fields)
        assert kinds(told) == ["Reported", "Reported", "Finished"], told
        staged = [".checkpoint_000000.attempt1", ".checkpoint_000001.attempt1"]
        assert read(there) == {
            "stdout": "step 1\nstep 2\n",
            "history": "1 2 ",
            "mine/n": "2",
            f"{staged[0]}/n": "1",
            f"{staged[1]}/n": "2",
        }
        for name in staged:
            os.rename(there / name, there / name[1:18])
        told = driver.run(
            "t",
            **fields | {"path": str(tmp_path / "other"), "stdout": str(tmp_path / "other/stdout")},
            attempt=2,
            next_checkpoint=2,
            checkpoint=home.checkpoint("checkpoint_000001"),
            config={"fail": True},
        )
    assert kinds(told) == ["Reported", "Reported", "Failed"], told
    assert read(there)["history"] == "1 2 3 4 "
    assert read(there)["stdout"] == "step 1\nstep 2\nstep 3\nstep 4\n"
    assert read(there)[".checkpoint_000003.attempt2/n"] == "4"


def test_what_a_class_saves_is_sent(here: Path, there: Path, home: Storage, tmp_path: Path) -> None:
    with Driver(LocalExecutor(num_cpus=2), Counting, tmp_path) as driver:
        told = driver.run(
            "t",
            path=str(here),
            home=home,
            upload_timeout_s=20.0,
            checkpoint_frequency=2,
            checkpoint_at_end=True,
        )
        assert isinstance(told[-1], Finished), told
    assert read(there) == {
        "history": "3",
        ".checkpoint_000000.attempt1/n": "2",
        ".checkpoint_000001.attempt1/n": "3",
    }
    assert read(here) == {"history": "3"}


def test_a_worker_that_is_killed_has_sent_what_it_had_at_its_last_checkpoint(
    here: Path, there: Path, home: Storage, tmp_path: Path
) -> None:
    with Driver(LocalExecutor(num_cpus=2), saving, tmp_path) as driver:
        told = driver.run("t", path=str(here), home=home, upload_timeout_s=20.0, config={"die": 1})
    assert isinstance(told[-1], Failed), told
    assert read(there) == {"history": "1 ", "mine/n": "1", ".checkpoint_000000.attempt1/n": "1"}
