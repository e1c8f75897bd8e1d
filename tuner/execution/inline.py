"""The inline executor: trials run one after the other in the driver's own process and thread."""

from __future__ import annotations

import collections
import contextlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from tuner import codec
from tuner.execution import machine, ray_misuse
from tuner.execution.attempt import (
    AttemptRunner,
    encode_result,
    format_error,
    pickled_error,
)
from tuner.execution.clock import Clock, WallClock
from tuner.execution.executor import Job
from tuner.execution.protocol import Assignment
from tuner.execution.seeding import streams_restored
from tuner.execution.surroundings import Redirection, prepare
from tuner.experiment.events import (
    CapacityChanged,
    Failed,
    Finished,
    Reported,
    Saved,
    Stimulus,
)
from tuner.trainable.session import TrialStopped

CONTINUE = "CONTINUE"


class InlineExecutor:
    """Runs trials in this process, so that breakpoints and debuggers work in them.

    Every trial gets what it asks for, as long as the machine has it. A trial cannot be ended while
    it does not report, and one that ends the process ends the experiment.
    """

    max_running: int | None = 1
    clock: Clock = WallClock()
    logs_by_default = True
    absent: Mapping[str, float] = MappingProxyType({})

    def start(self, job: Job) -> None:
        """Gets ready."""
        self._job = job
        self._runner = AttemptRunner(
            job.trainable, hostname=machine.hostname(), node_ip=machine.node_ip()
        )
        self._queue: collections.deque[Assignment] = collections.deque()
        self._decision = CONTINUE
        self._last: Assignment | None = None
        self._broken: BaseException | None = None  # what ends the experiment, not the trial
        self._redirection = Redirection(None, None)
        total = {"CPU": float(machine.num_cpus()), "GPU": float(len(machine.gpu_ids()))}
        self._waiting: list[Stimulus] = [CapacityChanged(time.time(), total)]

    def launch(self, assignment: Assignment) -> None:
        """Takes an assignment, which the next `wait` runs."""
        self._queue.append(assignment)

    def waiting(self) -> Sequence[Assignment]:
        """None: an attempt has what it needs."""
        return ()

    def answer(self, trial_id: str, attempt: int, decision: str) -> None:
        """Answers the report under way."""
        self._decision = decision

    def end(self, trial_id: str, attempt: int) -> None:
        """Has no effect but through the answer to the next report."""

    def wait(self, timeout: float | None) -> list[Stimulus]:
        """Runs the next assignment to its end."""
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            return waiting
        if not self._queue:
            time.sleep(0.0 if timeout is None else timeout)
            return []
        return [self._run(self._queue.popleft())]

    def wake(self) -> None:
        """Has no effect: the trial that runs is what `wait` waits for."""

    def shutdown(self) -> None:
        """Cleans up a class trainable's object that was kept, in its last trial's folder."""
        if self._last is not None:
            with _surroundings_restored():
                prepare(self._last)
                self._runner.close()

    def _run(self, assignment: Assignment) -> Stimulus:
        self._last = assignment
        self._redirection = Redirection(assignment.stdout, assignment.stderr)
        try:
            with _surroundings_restored():
                prepare(assignment)
                with self._redirection, ray_misuse.refused():
                    completed = self._runner.run(assignment, _InlineChannel(self, assignment))
        except (Exception, SystemExit) as error:
            if self._broken is None:
                text, cause = format_error(error), pickled_error(error)
                return Failed(time.time(), assignment.trial_id, assignment.attempt, text, cause)
        if self._broken is not None:
            raise self._broken
        return Finished(time.time(), assignment.trial_id, assignment.attempt, not completed)

    def deliver(self, stimulus: Stimulus) -> str:
        """Has a stimulus handled at once and returns the answer to it."""
        self._decision = CONTINUE
        if self._broken is None:
            try:
                with self._redirection.suspended():
                    self._job.step([stimulus])
            except BaseException as error:  # no error of the trial, whose code it must not meet
                self._broken = error
        if self._broken is not None:
            raise TrialStopped
        return self._decision


class _InlineChannel:
    def __init__(self, executor: InlineExecutor, assignment: Assignment) -> None:
        self._executor = executor
        self._trial_id = assignment.trial_id
        self._attempt = assignment.attempt

    def deliver(self, result: dict[str, Any], checkpoint: str | None) -> str:
        raw = encode_result(result)
        return self._executor.deliver(
            Reported(time.time(), self._trial_id, self._attempt, codec.decode(raw), raw, checkpoint)
        )

    def saved(self, checkpoint: str) -> None:
        self._executor.deliver(Saved(time.time(), self._trial_id, self._attempt, checkpoint))


@contextlib.contextmanager
def _surroundings_restored() -> Iterator[None]:
    """Gives the driver back its directory, environment and random streams."""
    directory, environ = os.getcwd(), dict(os.environ)
    with streams_restored():
        try:
            yield
        finally:
            os.chdir(directory)
            os.environ.clear()
            os.environ.update(environ)
