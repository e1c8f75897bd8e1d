"""The simulated executor: virtual workers, for which time passes as fast as they are computed."""

from __future__ import annotations

import heapq
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from tuner import codec
from tuner.execution import machine
from tuner.execution.attempt import PAUSE, encode_result, format_error, pickled_error
from tuner.execution.clock import VirtualClock
from tuner.execution.executor import Job
from tuner.execution.protocol import Assignment
from tuner.execution.streams import StreamSwitch, TrialStreams
from tuner.execution.virtual_worker import VirtualTimer, VirtualWorker, new_worker
from tuner.experiment.events import (
    CapacityChanged,
    Failed,
    Finished,
    Reported,
    Saved,
    Stimulus,
)
from tuner.trainable.autofill import Autofill
from tuner.trainable.session import CONTINUE, set_session
from tuner.validation import check_number, check_whole

SAVE = "SAVE"


class SimulatedExecutor:
    """Runs trials in virtual time, to study searchers and schedulers with many workers.

    A trainable says how many seconds each of its results takes, and computes them in the driver's
    process. What a result says comes to searcher, scheduler and stoppers when the virtual clock
    has come to that time; it begins at 0 and stands still while anything is computed. Time budgets
    are virtual, too. Everything else is as in a real run. Two runs with the same seed are the same.

    Args:
        num_workers: How many trials run at once, if each asks for one CPU.
        resources: Other resources to share out, such as `{"GPU": 8}`.

    Raises:
        ConfigError: An amount is negative, or there is no worker.

    Example:
        >>> SimulatedExecutor(num_workers=500, resources={"GPU": 8}).total
        {'CPU': 500.0, 'GPU': 8.0}
    """

    max_running: int | None = None
    logs_by_default = False
    absent: Mapping[str, float] = MappingProxyType({})

    def __init__(self, num_workers: int = 100, resources: dict[str, float] | None = None) -> None:
        owner = type(self).__name__
        fix = "use a whole number of virtual workers >= 1"
        check_whole(owner, "num_workers", num_workers, fix, least=1)
        for name, amount in (resources or {}).items():
            check_number(owner, f"resources[{name!r}]", amount, "use a number >= 0", least=0)
        self.total: dict[str, float] = {
            "CPU": float(num_workers),
            **{name: float(amount) for name, amount in (resources or {}).items()},
        }
        self.clock = VirtualClock()

    def __getstate__(self) -> dict[str, Any]:
        """Only what was configured: a running executor does not travel."""
        return {"total": self.total, "clock": VirtualClock()}

    def start(self, job: Job) -> None:
        """Gets ready."""
        self._trainable = job.trainable
        self._hostname, self._node_ip = machine.hostname(), machine.node_ip()
        self._attempts: dict[str, _Attempt] = {}
        self._ready: list[_Attempt] = []
        self._coming: list[tuple[float, int, int, _Attempt | None, Stimulus]] = []
        self._num_launched = 0
        self._num_coming = 0
        self._switch = StreamSwitch()
        now = self.clock.now()
        self._tell(now, None, CapacityChanged(now, self.total))

    def launch(self, assignment: Assignment) -> None:
        """Takes an assignment, which the next `wait` begins."""
        timer = VirtualTimer(self.clock)
        autofill = Autofill(
            trial_id=assignment.trial_id,
            progress=assignment.progress,
            hostname=self._hostname,
            node_ip=self._node_ip,
            pid=os.getpid(),
            timer=timer,
        )
        worker = new_worker(self._trainable, assignment, autofill)
        self._num_launched += 1
        attempt = _Attempt(self._num_launched, worker, timer, TrialStreams(worker.seed))
        self._attempts[assignment.trial_id] = attempt
        self._ready.append(attempt)

    def waiting(self) -> Sequence[Assignment]:
        """None: an attempt has what it needs."""
        return ()

    def answer(self, trial_id: str, attempt: int, decision: str) -> None:
        """Answers the report that an attempt waits for, which the next `wait` carries out."""
        running = self._attempts.get(trial_id)
        if running is not None and running.worker.assignment.attempt == attempt:
            running.told = decision
            self._ready.append(running)

    def end(self, trial_id: str, attempt: int) -> None:
        """Ends an attempt now; a result that was yet to come does not come."""
        running = self._attempts.get(trial_id)
        if running is not None and running.worker.assignment.attempt == attempt:
            self._close(running, is_interrupted=True)

    def wait(self, timeout: float | None) -> list[Stimulus]:
        """Goes on to the time when something happens, at most by `timeout` virtual seconds."""
        ready, self._ready = self._ready, []
        for attempt in ready:
            if not attempt.is_over:
                self._go_on(attempt)
        coming = self._coming
        while coming and coming[0][3] is not None and coming[0][3].is_over:
            heapq.heappop(coming)
        latest = math.inf if timeout is None else self.clock.now() + timeout
        if not coming or coming[0][0] > latest:
            if latest < math.inf:
                self.clock.advance(latest)
            return []
        now = coming[0][0]
        self.clock.advance(now)
        told = []
        while coming and coming[0][0] == now:
            _, _, _, sender, stimulus = heapq.heappop(coming)
            if sender is None or not sender.is_over:
                told.append(stimulus)
        return told

    def wake(self) -> None:
        """Has no effect: `wait` never waits."""

    def shutdown(self) -> None:
        """Ends everything that still runs."""
        for attempt in [*self._attempts.values()]:
            self._close(attempt, is_interrupted=True)

    def _go_on(self, attempt: _Attempt) -> None:
        """Does what an attempt was told; at first, to begin."""
        worker, told = attempt.worker, attempt.told
        if told == CONTINUE:
            self._step(attempt)
        elif told == SAVE:
            if self._save(attempt, worker.save):
                self._step(attempt)
        elif self._save(attempt, lambda: worker.finish(is_pausing=told == PAUSE)):
            self._tell_finished(attempt)

    def _step(self, attempt: _Attempt) -> None:
        worker = attempt.worker
        delivered, failed = self._run(attempt, worker.step)
        if failed:
            return
        if delivered is None:
            self._close(attempt, is_interrupted=False)
            return
        result, checkpoint = delivered
        raw = encode_result(result)
        due, assignment = attempt.timer.due, worker.assignment
        reported = Reported(
            due, assignment.trial_id, assignment.attempt, codec.decode(raw), raw, checkpoint
        )
        self._tell(due, attempt, reported)

    def _save(self, attempt: _Attempt, save: Callable[[], str | None]) -> bool:
        """Whether that went well."""
        name, failed = self._run(attempt, save)
        if failed:
            return False
        if name is not None:
            now, assignment = self.clock.now(), attempt.worker.assignment
            self._tell(now, None, Saved(now, assignment.trial_id, assignment.attempt, name))
        return True

    def _close(self, attempt: _Attempt, *, is_interrupted: bool) -> None:
        _, failed = self._run(attempt, attempt.worker.close)
        if not failed:
            self._tell_finished(attempt, is_interrupted=is_interrupted)

    def _tell_finished(self, attempt: _Attempt, *, is_interrupted: bool = True) -> None:
        now, assignment = self.clock.now(), attempt.worker.assignment
        finished = Finished(now, assignment.trial_id, assignment.attempt, is_interrupted)
        self._forget(attempt)
        self._tell(now, None, finished)

    def _run(self, attempt: _Attempt, code: Callable[[], Any]) -> tuple[Any, bool]:
        """Runs code of the user and returns what it returns, and whether it failed."""
        set_session(attempt.worker.session)
        self._switch.enter(attempt.streams)
        try:
            return code(), False
        except (Exception, SystemExit) as error:
            now, assignment = self.clock.now(), attempt.worker.assignment
            text, cause = format_error(error), pickled_error(error)
            failed = Failed(now, assignment.trial_id, assignment.attempt, text, cause)
            self._forget(attempt)
            self._tell(now, None, failed)
            return None, True
        finally:
            self._switch.leave(attempt.streams)
            set_session(None)

    def _forget(self, attempt: _Attempt) -> None:
        attempt.is_over = True
        self._switch.forget(attempt.streams)
        del self._attempts[attempt.worker.assignment.trial_id]

    def _tell(self, time: float, sender: _Attempt | None, stimulus: Stimulus) -> None:
        """Has `wait` tell something at a time, unless the sender has ended by then."""
        order = 0 if sender is None else sender.number
        self._num_coming += 1
        heapq.heappush(self._coming, (time, order, self._num_coming, sender, stimulus))


@dataclass(slots=True, eq=False)
class _Attempt:
    number: int  # order of launch
    worker: VirtualWorker
    timer: VirtualTimer
    streams: TrialStreams
    told: str = CONTINUE
    is_over: bool = False
