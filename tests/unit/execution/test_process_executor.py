"""What executors of processes share."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

import pytest

from tuner.execution.executor import Job
from tuner.execution.process_executor import Needs, ProcessExecutor, Worker
from tuner.execution.protocol import Assignment
from tuner.experiment.events import Stimulus


class WithoutProcesses(ProcessExecutor):
    def _open(self) -> None:
        pass

    def _close(self) -> None:
        pass

    def _on_ready(self, ready: set[int], now: float, stimuli: list[Stimulus]) -> None:
        pass

    def _new_worker(self, assignment: Assignment) -> Worker | None:
        return None

    def _fitted(self, assignment: Assignment, worker: Worker) -> Assignment:
        return assignment

    def _kill(self, worker: Worker, signum: int) -> None:
        pass

    def _release(self, worker: Worker) -> None:
        pass


def test_a_late_wake_reaches_nothing_else(tmp_path: Path) -> None:
    """Numbers of descriptors are used again at once, while another thread may be about to write."""
    executor = WithoutProcesses()
    executor.start(Job(None, "none", lambda *_: None, lambda _: None, str(tmp_path)))
    waker = executor._waker  # as `wake` takes it in that thread
    assert waker is not None
    executor.shutdown()
    path = tmp_path / "journal"
    fds = [os.open(path, os.O_WRONLY | os.O_CREAT) for _ in range(8)]
    assert waker.fileno() not in fds
    with pytest.raises(BrokenPipeError):
        waker.send(b"x")
    executor.wake()
    for fd in fds:
        os.close(fd)
    assert path.stat().st_size == 0


class Forgetting(WithoutProcesses):
    """Forgets a worker as soon as it says anything."""

    def _on_message(self, worker: Worker, now: float, stimuli: list[Stimulus]) -> bool:
        self._forget(worker)
        return False

    def _on_output(self, worker: Worker) -> bool:
        self._forget(worker)
        return False


def test_a_connection_that_was_closed_by_what_came_just_before_is_passed_over(
    tmp_path: Path,
) -> None:
    executor = Forgetting()
    executor.start(Job(None, "none", lambda *_: None, lambda _: None, str(tmp_path)))
    worker = executor._add_worker({})
    (line, its_line), (output, its_output) = socket.socketpair(), socket.socketpair()
    with its_line, its_output:
        worker.line.connect(line)
        worker.line.connect_output(output.detach())
        its_line.send(b"x")
        its_output.send(b"x")
        executor.wait(5.0)
    assert worker.worker_id not in executor._workers
    executor.shutdown()


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
