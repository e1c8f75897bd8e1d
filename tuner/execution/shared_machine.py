"""A machine that several experiments use at the same time, each with an executor of its own."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, NamedTuple

from tuner.bundles import sum_bundles
from tuner.execution.gpus import GpuPool
from tuner.execution.local import LocalExecutor
from tuner.execution.process_executor import Worker
from tuner.execution.protocol import Assignment
from tuner.experiment.capacity import Capacity
from tuner.experiment.events import Stimulus


class Attempt(NamedTuple):
    """What holds resources, or waits for them."""

    executor: SharingExecutor
    trial_id: str
    attempt: int


class SharedMachine:
    """Gives out what a machine has; who came first is served first, whichever experiment it is of.

    Its methods may be called from any thread.

    Args:
        total: The amounts that there are.
        gpu_ids: The GPUs among them.

    Attributes:
        lock: Held while GPUs are taken or given back.
        gpus: Which of them are free.
    """

    def __init__(self, total: Mapping[str, float], gpu_ids: list[str]) -> None:
        self.lock = threading.RLock()
        self.gpus = GpuPool(gpu_ids)
        self._capacity = Capacity(total)
        self._held: dict[Attempt, dict[str, float]] = {}
        self._queue: dict[Attempt, dict[str, float]] = {}
        self._executors: set[SharingExecutor] = set()

    def join(self, executor: SharingExecutor) -> None:
        """An executor begins to use the machine."""
        with self.lock:
            self._executors.add(executor)

    def leave(self, executor: SharingExecutor) -> None:
        """An executor uses nothing any more."""
        with self.lock:
            self._executors.discard(executor)
            for attempt in [*self._held, *self._queue]:
                if attempt.executor is executor:
                    self.give_back(attempt)

    def take(self, attempt: Attempt, amounts: dict[str, float]) -> bool:
        """Whether an attempt has its resources; if not, it has to ask again when it is woken."""
        with self.lock:
            if attempt in self._held:
                return True
            self._queue.setdefault(attempt, amounts)
            if next(iter(self._queue)) != attempt or not self._capacity.fits([amounts]):
                return False
            self._held[attempt] = self._queue.pop(attempt)
            self._capacity.take([amounts])
            self._wake_next()
            return True

    def give_back(self, attempt: Attempt) -> None:
        """Takes back what an attempt has, or its place in the queue."""
        with self.lock:
            self._queue.pop(attempt, None)
            amounts = self._held.pop(attempt, None)
            if amounts is not None:
                self._capacity.give_back([amounts])
            self._wake_next()

    def others(self, executor: SharingExecutor) -> list[SharingExecutor]:
        """The other executors."""
        with self.lock:
            return [each for each in self._executors if each is not executor]

    def _wake_next(self) -> None:
        if self._queue:
            next(iter(self._queue)).executor.wake()


class SharingExecutor(LocalExecutor):
    """A local executor that takes what it gives to trials from a machine that others use, too.

    Args:
        machine: What they share; None for the first of them.
    """

    def __init__(self, machine: SharedMachine | None = None) -> None:
        super().__init__()
        self.machine = machine or SharedMachine(self.total, self._gpu_ids)
        self._is_to_free_gpus = False

    def __reduce__(self) -> tuple[Any, ...]:
        """A restored experiment runs alone."""
        return LocalExecutor, ()

    def launch(self, assignment: Assignment) -> None:
        """Gives the assignment to a worker, or holds it until its resources are free."""
        attempt = Attempt(self, assignment.trial_id, assignment.attempt)
        if self.machine.take(attempt, sum_bundles(assignment.bundles)):
            super().launch(assignment)
        else:
            self._held.append(assignment)

    def end(self, trial_id: str, attempt: int) -> None:
        """Ends an attempt, or gives up its place in the queue."""
        is_held = any((each.trial_id, each.attempt) == (trial_id, attempt) for each in self._held)
        super().end(trial_id, attempt)
        if is_held:
            self.machine.give_back(Attempt(self, trial_id, attempt))

    def wait(self, timeout: float | None) -> list[Stimulus]:
        """Waits for news of workers, or for resources that other experiments give back."""
        stimuli = super().wait(timeout)
        if self._is_to_free_gpus:
            self._is_to_free_gpus = False
            for idle in [worker for worker in self._idle if worker.shares]:
                self._dismiss(idle)
        if self._held:
            self._launch_held()
        return stimuli

    def shutdown(self) -> None:
        """Ends everything and leaves the machine to the others."""
        try:
            super().shutdown()
        finally:
            self.machine.leave(self)

    def free_gpus(self) -> None:
        """Has idle workers with GPUs sent away; called from another thread."""
        self._is_to_free_gpus = True
        self.wake()

    def _open(self) -> None:
        super()._open()
        self._gpus = self.machine.gpus
        self.machine.join(self)

    def _new_worker(self, assignment: Assignment) -> Worker | None:
        with self.machine.lock:
            worker = super()._new_worker(assignment)
        if worker is None:
            for other in self.machine.others(self):
                other.free_gpus()
        return worker

    def _conclude(self, worker: Worker, now: float, stimuli: list[Stimulus]) -> None:
        super()._conclude(worker, now, stimuli)
        if worker.assignment is not None:
            ended = worker.assignment
            self.machine.give_back(Attempt(self, ended.trial_id, ended.attempt))

    def _release(self, worker: Worker) -> None:
        with self.machine.lock:
            super()._release(worker)
        if worker.shares:
            for other in self.machine.others(self):
                other.wake()
