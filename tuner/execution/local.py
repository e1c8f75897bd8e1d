"""The local executor: worker processes on this machine."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
import os
import selectors
import signal
import sys
import time
from dataclasses import dataclass
from typing import Any, Literal

from tuner import codec
from tuner.bundles import sum_bundles
from tuner.errors import ConfigError, TrainableError
from tuner.execution import machine
from tuner.execution.clock import Clock, WallClock
from tuner.execution.executor import Job
from tuner.execution.gpus import GpuPool
from tuner.execution.launchers import (
    ForkIsUnsafe,
    ForkLauncher,
    Launcher,
    SpawnLauncher,
    WorkerExit,
)
from tuner.execution.payload import write_payload
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
    CapacityChanged,
    Failed,
    Finished,
    Reported,
    Saved,
    Stimulus,
)
from tuner.validation import check_number, reject

logger = logging.getLogger(__name__)

GRACE_VARIABLE = "TUNER_STOP_GRACE_S"
_PATIENCE = 10  # grace periods for what was told to end and says no more: it may be saving


class LocalExecutor:
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

    max_running: int | None = None
    clock: Clock = WallClock()
    logs_by_default = True
    _wake_write = -1  # nothing runs

    def start(self, job: Job) -> None:
        """Starts the fork server; workers follow when they are needed."""
        self._payload = write_payload(job.trainable, job.name)
        self._job = job
        self._grace_s = float(os.environ.get(GRACE_VARIABLE, "3"))
        self._gpus = GpuPool(self._gpu_ids)
        self._workers: dict[int, _Worker] = {}
        self._by_trial: dict[str, _Worker] = {}
        self._idle: list[_Worker] = []
        self._ending: dict[int, _Worker] = {}
        self._held: list[Assignment] = []  # their GPUs are free, but in pieces that are too small
        self._waiting: list[Stimulus] = [CapacityChanged(time=time.time(), resources=self.total)]
        self._next_id = 0
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_write, False)
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        self._launcher: Launcher = self._new_launcher()

    def launch(self, assignment: Assignment) -> None:
        """Gives the assignment to an idle worker with the same resources, or to a new one."""
        worker = self._take_idle(assignment) or self._new_worker(assignment)
        if worker is None:
            self._held.append(assignment)
            return
        environ = {**assignment.environ, "CUDA_VISIBLE_DEVICES": ",".join(worker.shares)}
        assignment = dataclasses.replace(assignment, environ=environ)
        worker.assignment = assignment
        worker.outcome = None
        worker.told_at = 0.0
        worker.was_signalled = False
        self._by_trial[assignment.trial_id] = worker
        worker.line.send(run_frame(assignment))

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
        elif self._ending:
            due = min(worker.signal_at for worker in self._ending.values()) - time.monotonic()
            timeout = max(0.0, due if timeout is None else min(due, timeout))
        ready: set[int] = set()
        now = 0.0
        for key, _ in self._selector.select(timeout):
            now = now or time.time()
            if key.data is None:
                ready.add(key.fd)
            else:
                key.data(now, stimuli)
        if ready:
            self._on_ready(ready, time.time(), stimuli)
        if self._ending:
            self._signal_overdue()
        return stimuli

    def wake(self) -> None:
        """Makes `wait` return."""
        if self._wake_write < 0:
            return
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake_write, b"x")

    def shutdown(self) -> None:
        """Lets idle workers leave, kills those that are busy, and the fork server."""
        self._held.clear()
        with contextlib.ExitStack() as last:  # from the last line to the first, whatever fails
            last.callback(os.close, self._payload)
            last.callback(self._close_pipe)
            last.callback(self._selector.close)
            last.callback(self._forget_all)
            last.callback(self._launcher.close)
            for worker in self._idle:
                worker.line.send(frame(EXIT))
            self._await_idle()

    # Workers

    def _new_launcher(self) -> Launcher:
        if self._start_method == "spawn":
            return SpawnLauncher(self._payload, self._selector)
        return ForkLauncher(self._payload, self._selector, self._job.modules)

    def _new_worker(self, assignment: Assignment) -> _Worker | None:
        """A new worker, None if free GPUs lie in pieces that are too small for it."""
        amounts = sum_bundles(assignment.bundles)
        shares = self._gpus.take(amounts.get("GPU", 0.0))
        if shares is None:  # idle workers hold what this trial needs: it waits for their ends
            for idle in [worker for worker in self._idle if worker.shares]:
                self._dismiss(idle)
            return None
        worker_id = self._next_id
        self._next_id += 1
        worker = _Worker(worker_id, shares, self._start_process(worker_id))
        self._workers[worker_id] = worker
        return worker

    def _start_process(self, worker_id: int) -> WorkerLine:
        line = WorkerLine(
            self._selector,
            lambda now, stimuli: self._on_message(self._workers[worker_id], now, stimuli),
            lambda now, stimuli: self._on_output(self._workers[worker_id]),
        )
        self._launcher.launch(worker_id, line.remote_socket, line.remote_output)
        line.close_remote()
        return line

    def _take_idle(self, assignment: Assignment) -> _Worker | None:
        for index, worker in enumerate(self._idle):
            if worker.can_take(assignment.bundles):
                return self._idle.pop(index)
        return None

    def _launch_held(self) -> None:
        held, self._held = self._held, []
        for assignment in held:
            self.launch(assignment)

    def _dismiss(self, worker: _Worker) -> None:
        """Sends an idle worker away; its GPUs are free as soon as it is gone."""
        self._idle.remove(worker)
        worker.line.send(frame(EXIT))
        self._end_by(worker, time.monotonic() + self._grace_s, signal.SIGKILL)

    def _worker_of(self, trial_id: str, attempt: int) -> _Worker | None:
        worker = self._by_trial.get(trial_id)
        if worker is None or worker.assignment is None or worker.assignment.attempt != attempt:
            return None
        return worker

    def _forget(self, worker: _Worker) -> None:
        del self._workers[worker.worker_id]
        self._ending.pop(worker.worker_id, None)
        self._gpus.give_back(worker.shares)
        worker.line.close()

    # What happens

    def _on_ready(self, ready: set[int], now: float, stimuli: list[Stimulus]) -> None:
        if self._wake_read in ready:
            os.read(self._wake_read, 4096)
        try:
            exits = self._launcher.exits(ready)
        except ForkIsUnsafe as error:
            logger.info("workers are started by exec: %s", error)
            self._fall_back_to_spawn()
            return
        for ended in exits:
            self._on_exit(ended, now, stimuli)

    def _fall_back_to_spawn(self) -> None:
        self._launcher.close()
        self._start_method = "spawn"
        self._launcher = self._new_launcher()
        for worker in list(self._workers.values()):
            worker.line.close()
            worker.line = self._start_process(worker.worker_id)
            if worker.assignment is not None:
                worker.line.send(run_frame(worker.assignment))

    def _on_message(self, worker: _Worker, now: float, stimuli: list[Stimulus]) -> bool:
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

    def _on_output(self, worker: _Worker) -> bool:
        """Passes on what a worker's trial has printed; whether there may be more."""
        data = worker.line.read_output()
        if data is None:
            return False
        if worker.assignment is not None:
            self._job.on_output(worker.assignment.trial_id, data)
        return True

    def _on_end(self, worker: _Worker, now: float, stimuli: list[Stimulus]) -> None:
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

    def _conclude(self, worker: _Worker, now: float, stimuli: list[Stimulus]) -> None:
        """Tells how the worker's attempt ended."""
        assignment = worker.assignment
        if assignment is None or self._by_trial.get(assignment.trial_id) is not worker:
            return
        del self._by_trial[assignment.trial_id]
        if worker.outcome is None or worker.outcome[0] == ERROR:
            text, cause = ("", None) if worker.outcome is None else parse_error(worker.outcome[1])
            stimuli.append(Failed(now, assignment.trial_id, assignment.attempt, text, cause))
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
        if worker in self._idle:
            self._idle.remove(worker)
        self._conclude(worker, now, stimuli)
        self._forget(worker)
        self._launch_held()

    def _outcome_of(self, worker: _Worker, ended: WorkerExit) -> tuple[int, bytes]:
        """How an attempt ended whose process is gone without a word."""
        if not worker.was_signalled or worker.assignment is None:
            return ERROR, error_body(ended.why or _describe_exit(ended.code))
        logger.warning(
            "%s was told to end, did not within %.1f s, and was killed (%s=%g sets this time)",
            worker.assignment.trial_name,
            time.monotonic() - worker.told_at,
            GRACE_VARIABLE,
            self._grace_s,
        )
        return DONE, INTERRUPTED

    def _end_within(self, worker: _Worker, seconds: float) -> None:
        """Has a worker signalled then, unless it will be earlier."""
        when = time.monotonic() + seconds
        if worker.worker_id not in self._ending or when < worker.signal_at:
            self._end_by(worker, when, signal.SIGTERM)

    def _end_by(self, worker: _Worker, when: float, signum: int) -> None:
        worker.signal_at = when
        worker.signal = signum
        self._ending[worker.worker_id] = worker

    def _signal_overdue(self) -> None:
        now = time.monotonic()
        for worker in list(self._ending.values()):
            if worker.signal_at <= now:
                self._launcher.kill(worker.worker_id, worker.signal)
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

    def _close_pipe(self) -> None:
        wake_write, self._wake_write = self._wake_write, -1
        os.close(self._wake_read)
        os.close(wake_write)


@dataclass(slots=True, eq=False)
class _Worker:
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

    def can_take(self, bundles: list[dict[str, float]]) -> bool:
        """Whether it is there, with the resources that a trial needs."""
        assignment = self.assignment
        return self.line.is_open and assignment is not None and assignment.bundles == bundles


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


def _describe_exit(code: int) -> str:
    if code >= 0:
        return f"the worker process ended with exit code {code} before the trial was over"
    try:
        name = signal.Signals(-code).name
    except ValueError:  # one of the real-time signals
        name = f"signal {-code}"
    hint = "; the kernel kills so when memory runs out" if name == "SIGKILL" else ""
    return f"the worker process was killed by {name}{hint}"
