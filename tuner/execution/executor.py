"""What every executor does: run attempts, and tell what becomes of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from tuner.execution.clock import Clock
from tuner.execution.protocol import Assignment
from tuner.experiment.events import Stimulus


@dataclass(frozen=True, slots=True)
class Job:
    """What an executor is started with.

    Attributes:
        trainable: The function or class.
        name: The trainable's name.
        on_output: Takes what a trial prints, as (trial id, bytes).
        step: Has stimuli handled at once and their commands carried out; for executors that run
            user code in the controller's own process.
        path: The experiment's folder on this machine.
        modules: Names of modules that workers will need, beside the trainable's: an executor that
            forks workers imports them before.
        param_space: Where trials get their configurations from.
    """

    trainable: Any
    name: str
    on_output: Callable[[str, bytes], None]
    step: Callable[[list[Stimulus]], None]
    path: str
    modules: tuple[str, ...] = ()
    param_space: Any = None


@runtime_checkable
class TrialExecutor(Protocol):
    """Where trials run.

    The controller calls `start` once, then `launch`, `answer`, `end` and `wait` in any order, and
    `shutdown` once, from one thread. Only `wake` may be called from elsewhere.

    Attributes:
        max_running: How many trials can run at once whatever they ask for; None for no limit.
        clock: The time in which trials run; it is begun before `start`.
        logs_by_default: Whether trials get CSV, JSON and TensorBoard files without being asked.
        absent: Which of the resources that it has told are only asked for as yet.
    """

    max_running: int | None

    @property
    def clock(self) -> Clock: ...

    logs_by_default: bool

    @property
    def absent(self) -> Mapping[str, float]: ...

    def start(self, job: Job) -> None:
        """Gets ready; the first `wait` tells the capacity."""

    def launch(self, assignment: Assignment) -> None:
        """Starts an attempt. The caller has made sure that its resources are free."""

    def waiting(self) -> Sequence[Assignment]:
        """Attempts that were launched and have no process yet, as resources are to come."""

    def answer(self, trial_id: str, attempt: int, decision: str) -> None:
        """Answers the report that an attempt waits for."""

    def end(self, trial_id: str, attempt: int) -> None:
        """Ends an attempt: at its next report, or by SIGTERM, or by SIGKILL."""

    def wait(self, timeout: float | None) -> list[Stimulus]:
        """Waits until something has happened, at most `timeout` seconds by its clock."""

    def wake(self) -> None:
        """Makes a `wait` under way return; safe in a signal handler."""

    def shutdown(self) -> None:
        """Ends everything that still runs and frees what is held."""
