"""The fields that every result has beside what the user reports."""

from __future__ import annotations

import functools
import time
from datetime import datetime
from numbers import Integral, Real
from typing import Any, Protocol

from tuner.metrics import as_number
from tuner.trial_progress import Progress


class Timer(Protocol):
    """How long the results of one attempt take."""

    def restart(self) -> None:
        """Begins to measure the next result."""

    def elapsed(self) -> float:
        """Seconds since the last `restart`."""

    def time_after(self, elapsed: float) -> float:
        """When a result is there that took so many seconds."""


class Stopwatch:
    """Measures real time."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def restart(self) -> None:
        """Begins to measure the next result."""
        self._last = time.monotonic()

    def elapsed(self) -> float:
        """Seconds since the last `restart`."""
        return time.monotonic() - self._last

    def time_after(self, elapsed: float) -> float:
        """The Unix time."""
        return time.time()


class Autofill:
    """Completes the results of one attempt.

    Fields that the user reports under the same name win, as long as they are numbers where
    numbers belong.

    Args:
        trial_id: The trial.
        progress: How far the trial had come before this attempt.
        hostname: Name of this machine.
        node_ip: Address of this machine.
        pid: This process.
        timer: Tells how long a result took that does not say so; measures real time by default.
    """

    def __init__(
        self,
        *,
        trial_id: str,
        progress: Progress,
        hostname: str,
        node_ip: str,
        pid: int,
        timer: Timer | None = None,
    ) -> None:
        self._trial_id = trial_id
        self._hostname = hostname
        self._node_ip = node_ip
        self._pid = pid
        self._timer = timer or Stopwatch()
        self.begin_after(progress)

    @property
    def iteration(self) -> int:
        """Number of reports of this trial so far."""
        return self._iteration

    @property
    def time_total_s(self) -> float:
        """Seconds of training of this trial so far."""
        return self._time_total

    @property
    def progress(self) -> Progress:
        """What the next result builds upon."""
        return Progress(self._iteration, self._time_total, self._timesteps, self._episodes)

    def begin_after(self, progress: Progress) -> None:
        """Has the next result build upon this progress, as the first one since then."""
        self._since_restore = 0
        self._time_since_restore = 0.0
        self._iteration = progress.iteration
        self._time_total = progress.time_total_s
        self._timesteps = progress.timesteps_total
        self._episodes = progress.episodes_total

    def restart_clock(self) -> None:
        """Leaves out the time that has passed since the last result, such as a set-up."""
        self._timer.restart()

    def fill(
        self, metrics: dict[str, Any], checkpoint: str | None, elapsed_s: float | None = None
    ) -> dict[str, Any]:
        """The complete result for what a trial reported.

        Args:
            metrics: What it reported.
            checkpoint: The name of the checkpoint beside it.
            elapsed_s: Seconds that it took, None for what `metrics` say or was measured.
        """
        if elapsed_s is not None:
            metrics = {**metrics, "time_this_iter_s": elapsed_s}
        elapsed = as_number(metrics.get("time_this_iter_s"))
        if elapsed is None:
            elapsed = self._timer.elapsed()
        wall = int(self._timer.time_after(elapsed))
        self._timer.restart()
        self._iteration += 1
        self._since_restore += 1
        self._time_total += elapsed
        self._time_since_restore += elapsed
        result = {
            "training_iteration": self._iteration,
            "time_this_iter_s": elapsed,
            "time_total_s": self._time_total,
            "time_since_restore": self._time_since_restore,
            "iterations_since_restore": self._since_restore,
            "timesteps_total": self._timesteps_after(metrics),
            "episodes_total": self._episodes_after(metrics),
            "done": False,
            "trial_id": self._trial_id,
            "date": _date(wall),
            "timestamp": wall,
            "pid": self._pid,
            "hostname": self._hostname,
            "node_ip": self._node_ip,
            "checkpoint_dir_name": checkpoint,
            **metrics,
        }
        if not _is_a(int, Integral, result["training_iteration"]):
            result["training_iteration"] = self._iteration
        if not _is_a(float, Real, result["time_total_s"]):
            result["time_total_s"] = self._time_total
        return result

    def _timesteps_after(self, metrics: dict[str, Any]) -> int | None:
        self._timesteps = _total(self._timesteps, metrics, "timesteps")
        return self._timesteps

    def _episodes_after(self, metrics: dict[str, Any]) -> int | None:
        self._episodes = _total(self._episodes, metrics, "episodes")
        return self._episodes


@functools.lru_cache(maxsize=64)  # most results come in a second that another came in
def _date(second: int) -> str:
    return datetime.fromtimestamp(second).strftime("%Y-%m-%d_%H-%M-%S")


def _is_a(usual: type, kind: type, value: object) -> bool:
    return type(value) is usual or isinstance(value, kind)


def _total(before: int | None, metrics: dict[str, Any], what: str) -> int | None:
    total = metrics.get(f"{what}_total")
    if total is not None:
        return int(total)
    step = metrics.get(f"{what}_this_iter")
    return before if step is None else (before or 0) + int(step)
