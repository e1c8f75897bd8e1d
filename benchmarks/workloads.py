"""The work that is measured, written once for `tuner` and for `ray.tune`: `tune` is either."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Workload:
    """So many trials of one trainable.

    Attributes:
        title: What the table calls it.
        make: Makes the trainable from `tune` and the number of results per trial.
        trials: Trials, for us and for ray.
        results: Results per trial, for us and for ray.
        unit: What the rate counts: `"trials"`, `"results"` or `"checkpoints"`.
        goal: The rate that is to be reached here, per second; None without one.
        metrics: How many metrics each result has.
        tune_config: Further fields of `TuneConfig`.
        checkpoint_config: Fields of `CheckpointConfig`.
        asha: Whether ASHA looks at every result, without stopping anything.
        on_cluster: Whether we, too, run it on a Ray cluster, the same for both.
    """

    title: str
    make: Callable[[Any, int, int], Callable[[dict[str, Any]], None]]
    trials: tuple[int, int]
    results: tuple[int, int]
    unit: str
    goal: float | None = None
    metrics: int = 3
    tune_config: dict[str, Any] = field(default_factory=dict)
    checkpoint_config: dict[str, Any] = field(default_factory=dict)
    asha: bool = False
    on_cluster: bool = False

    def count(self, ours: bool) -> int:
        """How many units a run has."""
        side = 0 if ours else 1
        per_trial = 1 if self.unit == "trials" else self.results[side]
        return self.trials[side] * per_trial


def reporting(tune: Any, results: int, metrics: int) -> Callable[[dict[str, Any]], None]:
    """A trainable that does nothing but report, with values that `verify` knows."""

    def train(config: dict[str, Any]) -> None:
        for i in range(results):
            tune.report({f"m{k}": i + k / 16 for k in range(metrics)})

    return train


def checkpointing(tune: Any, results: int, metrics: int) -> Callable[[dict[str, Any]], None]:
    """A trainable that reports a checkpoint of 1 MiB with every result."""

    def train(config: dict[str, Any]) -> None:
        content = os.urandom(1024 * 1024)
        for i in range(results):
            with tempfile.TemporaryDirectory() as folder:
                with open(os.path.join(folder, "weights"), "wb") as file:
                    file.write(content)
                tune.report(
                    {f"m{k}": i + k / 16 for k in range(metrics)},
                    checkpoint=tune.Checkpoint.from_directory(folder),
                )

    return train


WORKLOADS = {
    "fresh": Workload("one-result trials, fresh process each", reporting, (300, 12), (1, 1),
                      "trials", 150),
    "reuse": Workload("one-result trials, `reuse_actors=True`", reporting, (3000, 300), (1, 1),
                      "trials", 1000, tune_config={"reuse_actors": True}),
    "results": Workload("2 trials x 2000 results", reporting, (2, 2), (2000, 1000), "results",
                        10_000),
    "results10": Workload("2 trials x 2000 results of ten metrics", reporting, (2, 2),
                          (2000, 1000), "results", metrics=10),
    "asha": Workload("2 trials x 2000 results, ASHA on", reporting, (2, 2), (2000, 1000),
                     "results", asha=True),
    "checkpoints": Workload("4 trials x 100 checkpoints of 1 MiB, keep 2", checkpointing, (4, 4),
                            (100, 100), "checkpoints", 400,
                            checkpoint_config={"num_to_keep": 2}),
    "cluster_fresh": Workload("on one Ray cluster: one-result trials, fresh process each",
                              reporting, (100, 12), (1, 1), "trials", 20, on_cluster=True),
    "cluster_reuse": Workload("on one Ray cluster: one-result trials, `reuse_actors=True`",
                              reporting, (1000, 300), (1, 1), "trials", 600,
                              tune_config={"reuse_actors": True}, on_cluster=True),
    "cluster_results": Workload("on one Ray cluster: 2 trials x 2000 results", reporting, (2, 2),
                                (2000, 1000), "results", 5000, on_cluster=True),
}  # fmt: skip
