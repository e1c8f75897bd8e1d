"""The local executor: worker processes on this machine."""

from __future__ import annotations

import dataclasses
import logging
import math
import os
import socket
import sys
import time
from typing import Any, Literal

from tuner.bundles import sum_bundles
from tuner.errors import ConfigError
from tuner.execution import machine
from tuner.execution.gpus import GpuPool
from tuner.execution.launchers import (
    ForkIsUnsafe,
    ForkLauncher,
    Launcher,
    SpawnLauncher,
    WorkerSetup,
)
from tuner.execution.payload import pickle_trainable, write_payload
from tuner.execution.process_executor import ProcessExecutor, Worker
from tuner.execution.protocol import Assignment, run_frame
from tuner.experiment.events import CapacityChanged, Stimulus
from tuner.validation import check_number, reject

logger = logging.getLogger(__name__)


class LocalExecutor(ProcessExecutor):
    """Runs trials in processes of this machine.

    Args:
        num_cpus: CPUs to share out; by default those that this process may use.
        num_gpus: GPUs to share out; by default those that are visible.
        resources: Custom resources to share out, such as `{"license": 2}`.
        start_method: `"fork"` forks workers from a warm server; `"spawn"` starts a fresh
            interpreter for each. By default `"fork"` on Linux, unless it is found to be unsafe.

    Raises:
        ConfigError: an amount is negative, or the start method unknown.

    Example:
        >>> LocalExecutor(num_cpus=4, resources={"license": 1}).total
        {'CPU': 4.0, 'GPU': 0.0, 'license': 1.0}
    """

    def __init__(
        self,
        *,
        num_cpus: float | None = None,
        num_gpus: float | None = None,
        resources: dict[str, float] | None = None,
        start_method: Literal["fork", "spawn"] | None = None,
    ) -> None:
        if start_method not in (None, "fork", "spawn"):
            raise ConfigError(
                f"LocalExecutor: start_method={start_method!r} must be 'fork' or 'spawn'"
            )
        _check_amounts(num_cpus, num_gpus, resources)
        self._gpu_ids = machine.gpu_ids() if num_gpus != 0 else []
        if num_gpus is not None and num_gpus > len(self._gpu_ids):
            self._gpu_ids = [str(index) for index in range(math.ceil(num_gpus))]
        self.total: dict[str, float] = {
            "CPU": float(machine.num_cpus() if num_cpus is None else num_cpus),
            "GPU": float(len(self._gpu_ids) if num_gpus is None else num_gpus),
            **{name: float(amount) for name, amount in (resources or {}).items()},
        }
        default = "fork" if sys.platform == "linux" else "spawn"
        self._start_method = start_method or default

    def __getstate__(self) -> dict[str, Any]:
        """Only what was configured: a running executor does not travel."""
        return {name: self.__dict__[name] for name in ("_gpu_ids", "total", "_start_method")}

    def _open(self) -> None:
        self._payload = write_payload(pickle_trainable(self._job.trainable, self._job.name))
        self._setup = WorkerSetup.of_this_process(self._job.modules)
        self._gpus = GpuPool(self._gpu_ids)
        self._waiting.append(CapacityChanged(time=time.time(), resources=self.total))
        self._launcher = self._new_launcher()

    def _close(self) -> None:
        try:
            self._launcher.close()
        finally:
            os.close(self._payload)

    def _new_launcher(self) -> Launcher:
        if self._start_method == "spawn":
            return SpawnLauncher(self._payload, self._selector, self._setup)
        return ForkLauncher(self._payload, self._selector, self._setup)

    def _new_worker(self, assignment: Assignment) -> Worker | None:
        """A new worker, None if free GPUs lie in pieces that are too small for it."""
        amounts = sum_bundles(assignment.bundles)
        shares = self._gpus.take(amounts.get("GPU", 0.0))
        if shares is None:  # idle workers hold what this trial needs: it waits for their ends
            for idle in [worker for worker in self._idle if worker.shares]:
                self._dismiss(idle)
            return None
        worker = self._add_worker(shares)
        self._start_process(worker)
        return worker

    def _start_process(self, worker: Worker) -> None:
        ours, theirs = socket.socketpair()
        output, remote_output = os.pipe()
        worker.line.connect(ours)
        worker.line.connect_output(output)
        with theirs:
            self._launcher.launch(worker.worker_id, theirs, remote_output)
        os.close(remote_output)

    def _fitted(self, assignment: Assignment, worker: Worker) -> Assignment:
        environ = {**assignment.environ, "CUDA_VISIBLE_DEVICES": ",".join(worker.shares)}
        return dataclasses.replace(assignment, environ=environ)

    def _kill(self, worker: Worker, signum: int) -> None:
        self._launcher.kill(worker.worker_id, signum)

    def _on_ready(self, ready: set[int], now: float, stimuli: list[Stimulus]) -> None:
        try:
            exits = self._launcher.exits(ready)
        except ForkIsUnsafe as error:
            logger.info("workers are started by exec: %s", error)
            self._fall_back_to_spawn()
            return
        for ended in exits:
            self._on_exit(ended, now, stimuli)

    def _release(self, worker: Worker) -> None:
        self._gpus.give_back(worker.shares)

    def _fall_back_to_spawn(self) -> None:
        self._launcher.close()
        self._start_method = "spawn"
        self._launcher = self._new_launcher()
        for worker in list(self._workers.values()):
            worker.line.close()
            worker.line = self._new_line(worker.worker_id)
            self._start_process(worker)
            if worker.assignment is not None:
                worker.line.send(run_frame(worker.assignment))


def _check_amounts(
    num_cpus: float | None, num_gpus: float | None, resources: dict[str, float] | None
) -> None:
    fix = "use a number >= 0"
    for field, amount in (("num_cpus", num_cpus), ("num_gpus", num_gpus)):
        if amount is not None:
            check_number("LocalExecutor", field, amount, fix, least=0)
    if not isinstance(resources, dict | None):
        reject("LocalExecutor", "resources", resources, 'use a dictionary such as {"license": 2}')
    for name, amount in (resources or {}).items():
        if name.upper() in ("CPU", "GPU"):
            reject(
                "LocalExecutor", "resources", resources, "give num_cpus=… and num_gpus=… instead"
            )
        check_number("LocalExecutor", f"resources[{name!r}]", amount, fix, least=0)
