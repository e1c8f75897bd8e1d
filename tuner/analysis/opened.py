"""What an experiment's folder holds, whoever wrote it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tuner.experiment.trial import TERMINATED, Trial
from tuner.result import Result

if TYPE_CHECKING:
    from tuner.filesystems import FileSystem


@dataclass(frozen=True, slots=True)
class OpenedExperiment:
    """An experiment as its folder had it when it was read.

    Attributes:
        path: The folder, on `filesystem`.
        filesystem: Its filesystem, None for this machine's own files.
        trials: In order of creation.
        results: What became of each of them, in the same order.
        objectives: `"min"` or `"max"` for each metric that the experiment was to optimize.
        stats: `start_time` and `timestamp`, the Unix times of its begin and of what happened last.
        description: What the folder says about the run.
    """

    path: str
    filesystem: FileSystem | None
    trials: list[Trial]
    results: list[Result]
    objectives: dict[str, str | None] = field(default_factory=dict)
    stats: dict[str, Any] = field(default_factory=dict)
    description: dict[str, Any] = field(default_factory=dict)


def mark_end(trial: Trial) -> None:
    """Has the last result of a trial that ended say so, as nobody knew when it was reported."""
    if trial.status == TERMINATED and trial.last_result:
        trial.last_result = {**trial.last_result, "done": True}
