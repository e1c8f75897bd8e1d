"""Runs one attempt at a trial step by step, for an executor that decides when time passes."""

from __future__ import annotations

import functools
import inspect
import json
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Generator
from typing import Any

from tuner import codec
from tuner.checkpoint import Checkpoint
from tuner.errors import ReportError
from tuner.execution.attempt import (
    PAUSE,
    must_save,
    new_session,
    report_returned,
    run_function,
    save_training,
    train_once,
)
from tuner.execution.clock import Clock
from tuner.execution.protocol import Assignment
from tuner.execution.stepped_call import SteppedCall
from tuner.trainable.autofill import Autofill
from tuner.trainable.session import CONTINUE, Deliver, TrialStopped
from tuner.trainable.trainable import Trainable, is_trainable_class
from tuner.trainable.wrappers import WrappedFunction

STOP = "STOP"
_POSITION_FILE = "simulated_position.json"


class VirtualTimer:
    """Takes the durations that results state, since no time passes while they are computed.

    Args:
        clock: What time it is.

    Attributes:
        due: When the last result is there.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.due = 0.0

    def restart(self) -> None:
        """Has no effect."""

    def elapsed(self) -> float:
        """Refuses: a result has to say it.

        Raises:
            ReportError: Always.
        """
        raise ReportError(
            "a simulated trial has to say how many seconds each result takes: use "
            "tune.report(metrics, elapsed_s=…), yield (metrics, seconds), or have "
            '"time_this_iter_s" among the metrics'
        )

    def time_after(self, elapsed: float) -> float:
        """The virtual time when a result is there.

        Raises:
            ReportError: It takes less than no time, or has no end.
        """
        if not (math.isfinite(elapsed) and elapsed >= 0):
            raise ReportError(f"time_this_iter_s={elapsed!r} must be a number of seconds >= 0")
        self.due = self._clock.now() + elapsed
        return self.due


class Outbox:
    """Takes the result of a step.

    Attributes:
        result: The last result and the name of its staged checkpoint.
        is_open: Whether there may be one.
    """

    def __init__(self) -> None:
        self.result: tuple[dict[str, Any], str | None] | None = None
        self.is_open = True

    def put(self, result: dict[str, Any], checkpoint: str | None) -> str:
        """Takes a result, on which the decision comes later.

        Raises:
            ReportError: It comes from within a generator, which cannot wait for the decision.
        """
        if not self.is_open:
            raise ReportError(
                "tune.report() in a generator: in a simulation a generator can only yield its "
                "results; use either of them"
            )
        self.result = result, checkpoint
        return CONTINUE


class VirtualWorker(ABC):
    """One attempt. Its user's code runs in `step`, `save` and `close`, and nowhere else.

    Args:
        assignment: What to run.
        autofill: Completes its results.
        deliver: Takes a result in place of `outbox`.

    Attributes:
        assignment: The same.
        outbox: Where its results are put.
        session: What the user's code speaks to.
        seed: What its random streams begin with.
    """

    def __init__(
        self, assignment: Assignment, autofill: Autofill, deliver: Deliver | None = None
    ) -> None:
        self.assignment = assignment
        self.outbox = Outbox()
        self.session = new_session(assignment, autofill, deliver or self.outbox.put)
        self.seed = assignment.seed

    def step(self) -> tuple[dict[str, Any], str | None] | None:
        """Runs up to the next result.

        Returns:
            The result and the name of its staged checkpoint; None if there are no more.
        """
        self.outbox.result = None
        try:
            self._advance()
        except BaseException as error:
            self._close_after(error)
            raise
        return self.outbox.result

    def save(self) -> str | None:
        """Stages a checkpoint from which the trial can go on, and returns its name.

        It returns None where there is one already, or where the trainable makes its own.
        """
        try:
            return self._save(PAUSE)
        except BaseException as error:
            self._close_after(error)
            raise

    def finish(self, *, is_pausing: bool) -> str | None:
        """Ends the attempt as it was told to.

        Args:
            is_pausing: Whether the trial is to go on later.

        Returns:
            The name of a checkpoint that was staged, if one was due.
        """
        try:
            name = self._save(PAUSE if is_pausing else STOP)
        except BaseException as error:
            self._close_after(error)
            raise
        self.close()
        return name

    @abstractmethod
    def close(self) -> None:
        """Ends the attempt, wherever it is."""

    @abstractmethod
    def _advance(self) -> None:
        """Goes on to the next result, which is put into the outbox."""

    @abstractmethod
    def _save(self, decision: str) -> str | None:
        """Stages a checkpoint if `decision` asks for one, and returns its name."""

    def _close_after(self, error: BaseException) -> None:
        try:
            self.close()
        except Exception as second:
            error.add_note(f"its clean-up failed as well: {second!r}")


class ClassWorker(VirtualWorker):
    """Trains an object of a `Trainable` class."""

    def __init__(
        self, trainable: type[Trainable], assignment: Assignment, autofill: Autofill
    ) -> None:
        super().__init__(assignment, autofill)
        self._class = trainable
        self._training: Trainable | None = None

    def close(self) -> None:
        """Cleans the object up."""
        training, self._training = self._training, None
        if training is not None:
            training.stop()

    def _advance(self) -> None:
        train_once(self._training or self._make(), self.assignment, self.session)

    def _save(self, decision: str) -> str | None:
        session = self.session
        session.decision = decision
        due = must_save(self._class, self.assignment, session)
        session.decision = CONTINUE
        return (
            save_training(self._training, session) if self._training is not None and due else None
        )

    def _make(self) -> Trainable:
        session = self.session
        training = self._training = self._class(codec.decode(self.assignment.config))
        training.use(session.context, session.autofill)
        if session.checkpoint is not None:
            training.restore(session.checkpoint)
        return training


class GeneratorWorker(VirtualWorker):
    """Takes what a generator yields.

    A generator cannot be saved. A checkpoint of it, which is made here, says how often it has
    yielded and from which seed: it is run again up to there, in no time.
    """

    def __init__(self, function: Any, assignment: Assignment, autofill: Autofill) -> None:
        super().__init__(assignment, autofill)
        self._function = function
        self._generator: Generator[Any, Any, Any] | None = None
        self._num_yielded = 0
        self._to_skip = 0
        if assignment.checkpoint is not None:
            self._resume(assignment.checkpoint)

    def close(self) -> None:
        """Unwinds it."""
        if self._generator is not None:
            self._generator.close()

    def _save(self, decision: str) -> str | None:
        if decision != PAUSE:
            return None
        session = self.session
        name = session.next_checkpoint_name()
        position = {"seed": self.seed, "num_yielded": self._num_yielded}
        with session.store.discarding_failures(name):
            staged = session.store.staged(name)
            os.makedirs(staged)
            with open(os.path.join(staged, _POSITION_FILE), "w", encoding="utf-8") as file:
                json.dump(position, file)
            session.store.keep(name, is_dear=False)
        return name

    def _resume(self, checkpoint: Checkpoint) -> None:
        with checkpoint.as_directory() as directory:
            path = os.path.join(directory, _POSITION_FILE)
            if not os.path.exists(path):  # another trainable's, which its code may understand
                return
            with open(path, encoding="utf-8") as file:
                position = json.load(file)
        self.session.checkpoint = None
        self.seed, self._to_skip = position["seed"], position["num_yielded"]

    def _advance(self) -> None:
        self.outbox.is_open = False
        try:
            if self._generator is None:
                self._generator = self._function(codec.decode(self.assignment.config))
            while self._num_yielded < self._to_skip:
                self._num_yielded += 1
                next(self._generator)
            self._num_yielded += 1
            yielded = next(self._generator)
        except StopIteration as end:
            self.outbox.is_open = True
            if self._num_yielded > self._to_skip:
                report_returned(end.value, self.session)
        else:
            self.outbox.is_open = True
            self.session.report_yielded(yielded)


class CallWorker(VirtualWorker):
    """Runs a function that reports, which waits in a thread while other trials run."""

    def __init__(self, function: Any, assignment: Assignment, autofill: Autofill) -> None:
        super().__init__(assignment, autofill, self._deliver)
        self._call = SteppedCall(
            lambda: run_function(function, self.session, codec.decode(assignment.config))
        )
        self._answer = CONTINUE

    def close(self) -> None:
        """Unwinds it."""
        self._answer = STOP
        try:
            while not self._call.is_over:
                self._call.advance()
        except TrialStopped:
            return

    def _advance(self) -> None:
        if not self._call.is_over:
            self._call.advance()

    def _save(self, decision: str) -> str | None:
        return None  # the function reports its checkpoints

    def _deliver(self, result: dict[str, Any], checkpoint: str | None) -> str:
        self.outbox.put(result, checkpoint)
        self._call.suspend()
        return self._answer


def new_worker(trainable: Any, assignment: Assignment, autofill: Autofill) -> VirtualWorker:
    """The worker that suits a trainable."""
    if is_trainable_class(trainable):
        return ClassWorker(trainable, assignment, autofill)
    if _is_generator_function(trainable):
        return GeneratorWorker(trainable, assignment, autofill)
    return CallWorker(trainable, assignment, autofill)


def _is_generator_function(function: Any) -> bool:
    while isinstance(function, functools.partial | WrappedFunction):
        function = function.func if isinstance(function, functools.partial) else function.function
    return inspect.isgeneratorfunction(function) or (
        inspect.isgeneratorfunction(type(function).__call__)
    )
