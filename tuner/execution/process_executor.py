"""What executors have in common that run trials in processes: everything but starting these."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import selectors
import signal
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from tuner import codec
from tuner.bundles import Bundle
from tuner.errors import TrainableError
from tuner.execution.clock import Clock, WallClock
from tuner.execution.executor import Job
from tuner.execution.launchers import WorkerExit
from tuner.execution.protocol import (
    ANSWER,
    DONE,
    ERROR,
    EXIT,
    INTERRUPTED,
    RESULT,
    SAVED,
    Assignment,
    error_body,
    frame,
    parse_error,
    parse_result,
    run_frame,
)
from tuner.execution.worker_line import WorkerLine
from tuner.experiment.events import (
    Failed,
    Finished,
    Reported,
    Saved,
    Stimulus,
)

logger = logging.getLogger(__name__)

GRACE_VARIABLE = "TUNER_STOP_GRACE_S"
_PATIENCE = 10  # grace periods for what was told to end and says no more: it may be saving


class Needs(NamedTuple):
    """The resources of a trial, as a value that can be a key."""

    strategy: str
    items: tuple[tuple[tuple[str, float], ...], ...]

    @property
    def bundles(self) -> list[Bundle]:
        """One dictionary per bundle."""
        return [dict(each) for each in self.items]

    def __str__(self) -> str:
        bundles = [{name: f"{amount:g}" for name, amount in each} for each in self.items]
        return " + ".join(map(str, bundles)).replace("'", "")


@dataclass(slots=True, eq=False)
class Worker:
    """A worker process, as the executor knows it.

    Attributes:
        worker_id: What the launcher calls it.
        shares: Its GPUs, by id.
        line: What it is spoken to by.
        assignment: What it runs, or ran last.
        outcome: The frame that told how that ended, None before.
        told_at: Monotonic time at which it was told to end, 0 if it was not.
        signal_at: Monotonic time of the next signal, if it is to be ended.
        signal: That signal.
        was_signalled: Whether it got one.
        is_lost: Whether it went with its machine.
    """

    worker_id: int
    shares: dict[str, float]
    line: WorkerLine
    assignment: Assignment | None = None
    outcome: tuple[int, bytes] | None = None
    told_at: float = 0.0
    signal_at: float = 0.0
    signal: int = signal.SIGTERM
    was_signalled: bool = False
    is_lost: bool = False

    def can_take(self, assignment: Assignment) -> bool:
        """Whether it is there, with the resources that a trial needs."""
        last = self.assignment
        return self.line.is_open and last is not None and needs(last) == needs(assignment)


class ProcessExecutor(ABC):
    """Talks to worker processes; a subclass says how they are started, and what they may use."""

    max_running: int | None = None
    clock: Clock = WallClock()
    logs_by_default = True
    absent: Mapping[str, float] = MappingProxyType({})
    _waker: socket.socket | None = None  # nothing runs

    def start(self, job: Job) -> None:
        """Gets ready to start workers; they follow when they are needed."""
        self._job = job
        self._grace_s = float(os.environ.get(GRACE_VARIABLE, "3"))
        self._workers: dict[int, Worker] = {}
        self._by_trial: dict[str, Worker] = {}
        self._idle: list[Worker] = []
        self._ending: dict[int, Worker] = {}
        self._held: list[Assignment] = []  # no worker can be started for them at the moment
        self._waiting: list[Stimulus] = []
        self._next_id = 0
        self._selector = selectors.DefaultSelector()
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self._waker.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ)
        try:
            self._open()
        except BaseException:
            self._selector.close()
            self._close_waker()
            raise

    def launch(self, assignment: Assignment) -> None:
        """Gives the assignment to an idle worker with the same resources, or to a new one."""
        worker = self._take_idle(assignment) or self._new_worker(assignment)
        if worker is None:
            self._held.append(assignment)
            return
        assignment = self._fitted(assignment, worker)
        worker.assignment = assignment
        worker.outcome = None
        worker.told_at = 0.0
        worker.was_signalled = False
        self._by_trial[assignment.trial_id] = worker
        worker.line.send(run_frame(assignment))

    def waiting(self) -> Sequence[Assignment]:
        """Attempts that were launched and have no worker yet."""
        return self._held

    def answer(self, trial_id: str, attempt: int, decision: str) -> None:
        """Answers the report that an attempt waits for."""
        worker = self._worker_of(trial_id, attempt)
        if worker is None:
            return
        worker.line.send(frame(ANSWER, decision.encode()))
        if decision in ("PAUSE", "STOP"):
            worker.told_at = time.monotonic()
            self._end_within(worker, _PATIENCE * self._grace_s)

    def end(self, trial_id: str, attempt: int) -> None:
        """Ends an attempt: at its next report, by SIGTERM after the grace period, or by SIGKILL."""
        for assignment in self._held:
            if (assignment.trial_id, assignment.attempt) == (trial_id, attempt):
                self._held.remove(assignment)
                now = time.time()
                self._waiting.append(Finished(now, trial_id, attempt, interrupted=True))
                return
        worker = self._worker_of(trial_id, attempt)
        if worker is not None:
            worker.told_at = worker.told_at or time.monotonic()
            self._end_within(worker, self._grace_s)

    def wait(self, timeout: float | None) -> list[Stimulus]:
        """Waits for messages of workers, for their ends, or until one is to be signalled."""
        stimuli, self._waiting = self._waiting, []
        if stimuli:
            timeout = 0
        else:
            left = self._due() - time.monotonic()
            if timeout is None or left < timeout:
                timeout = None if left == math.inf else max(0.0, left)
        ready: set[int] = set()
        now = 0.0
        registered = self._selector.get_map()
        for key, _ in self._selector.select(timeout):
            if registered.get(key.fd) is not key:
                continue  # what came before it has closed it
            now = now or time.time()
            if key.data is None:
                ready.add(key.fd)
            else:
                key.data(now, stimuli)
        if ready:
            if self._woken.fileno() in ready:
                self._woken.recv(4096)
            self._on_ready(ready, time.time(), stimuli)
        if self._ending:
            self._signal_overdue()
        return stimuli

    def wake(self) -> None:
        """Makes `wait` return."""
        waker = self._waker
        if waker is not None:
            with contextlib.suppress(BlockingIOError, BrokenPipeError):
                waker.send(b"x")

    def shutdown(self) -> None:
        """Lets idle workers leave and kills those that are busy."""
        self._held.clear()
        with contextlib.ExitStack() as last:  # from the last line to the first, whatever fails
            last.callback(self._close_waker)
            last.callback(self._selector.close)
            last.callback(self._forget_all)
            last.callback(self._close)
            for worker in self._idle:
                worker.line.send(frame(EXIT))
            self._await_idle()

    # What a subclass says

    @abstractmethod
    def _open(self) -> None:
        """Gets ready; called once, before anything else of these."""

    @abstractmethod
    def _close(self) -> None:
        """Ends all workers, at once, and frees what was held for them."""

    @abstractmethod
    def _new_worker(self, assignment: Assignment) -> Worker | None:
        """A new worker; None if the assignment has to be held, until `_launch_held`."""

    @abstractmethod
    def _fitted(self, assignment: Assignment, worker: Worker) -> Assignment:
        """The assignment as this worker needs it."""

    @abstractmethod
    def _kill(self, worker: Worker, signum: int) -> None:
        """Signals a worker and the processes that it has started."""

    @abstractmethod
    def _on_ready(self, ready: set[int], now: float, stimuli: list[Stimulus]) -> None:
        """Takes in what there is to read on descriptors of its own."""

    @abstractmethod
    def _release(self, worker: Worker) -> None:
        """Frees what a worker held; it is gone."""

    # Workers

    def _due(self) -> float:
        """The monotonic time at which `wait` has something to do, whatever is told until then."""
        return min((worker.signal_at for worker in self._ending.values()), default=math.inf)

    def _add_worker(self, shares: dict[str, float]) -> Worker:
        """A worker that is to be connected yet."""
        worker_id = self._next_id
        self._next_id += 1
        self._workers[worker_id] = worker = Worker(worker_id, shares, self._new_line(worker_id))
        return worker

    def _new_line(self, worker_id: int) -> WorkerLine:
        return WorkerLine(
            self._selector,
            lambda now, stimuli: self._on_message(self._workers[worker_id], now, stimuli),
            lambda now, stimuli: self._on_output(self._workers[worker_id]),
        )

    def _take_idle(self, assignment: Assignment) -> Worker | None:
        for index, worker in enumerate(self._idle):
            if worker.can_take(assignment):
                return self._idle.pop(index)
        return None

    def _launch_held(self) -> None:
        held, self._held = self._held, []
        for assignment in held:
            self.launch(assignment)

    def _dismiss(self, worker: Worker) -> None:
        """Sends an idle worker away; its GPUs are free as soon as it is gone."""
        self._idle.remove(worker)
        worker.line.send(frame(EXIT))
        self._end_by(worker, time.monotonic() + self._grace_s, signal.SIGKILL)

    def _worker_of(self, trial_id: str, attempt: int) -> Worker | None:
        worker = self._by_trial.get(trial_id)
        if worker is None or worker.assignment is None or worker.assignment.attempt != attempt:
            return None
        return worker

    def _forget(self, worker: Worker) -> None:
        del self._workers[worker.worker_id]
        self._ending.pop(worker.worker_id, None)
        self._release(worker)
        worker.line.close()

    # What happens

    def _on_message(self, worker: Worker, now: float, stimuli: list[Stimulus]) -> bool:
        """Takes in what a worker has sent; whether there may be more."""
        frames = worker.line.receive()
        if frames is None:
            return False
        for kind, body in frames:
            assignment = worker.assignment
            if assignment is None:
                continue
            trial_id, attempt = assignment.trial_id, assignment.attempt
            if kind == RESULT:
                raw, checkpoint = parse_result(body)
                result = codec.decode(raw)
                stimuli.append(Reported(now, trial_id, attempt, result, raw, checkpoint))
            elif kind == SAVED:
                stimuli.append(Saved(now, trial_id, attempt, body.decode()))
            elif kind in (DONE, ERROR):
                if body == INTERRUPTED and not (worker.told_at or worker.was_signalled):
                    kind, body = ERROR, error_body("the trial was ended by a SIGTERM from outside")
                worker.outcome = (kind, body)
                self._on_end(worker, now, stimuli)
        return True

    def _on_output(self, worker: Worker) -> bool:
        """Passes on what a worker's trial has printed; whether there may be more."""
        data = worker.line.read_output()
        if data is None:
            return False
        if worker.assignment is not None:
            self._job.on_output(worker.assignment.trial_id, data)
        return True

    def _on_end(self, worker: Worker, now: float, stimuli: list[Stimulus]) -> None:
        """An attempt is over: its worker waits for another one, or leaves if this one failed."""
        ending = self._ending.pop(worker.worker_id, None)
        signalled = ending is not None and ending.signal == signal.SIGKILL
        failed = worker.outcome is not None and worker.outcome[0] == ERROR
        assignment = worker.assignment
        if assignment is None or not assignment.keep_worker:
            self._end_by(worker, time.monotonic() + self._grace_s, signal.SIGKILL)
        elif failed or signalled:
            worker.line.send(frame(EXIT))
            self._end_by(worker, time.monotonic() + self._grace_s, signal.SIGKILL)
        else:
            self._idle.append(worker)
            self._conclude(worker, now, stimuli)
            self._launch_held()

    def _conclude(self, worker: Worker, now: float, stimuli: list[Stimulus]) -> None:
        """Tells how the worker's attempt ended."""
        assignment = worker.assignment
        if assignment is None or self._by_trial.get(assignment.trial_id) is not worker:
            return
        del self._by_trial[assignment.trial_id]
        if worker.outcome is None or worker.outcome[0] == ERROR:
            text, cause = ("", None) if worker.outcome is None else parse_error(worker.outcome[1])
            attempt = assignment.attempt
            stimuli.append(
                Failed(now, assignment.trial_id, attempt, text, cause, is_lost=worker.is_lost)
            )
        else:
            interrupted = worker.outcome[1] == INTERRUPTED
            stimuli.append(Finished(now, assignment.trial_id, assignment.attempt, interrupted))

    def _on_exit(self, ended: WorkerExit, now: float, stimuli: list[Stimulus]) -> None:
        worker = self._workers.get(ended.worker_id)
        if worker is None:
            return
        while self._on_message(worker, now, stimuli):
            pass
        while self._on_output(worker):
            pass
        if worker.outcome is None:
            worker.outcome = self._outcome_of(worker, ended)
            worker.is_lost = ended.is_lost
        if worker in self._idle:
            self._idle.remove(worker)
        self._conclude(worker, now, stimuli)
        self._forget(worker)
        self._launch_held()

    def _outcome_of(self, worker: Worker, ended: WorkerExit) -> tuple[int, bytes]:
        """How an attempt ended whose process is gone without a word."""
        if not worker.was_signalled or worker.assignment is None:
            return ERROR, error_body(ended.why or _describe_exit(ended.code))
        logger.warning(
            "%s was told to end, did not within %.1f s, %.1f s of them after SIGTERM, and was "
            "killed (%s=%g sets the latter)",
            worker.assignment.trial_name,
            time.monotonic() - worker.told_at,
            self._grace_s,
            GRACE_VARIABLE,
            self._grace_s,
        )
        return DONE, INTERRUPTED

    def _end_within(self, worker: Worker, seconds: float) -> None:
        """Has a worker signalled then, unless it will be earlier."""
        when = time.monotonic() + seconds
        if worker.worker_id not in self._ending or when < worker.signal_at:
            self._end_by(worker, when, signal.SIGTERM)

    def _end_by(self, worker: Worker, when: float, signum: int) -> None:
        worker.signal_at = when
        worker.signal = signum
        self._ending[worker.worker_id] = worker

    def _signal_overdue(self) -> None:
        now = time.monotonic()
        for worker in list(self._ending.values()):
            if worker.signal_at <= now:
                self._kill(worker, worker.signal)
                worker.was_signalled = True
                self._end_by(worker, now + self._grace_s, signal.SIGKILL)

    def _await_idle(self) -> None:
        """Gives idle workers the time to clean up."""
        deadline = time.monotonic() + self._grace_s
        idle = {worker.worker_id for worker in self._idle}
        with contextlib.suppress(TrainableError):  # the fork server is gone, and they with it
            while idle & self._workers.keys() and time.monotonic() < deadline:
                self.wait(deadline - time.monotonic())

    def _forget_all(self) -> None:
        for worker in list(self._workers.values()):
            self._forget(worker)

    def _close_waker(self) -> None:
        self._waker = None  # another thread may be about to use it: it is closed by the last one
        self._woken.close()


def needs(assignment: Assignment) -> Needs:
    """What an assignment needs, to be compared with what another one has."""
    bundles = tuple(tuple(sorted(each.items())) for each in assignment.bundles)
    return Needs(assignment.strategy, bundles)


def _describe_exit(code: int) -> str:
    if code >= 0:
        return f"the worker process ended with exit code {code} before the trial was over"
    try:
        name = signal.Signals(-code).name
    except ValueError:  # one of the real-time signals
        name = f"signal {-code}"
    hint = "; the kernel kills so when memory runs out" if name == "SIGKILL" else ""
    return f"the worker process was killed by {name}{hint}"
