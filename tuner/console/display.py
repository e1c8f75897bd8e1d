"""What the console needs from anything that shows an experiment."""

from __future__ import annotations

import math
from typing import Protocol

from tuner.console.status import ExperimentInfo, ExperimentStatus


class Display(Protocol):
    """Shows status and lines of text, in the controller's thread and only when called."""

    def start(self, info: ExperimentInfo) -> None:
        """Called once, before all others."""

    def due(self) -> float:
        """Monotonic time of the next wanted refresh; `math.inf` if none."""

    def refresh(self, status: ExperimentStatus) -> None:
        """Shows the status."""

    def notice(self) -> None:
        """Told that a trial ended or failed."""

    def write(self, text: str) -> None:
        """Shows whole lines, each ended by a line break."""

    def finish(self, status: ExperimentStatus) -> None:
        """Shows the status at the end of the experiment."""

    def close(self) -> None:
        """Leaves the terminal as it was; may be called more than once."""


class NoDisplay:
    """Shows nothing."""

    def start(self, info: ExperimentInfo) -> None:
        """Does nothing."""

    def due(self) -> float:
        """Never."""
        return math.inf

    def refresh(self, status: ExperimentStatus) -> None:
        """Does nothing."""

    def notice(self) -> None:
        """Does nothing."""

    def write(self, text: str) -> None:
        """Does nothing."""

    def finish(self, status: ExperimentStatus) -> None:
        """Does nothing."""

    def close(self) -> None:
        """Does nothing."""
