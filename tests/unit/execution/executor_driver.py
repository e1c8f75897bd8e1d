"""Drives one executor as the controller would, and writes down what it tells."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tuner import codec
from tuner.execution.executor import Job, TrialExecutor
from tuner.execution.inline import InlineExecutor
from tuner.execution.local import LocalExecutor
from tuner.execution.protocol import Assignment
from tuner.execution.ray import RayExecutor
from tuner.execution.simulated import SimulatedExecutor
from tuner.experiment.events import (
    CapacityChanged,
    Failed,
    Finished,
    Reported,
    Saved,
    Stimulus,
)
from tuner.trial_progress import Progress

EXECUTORS: dict[str, Callable[[], TrialExecutor]] = {
    "fork": lambda: LocalExecutor(num_cpus=2, start_method="fork"),
    "spawn": lambda: LocalExecutor(num_cpus=2, start_method="spawn"),
    "ray": RayExecutor,
    "ray, elsewhere": lambda: RayExecutor(shared_storage=False),
    "ray, in actors": lambda: RayExecutor(uses_ray=True),
    "inline": InlineExecutor,
    "simulated": lambda: SimulatedExecutor(num_workers=2),
}

TIMEOUT_S = 120.0
Decide = Callable[[Reported], str]


class Driver:
    """Runs assignments on an executor.

    Args:
        executor: The executor, not yet started.
        trainable: What it runs.
        folder: Where trials have their folders.
        decide: The decision on each result.
    """

    def __init__(
        self,
        executor: TrialExecutor,
        trainable: Any,
        folder: Path,
        decide: Decide = lambda reported: "CONTINUE",
    ) -> None:
        self.executor = executor
        self.stimuli: list[Stimulus] = []
        self.output: dict[str, bytes] = {}
        self.capacity: dict[str, float] = {}
        self._folder = folder
        self._decide = decide
        self._open: set[str] = set()
        executor.start(Job(trainable, "trainable", self._on_output, self.take_in, str(folder)))

    def __enter__(self) -> Driver:
        return self

    def __exit__(self, *error: object) -> None:
        self.executor.shutdown()

    def launch(self, trial_id: str = "t0", **fields: Any) -> Assignment:
        """Launches an attempt; `fields` replace what an assignment has by default."""
        defaults: dict[str, Any] = {
            "trial_id": trial_id,
            "trial_name": f"name_{trial_id}",
            "experiment_name": "experiment",
            "attempt": 1,
            "path": str(self._folder / trial_id),
            "checkpoint": None,
            "next_checkpoint": 0,
            "progress": Progress(),
            "bundles": [{"CPU": 1.0}],
            "seed": 1,
            "upload_timeout_s": TIMEOUT_S,
            "driver_directory": str(self._folder),
        }
        config = codec.encode_exact(fields.pop("config", {}))
        assignment = Assignment(config=config, **{**defaults, **fields})
        self._open.add(trial_id)
        self.executor.launch(assignment)
        return assignment

    def run(self, trial_id: str = "t0", **fields: Any) -> list[Stimulus]:
        """Launches one attempt, waits for its end and returns what was told of it."""
        before = len(self.stimuli)
        self.launch(trial_id, **fields)
        self.wait()
        return self.stimuli[before:]

    def wait(self) -> None:
        """Waits until everything that was launched has ended."""
        self.wait_until(lambda: not self._open)

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Waits until a condition holds."""
        deadline = time.monotonic() + TIMEOUT_S
        while not condition():
            assert time.monotonic() < deadline, f"still waiting; so far: {self.stimuli}"
            self.take_in(self.executor.wait(0.1))

    def results(self, trial_id: str = "t0") -> list[dict[str, Any]]:
        """The results of a trial, in order."""
        reported = (s for s in self.stimuli if isinstance(s, Reported))
        return [s.result for s in reported if s.trial_id == trial_id]

    def take_in(self, stimuli: list[Stimulus]) -> None:
        for stimulus in stimuli:
            if isinstance(stimulus, CapacityChanged):
                self.capacity = stimulus.resources
                continue
            self.stimuli.append(stimulus)
            if isinstance(stimulus, Reported):
                assert codec.decode(stimulus.raw) == stimulus.result
                decision = "STOP" if stimulus.result["done"] else self._decide(stimulus)
                self.executor.answer(stimulus.trial_id, stimulus.attempt, decision)
            elif isinstance(stimulus, Finished | Failed):
                self._open.remove(stimulus.trial_id)

    def _on_output(self, trial_id: str, data: bytes) -> None:
        self.output[trial_id] = self.output.get(trial_id, b"") + data


def kinds(stimuli: list[Stimulus]) -> list[str]:
    """The names of what was told, in order."""
    return [type(stimulus).__name__ for stimulus in stimuli]


def stop_after(iteration: int, decision: str = "STOP") -> Decide:
    """Continues until a trial has reported so many results."""

    def decide(reported: Reported) -> str:
        return decision if reported.result["training_iteration"] >= iteration else "CONTINUE"

    return decide


__all__ = ["Driver", "Failed", "Finished", "Reported", "Saved", "kinds", "stop_after"]
