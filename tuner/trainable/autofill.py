"""The fields that every result has beside what the user reports."""

from __future__ import annotations

import time
from datetime import datetime
from numbers import Integral, Real
from typing import Any

from tuner.metrics import as_number
from tuner.trial_progress import Progress


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
    """

    def __init__(
        self, *, trial_id: str, progress: Progress, hostname: str, node_ip: str, pid: int
    ) -> None:
        self._trial_id = trial_id
        self._hostname = hostname
        self._node_ip = node_ip
        self._pid = pid
        self._iteration = progress.iteration
        self._time_total = progress.time_total_s
        self._timesteps = progress.timesteps_total
        self._episodes = progress.episodes_total
        self._since_restore = 0
        self._time_since_restore = 0.0
        self._last = time.monotonic()
        self._second = 0
        self._date = ""

    @property
    def iteration(self) -> int:
        """Number of reports of this trial so far."""
        return self._iteration

    @property
    def time_total_s(self) -> float:
        """Seconds of training of this trial so far."""
        return self._time_total

    def restart_clock(self) -> None:
        """Leaves out the time that has passed since the last result, such as a set-up."""
        self._last = time.monotonic()

    def fill(self, metrics: dict[str, Any], checkpoint: str | None) -> dict[str, Any]:
        """The complete result for what a trial reported."""
        elapsed = as_number(metrics.get("time_this_iter_s"))
        now = time.monotonic()
        if elapsed is None:
            elapsed = now - self._last
        self._last = now
        self._iteration += 1
        self._since_restore += 1
        self._time_total += elapsed
        self._time_since_restore += elapsed
        wall = int(time.time())
        if wall != self._second:
            self._second = wall
            self._date = datetime.fromtimestamp(wall).strftime("%Y-%m-%d_%H-%M-%S")
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
            "date": self._date,
            "timestamp": wall,
            "pid": self._pid,
            "hostname": self._hostname,
            "node_ip": self._node_ip,
            "checkpoint_dir_name": checkpoint,
            **metrics,
        }
        if not isinstance(result["training_iteration"], Integral):
            result["training_iteration"] = self._iteration
        if not isinstance(result["time_total_s"], Real):
            result["time_total_s"] = self._time_total
        return result

    def _timesteps_after(self, metrics: dict[str, Any]) -> int | None:
        self._timesteps = _total(self._timesteps, metrics, "timesteps")
        return self._timesteps

    def _episodes_after(self, metrics: dict[str, Any]) -> int | None:
        self._episodes = _total(self._episodes, metrics, "episodes")
        return self._episodes


def _total(before: int | None, metrics: dict[str, Any], what: str) -> int | None:
    total = metrics.get(f"{what}_total")
    if total is not None:
        return int(total)
    step = metrics.get(f"{what}_this_iter")
    return before if step is None else (before or 0) + int(step)
