"""What executors of processes share."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from tuner.execution.executor import Job
from tuner.execution.process_executor import Needs, ProcessExecutor


class WithoutProcesses(ProcessExecutor):
    def _open(self) -> None:
        pass

    def _close(self) -> None:
        pass


def test_a_late_wake_reaches_nothing_else(tmp_path: Path) -> None:
    """Descriptors are used again at once; another thread may still be about to write."""
    executor = WithoutProcesses()
    is_over = threading.Event()
    errors: list[BaseException] = []

    def disturb() -> None:
        try:
            while not is_over.is_set():
                executor.wake()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=disturb)
    thread.start()
    path = tmp_path / "journal"
    for _ in range(1000):
        executor.start(Job(None, "none", lambda *_: None, lambda _: None, str(tmp_path)))
        executor.shutdown()
        fds = [os.open(path, os.O_WRONLY | os.O_CREAT) for _ in range(4)]
        for fd in fds:
            os.close(fd)
    is_over.set()
    thread.join()
    assert errors == []
    assert path.stat().st_size == 0


def test_a_wake_ends_a_wait(tmp_path: Path) -> None:
    executor = WithoutProcesses()
    executor.start(Job(None, "none", lambda *_: None, lambda _: None, str(tmp_path)))
    thread = threading.Thread(target=executor.wake)
    thread.start()
    assert executor.wait(60.0) == []
    thread.join()
    executor.shutdown()
    executor.wake()


def test_needs_are_readable() -> None:
    wanted = Needs("PACK", ((("CPU", 1.0),), (("CPU", 2.0), ("GPU", 0.5))))
    assert str(wanted) == "{CPU: 1} + {CPU: 2, GPU: 0.5}"
    assert wanted.bundles == [{"CPU": 1.0}, {"CPU": 2.0, "GPU": 0.5}]
