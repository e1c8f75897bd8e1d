"""The median stopping rule: stops trials that are worse than the others were on average."""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import Any

from tuner.flatten import lookup
from tuner.metrics import as_number
from tuner.schedulers.metric_scheduler import MetricScheduler
from tuner.schedulers.running_quantile import RunningQuantile
from tuner.schedulers.scheduler import ExperimentView, TrialView
from tuner.validation import check_flag, check_number, check_whole

# Marks lie at least this far apart, relative to the time; whole times up to 100 are all marks.
_SPACING = 0.01


class MedianStoppingRule(MetricScheduler):
    """Stops a trial whose best result is worse than the median of the others' averages.

    Source: Golovin et al., "Google Vizier: A Service for Black-Box Optimization", 2017 (KDD),
    section 3.2.1. As in ray.tune, trials that still run are compared with too.

    A trial is judged at time t by its best result up to t. If that is worse than the median,
    over all other trials that have come to t, of the average of each one's results up to t, it
    is stopped.

    Trials are compared at marks, times that the trial that is furthest sets by its results, at
    least 1 % apart: with whole times, each one up to 100. A trial is judged when it passes a mark,
    and no mark twice, so that a result costs O(log n) after n trials, however times fall.

    A metric that is NaN counts as the worst value, in averages too.

    Args:
        time_attr: The reported value that says how far a trial is; it must grow.
        metric: The reported value to optimize, `"a/b"` for a nested one; None takes it from
            `TuneConfig`.
        mode: `"min"` or `"max"`; None takes it from `TuneConfig`.
        grace_period: Time before which no trial is stopped, in units of `time_attr`; averages
            leave out what was reported before it.
        min_samples_required: How many other trials must have come to a mark for a trial to be
            judged there.
        min_time_slice: A trial that cannot be judged as there are too few others pauses in their
            favour, if any wait, once it has run for longer than this since it last did. Pausing
            costs a checkpoint and a start; `float("inf")` turns it off.
        hard_stop: Whether trials are stopped; otherwise they pause, and go on when no other
            trial waits, not to be judged again.

    Raises:
        ConfigError: An argument has a value that cannot work; later, when a trial reports no
            `metric` or `time_attr`.

    Example:
        >>> scheduler = MedianStoppingRule(metric="loss", mode="min", grace_period=30.0)
        >>> scheduler.debug_string()
        'MedianStoppingRule: 0 trials stopped'
    """

    def __init__(
        self,
        time_attr: str = "time_total_s",
        metric: str | None = None,
        mode: str | None = None,
        grace_period: float = 60.0,
        min_samples_required: int = 3,
        min_time_slice: float = 0,
        hard_stop: bool = True,
    ) -> None:
        super().__init__(time_attr, metric, mode)
        owner = type(self).__name__
        check_number(owner, "grace_period", grace_period, "use a number >= 0", least=0)
        fix = "use a whole number >= 1"
        check_whole(owner, "min_samples_required", min_samples_required, fix, least=1)
        if min_time_slice != math.inf:
            check_number(owner, "min_time_slice", min_time_slice, "use a number >= 0", least=0)
        check_flag(owner, "hard_stop", hard_stop)
        self._grace_period = grace_period
        self._min_samples_required = min_samples_required
        self._min_time_slice = min_time_slice
        self._hard_stop = hard_stop
        self._num_stopped = 0
        self._marks: list[float] = []  # ascending
        self._averages: list[RunningQuantile] = []  # at each mark, of the trials that passed it
        self._live: dict[str, _Record] = {}  # trials that have been added and have not ended
        self._given_up: dict[str, None] = {}  # of these, those that the rule has paused

    def on_trial_add(self, experiment: ExperimentView, trial: TrialView) -> None:
        """Begin the trial's record; one that has run before is not judged again up to there."""
        self._check_objective()
        if trial.trial_id in self._live:
            return
        reached = as_number(lookup(dict(trial.last_result), self._time_attr))
        self._live[trial.trial_id] = _Record(-math.inf if reached is None else reached)

    def on_trial_result(
        self, experiment: ExperimentView, trial: TrialView, result: dict[str, Any]
    ) -> str:
        """Judge the trial if it has passed a mark."""
        if self._skips(result):
            return self.CONTINUE
        time = self._time(trial.trial_id, result)
        reward = self._reward(trial.trial_id, result)
        record = self._live[trial.trial_id]
        passed = self._record(record, time, reward)
        if passed is None or trial.trial_id in self._given_up:
            return self.CONTINUE
        num_others, median = passed
        if num_others < self._min_samples_required:
            return self.PAUSE if self._yields(experiment, record) else self.CONTINUE
        if record.best >= median:
            return self.CONTINUE
        self._num_stopped += 1
        if self._hard_stop:
            return self.STOP
        self._given_up[trial.trial_id] = None
        return self.PAUSE

    def on_trial_pause(self, experiment: ExperimentView, trial: TrialView) -> None:
        """Note when, so that the trial has its time slice before the next pause."""
        record = self._live[trial.trial_id]
        record.paused_at = max(record.time, 0.0)

    def on_trial_error(self, experiment: ExperimentView, trial: TrialView) -> None:
        """Forget a trial that is not retried; what it has reached stays recorded."""
        if trial.status == "ERROR":
            self._forget(trial)

    def on_trial_complete(
        self, experiment: ExperimentView, trial: TrialView, result: dict[str, Any]
    ) -> None:
        """Record where the trial came to, and forget it."""
        record = self._live.get(trial.trial_id)
        if record is not None and self._is_complete(result):
            time = self._time(trial.trial_id, result)
            self._record(record, time, self._reward(trial.trial_id, result))
        self._forget(trial)

    def on_trial_remove(self, experiment: ExperimentView, trial: TrialView) -> None:
        """Forget the trial; what it has reached stays recorded."""
        self._forget(trial)

    def choose_trial_to_run(self, experiment: ExperimentView) -> TrialView | None:
        """A trial that is new, or else one that gave way to others, or else one given up."""
        given_up = None
        for waiting in (experiment.pending_trials, experiment.paused_trials):
            for trial in waiting:
                if not experiment.fits(trial):
                    continue
                if trial.trial_id not in self._given_up:
                    return trial
                given_up = given_up or trial
        return given_up

    def debug_string(self) -> str:
        """How many trials were stopped."""
        done = "stopped" if self._hard_stop else "paused for the others"
        return f"{type(self).__name__}: {self._num_stopped} trials {done}"

    def _forget(self, trial: TrialView) -> None:
        self._live.pop(trial.trial_id, None)
        self._given_up.pop(trial.trial_id, None)

    def _record(self, record: _Record, time: float, reward: float) -> tuple[int, float] | None:
        """Take in a result.

        Returns:
            How many other trials have passed the last mark up to it, and the median of their
            averages there; None if the trial has not passed a mark with this result.
        """
        if time <= record.time:
            return None  # it repeats what it had done before it failed or was paused
        self._add_mark(time)
        first, end = bisect_right(self._marks, record.time), bisect_right(self._marks, time)
        others = self._averages[end - 1] if first < end else None
        before = (len(others), others.value) if others is not None else None
        for mark, averages in zip(self._marks[first:end], self._averages[first:end], strict=True):
            if mark < time and record.num_averaged:
                averages.add(record.average)
        record.add(time, reward, in_average=time >= self._grace_period)
        if before is None:
            return None
        if self._marks[end - 1] == time:
            self._averages[end - 1].add(record.average)
        return before[0], -math.inf if before[1] is None else before[1]

    def _add_mark(self, time: float) -> None:
        last = self._marks[-1] if self._marks else -math.inf
        if time >= self._grace_period and time > last and time >= last + _SPACING * last:
            self._marks.append(time)
            self._averages.append(RunningQuantile(0.5))

    def _yields(self, experiment: ExperimentView, record: _Record) -> bool:
        """Whether the trial gives way to others that could make it comparable."""
        if record.time - record.paused_at <= self._min_time_slice:
            return False
        if experiment.expects_trials:
            return True
        return any(True for _ in experiment.pending_trials) or any(
            True for _ in experiment.paused_trials
        )


class _Record:
    """What a trial has achieved; of rewards more is better.

    Args:
        time: Up to where nothing of it is recorded.
    """

    __slots__ = ("_sum", "best", "num_averaged", "paused_at", "time")

    def __init__(self, time: float) -> None:
        self.time = time
        self.paused_at = max(time, 0.0)
        self.best = -math.inf
        self.num_averaged = 0
        self._sum = 0.0

    def add(self, time: float, reward: float, *, in_average: bool) -> None:
        self.time = time
        self.best = max(self.best, reward)
        if in_average:
            self._sum += reward
            self.num_averaged += 1

    @property
    def average(self) -> float:
        """The worst value as soon as one result was that."""
        mean = self._sum / self.num_averaged
        return mean if mean == mean else -math.inf
