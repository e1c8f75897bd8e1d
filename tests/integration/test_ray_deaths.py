"""Processes of a Ray cluster that die while a trial runs there: a failure, tried again or told."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from fit_helpers import fit, wait_until
from ray_clusters import RayCluster
from ray_helpers import (
    PATIENCE_S,
    assert_complete,
    attempts,
    fit_meanwhile,
    num_halfway,
    saved_steps,
    wait_for,
    wait_until_gone,
)

import tuner as tune

STEPS = 6
_SYS_PIDFD_GETFD = 438
_MIB = 1024 * 1024


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[RayCluster]:
    with RayCluster() as cluster:
        cluster.add_node()
        yield cluster


def worker(pid: int) -> psutil.Process:
    """The process that runs a trial: forked, or the actor."""
    return psutil.Process(pid)


def fork_server(pid: int) -> psutil.Process:
    server = psutil.Process(pid).parent()
    assert server is not None
    assert "tuner.execution.forkserver" in " ".join(server.cmdline())
    return server


def actor(pid: int) -> psutil.Process:
    found = fork_server(pid).parent()
    assert found is not None
    assert "ray::" in found.cmdline()[0]
    return found


VICTIMS: dict[str, tuple[bool, Callable[[int], psutil.Process], str]] = {
    "worker": (False, worker, "killed by SIGKILL"),
    "fork server": (False, fork_server, "the fork server ended with exit code -9"),
    "actor with a fork server": (False, actor, "died"),
    "actor that runs the trial": (True, worker, "died"),
}


@pytest.mark.parametrize(
    ("name", "max_failures"),
    [*((name, 1) for name in VICTIMS), ("worker", 0), ("actor that runs the trial", 0)],
)
def test_a_killed_process_is_a_failure_of_its_trial(
    name: str, max_failures: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuner.execution.ray._REASON_WITHIN_S", PATIENCE_S)
    uses_ray, victim, expected = VICTIMS[name]
    gate = tmp_path / "gate"
    running = fit_meanwhile(
        saved_steps,
        tmp_path,
        space={"gate": str(gate), "steps": STEPS},
        num_samples=2,
        run={
            "executor": tune.RayExecutor(uses_ray=uses_ray),
            "failure_config": tune.FailureConfig(max_failures=max_failures),
        },
    )
    wait_until(lambda: num_halfway(gate) == 1, PATIENCE_S)
    trial, pid, _, _ = attempts(gate)[0]
    victim(pid).send_signal(signal.SIGKILL)
    wait_until_gone(pid)  # as a trial that outlives its actor for a moment may end well
    gate.touch()
    grid = running.result(PATIENCE_S)
    failed, other = grid
    assert_complete(other, STEPS)
    assert expected in Path(failed.path, "error.txt").read_text()
    if max_failures:
        assert_complete(failed, STEPS)
        assert [start for name, _, _, start in attempts(gate) if name == trial] == [0, 3]
    else:
        assert failed.status == "ERROR"
        assert expected in str(failed.error)
    wait_until_gone(*(pid for _, pid, _, _ in attempts(gate)))


def listener_port(pid: int) -> int:
    """Where a worker with a fork server, which has no other connections, is connected to."""
    return int(psutil.Process(pid).net_connections("tcp")[0].raddr.port)


def cut(process: psutil.Process, port: int) -> None:
    """Breaks the connections of another process to a port, as a failing network does."""
    libc = ctypes.CDLL(None, use_errno=True)
    holder = os.pidfd_open(process.pid)
    for connection in process.net_connections("tcp"):
        if connection.raddr and connection.raddr.port == port:
            fd = libc.syscall(_SYS_PIDFD_GETFD, holder, connection.fd, 0)
            assert fd >= 0, os.strerror(ctypes.get_errno())
            with socket.socket(fileno=fd) as sock:
                sock.shutdown(socket.SHUT_RDWR)
    os.close(holder)


@pytest.mark.parametrize(("end", "max_failures"), [(worker, 1), (actor, 0)])
def test_a_trial_whose_connection_breaks_is_tried_again(
    end: Callable[[int], psutil.Process], max_failures: int, tmp_path: Path
) -> None:
    """Here the trial says no more, so it cannot notice by itself."""
    gate = tmp_path / "gate"
    running = fit_meanwhile(
        saved_steps,
        tmp_path,
        space={"gate": str(gate), "steps": STEPS},
        run={"failure_config": tune.FailureConfig(max_failures=max_failures)},
    )
    wait_until(lambda: num_halfway(gate) == 1, PATIENCE_S)
    pid = attempts(gate)[0][1]
    cut(end(pid), listener_port(pid))
    wait_until(lambda: num_halfway(gate) == 2, PATIENCE_S)
    gate.touch()
    (result,) = running.result(PATIENCE_S)
    assert_complete(result, STEPS)
    assert [start for _, _, _, start in attempts(gate)] == [0, 3]
    wait_until_gone(*(pid for _, pid, _, _ in attempts(gate)))


def fill_memory(config: dict[str, Any]) -> None:
    """At the first attempt, takes more and more memory until it is killed."""
    if tune.get_checkpoint() is None:
        with tempfile.TemporaryDirectory() as folder:
            kept = tune.Checkpoint.from_directory(folder)
            tune.report({"i": 0}, checkpoint=kept)
        taken = [b"x" * 16 * _MIB for _ in range(config["most"] // _MIB // 16)]
        wait_for(Path(config["never"]))
        taken.clear()
    tune.report({"i": 1})


def test_a_trial_that_ray_kills_for_want_of_memory_is_a_failure(
    cluster: RayCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = psutil.virtual_memory()
    room = memory.available // 4  # so much that other processes cannot use it up meanwhile
    threshold = (memory.total - memory.available + room) / memory.total
    monkeypatch.setenv("RAY_memory_usage_threshold", f"{threshold:.3f}")
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "100")
    cluster.add_node(resources={"tight": 1})
    (result,) = fit(
        tune.with_resources(fill_memory, {"tight": 1}),
        tmp_path,
        space={"most": 2 * room, "never": str(tmp_path / "never")},
        run={"failure_config": tune.FailureConfig(max_failures=3)},
    )
    assert_complete(result, 2)
    assert "low on memory" in Path(result.path, "error.txt").read_text()
