"""What the controller tells the console: the experiment once, its status at each refresh."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from tuner.experiment.trial import Trial


@dataclass(frozen=True, slots=True)
class ExperimentInfo:
    """What does not change while an experiment runs.

    Attributes:
        name: The experiment's name.
        path: Its folder.
        metric: The metric that is tuned, None without one.
        mode: `"min"` or `"max"`, None without a metric.
        total_trials: How many trials there were to be at its start, None if unknown or unlimited.
        scheduler_name: Such as `"FIFO"`.
        searcher_name: Such as `"BasicVariantGenerator"`.
        start_time: When this `fit()` began, Unix time in seconds.
        score_attribute: The metric that tells the best checkpoints, None without one.
        objectives: The metrics, if there are several; then `metric` is None.
        finished_before: Trials that had finished before this `fit()` began (after a restore);
            they took none of its time, so the estimated time left leaves them out.
    """

    name: str
    path: str
    metric: str | None
    mode: str | None
    total_trials: int | None
    scheduler_name: str
    searcher_name: str
    start_time: float
    score_attribute: str | None = None
    objectives: tuple[str, ...] = ()
    finished_before: int = 0


@dataclass(frozen=True, slots=True)
class ExperimentStatus:
    """Where an experiment stands; nothing is copied, so it is valid only during the call.

    Attributes:
        trials: All trials in order of creation.
        total_trials: How many trials there will be, None if unknown or unlimited.
        counts: Number of trials by status.
        num_waiting: How many of those that run have no process yet.
        used: Resources that the others hold, such as `{"CPU": 4.0}`.
        total: Resources that there are.
        elapsed_s: Seconds since this `fit()` began.
        best: The best trial so far, None if there is none.
        running: The running trials, if they are at hand; looked for among `trials` otherwise.
        scheduler_debug: What the scheduler says about itself, shown instead of its name.
    """

    trials: Sequence[Trial]
    total_trials: int | None
    counts: Mapping[str, int]
    used: Mapping[str, float]
    total: Mapping[str, float]
    elapsed_s: float
    best: Trial | None
    num_waiting: int = 0
    running: Collection[Trial] | None = None
    scheduler_debug: str = ""
