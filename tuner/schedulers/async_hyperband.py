"""Asynchronous successive halving: stops trials that are not among the best at their age."""

from __future__ import annotations

import math
import random
from typing import Any

from tuner.flatten import lookup
from tuner.metrics import as_number
from tuner.schedulers.metric_scheduler import MetricScheduler
from tuner.schedulers.running_quantile import RunningQuantile
from tuner.schedulers.scheduler import ExperimentView, TrialView
from tuner.validation import check_flag, check_number, check_whole, reject


class AsyncHyperBandScheduler(MetricScheduler):
    """Asynchronous successive halving (ASHA), the variant that stops trials.

    Source: Li et al., "A System for Massively Parallel Hyperparameter Tuning", 2018
    (arXiv:1810.05934), algorithm 2. Where the paper promotes the best trials of a rung, this
    variant lets every trial run and stops those that are not among the best: nothing waits.

    A bracket has rungs at the times `grace_period * reduction_factor ** k` up to `max_t`. The
    first result of a trial at or after a rung is recorded there, and the trial is stopped if it is
    worse than the `1 - 1 / reduction_factor` quantile of what was recorded there before it. The
    bracket number `s` leaves out the first `s` rungs. With several brackets each trial is put into
    one at random, with a probability proportional to `exp(number of rungs)`.

    A metric that is NaN counts as the worst value. A decision takes O(log n) after n trials.

    Args:
        time_attr: The reported value that says how far a trial is; it must grow.
        metric: The reported value to optimize, `"a/b"` for a nested one; None takes it from
            `TuneConfig`.
        mode: `"min"` or `"max"`; None takes it from `TuneConfig`.
        max_t: Time at which a trial is stopped, in units of `time_attr`.
        grace_period: Time before which no trial is stopped.
        reduction_factor: Of each rung's trials, one in so many goes on; more than 1.
        brackets: Number of brackets.
        stop_last_trials: Whether trials are stopped at `max_t`; otherwise they go on to their own
            end.

    Raises:
        ConfigError: An argument has a value that cannot work; later, when a trial reports no
            `metric` or `time_attr`.

    Example:
        >>> scheduler = AsyncHyperBandScheduler(metric="loss", mode="min", max_t=27)
        >>> scheduler.metric, scheduler.mode
        ('loss', 'min')
    """

    def __init__(
        self,
        time_attr: str = "training_iteration",
        metric: str | None = None,
        mode: str | None = None,
        max_t: float = 100,
        grace_period: float = 1,
        reduction_factor: float = 4,
        brackets: int = 1,
        stop_last_trials: bool = True,
    ) -> None:
        super().__init__(time_attr, metric, mode)
        owner = type(self).__name__
        check_number(owner, "max_t", max_t, "use a number > 0")
        check_number(owner, "grace_period", grace_period, "use a number > 0")
        if grace_period > max_t:
            reject(owner, "grace_period", grace_period, f"use a number <= max_t={max_t!r}")
        check_number(owner, "reduction_factor", reduction_factor, "use a number > 1", above=1)
        check_whole(owner, "brackets", brackets, "use a whole number >= 1", least=1)
        check_flag(owner, "stop_last_trials", stop_last_trials)
        self._max_t = max_t
        self._stop_last_trials = stop_last_trials
        self._random = random.Random(0)
        self._num_stopped = 0
        self._brackets = [
            _Bracket(_milestones(grace_period, max_t, reduction_factor)[s:], reduction_factor)
            for s in range(brackets)
        ]
        self._live: dict[str, _Place] = {}  # trials that have been added and have not ended

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Take what the experiment optimizes; called once, before the first trial.

        Args:
            metric: The experiment's metric; fills in the scheduler's own if that was not given.
            mode: Likewise.
            spec: `seed` for the choice of brackets; `strict_metric_checking=False` to let trials
                go on when they do not report the metric or the time, instead of raising.

        Returns:
            False if the metric or the mode was given twice; then nothing has changed.

        Raises:
            ConfigError: The metric is not one name, or `mode` is neither `"min"` nor `"max"`.
        """
        if not super().set_search_properties(metric, mode, **spec):
            return False
        self._random.seed(spec.get("seed") or 0)
        return True

    def on_trial_add(self, experiment: ExperimentView, trial: TrialView) -> None:
        """Put the trial into a bracket; one that has run before keeps what it has passed."""
        self._check_objective()
        if trial.trial_id in self._live:
            return
        place = self._live[trial.trial_id] = _Place(self._draw_bracket())
        reached = as_number(lookup(dict(trial.last_result), self._time_attr))
        if reached is not None:
            place.bracket.mark_passed(place, reached)

    def on_trial_result(
        self, experiment: ExperimentView, trial: TrialView, result: dict[str, Any]
    ) -> str:
        """Stop the trial at `max_t`, or at a rung where it is not among the best."""
        if self._skips(result):
            return self.CONTINUE
        time = self._time(trial.trial_id, result)
        reward = self._reward(trial.trial_id, result)
        if self._stop_last_trials and time >= self._max_t:
            stops = True
        else:
            stops = self._judge(self._live[trial.trial_id], time, reward)
        self._num_stopped += stops
        return self.STOP if stops else self.CONTINUE

    def on_trial_complete(
        self, experiment: ExperimentView, trial: TrialView, result: dict[str, Any]
    ) -> None:
        """Record where the trial came to, and forget it."""
        place = self._live.pop(trial.trial_id, None)
        if place is None or not self._is_complete(result):
            return
        time = self._time(trial.trial_id, result)
        self._judge(place, time, self._reward(trial.trial_id, result))

    def on_trial_remove(self, experiment: ExperimentView, trial: TrialView) -> None:
        """Forget the trial; what it has reached stays recorded."""
        self._live.pop(trial.trial_id, None)

    def debug_string(self) -> str:
        """How many trials were stopped, and for each bracket its rungs and their cutoffs."""
        sign = 1.0 if self._mode == "max" else -1.0
        lines = [f"{type(self).__name__}: {self._num_stopped} trials stopped"]
        lines += [f"bracket {s}: {b.describe(sign)}" for s, b in enumerate(self._brackets)]
        return "\n".join(lines)

    def _draw_bracket(self) -> _Bracket:
        if len(self._brackets) == 1:
            return self._brackets[0]
        largest = max(len(bracket.rungs) for bracket in self._brackets)
        weights = [math.exp(len(bracket.rungs) - largest) for bracket in self._brackets]
        return self._random.choices(self._brackets, weights)[0]

    def _judge(self, place: _Place, time: float, reward: float) -> bool:
        return place.bracket.judge(place, time, reward, lower_rungs=self._stop_last_trials)


ASHAScheduler = AsyncHyperBandScheduler


class _Rung:
    """What trials had achieved when they reached a time."""

    __slots__ = ("cutoff", "milestone")

    def __init__(self, milestone: float, reduction_factor: float) -> None:
        self.milestone = milestone
        # In per cent and back, so that cutoffs equal those of numpy's percentile to the last bit.
        self.cutoff = RunningQuantile((1 - 1 / reduction_factor) * 100 / 100)


class _Bracket:
    """The rungs that a trial passes, the last one first."""

    __slots__ = ("rungs",)

    def __init__(self, milestones: list[float], reduction_factor: float) -> None:
        self.rungs = [_Rung(time, reduction_factor) for time in reversed(milestones)]

    def judge(self, place: _Place, time: float, reward: float, *, lower_rungs: bool) -> bool:
        """Record the trial at the last rung it has reached, and say whether it is to stop there.

        With `lower_rungs`, a trial that skipped rungs is recorded at one of them by each of its
        next results.
        """
        for index, rung in enumerate(self.rungs):
            if time < rung.milestone:
                continue
            if place.has_passed(index):
                if lower_rungs:
                    continue
                return False
            cutoff = rung.cutoff.value
            rung.cutoff.add(reward)
            place.pass_rung(index)
            return cutoff is not None and reward < cutoff
        return False

    def mark_passed(self, place: _Place, time: float) -> None:
        """Record nothing for this trial any more at the rungs up to `time`."""
        for index, rung in enumerate(self.rungs):
            if rung.milestone <= time:
                place.pass_rung(index)

    def describe(self, sign: float) -> str:
        """The rungs and their cutoffs, these times `sign`."""
        return ", ".join(
            f"t={rung.milestone:g}: {len(rung.cutoff)} trials"
            + ("" if rung.cutoff.value is None else f", cutoff {sign * rung.cutoff.value:.4g}")
            for rung in reversed(self.rungs)
        )


class _Place:
    """Where a trial is: its bracket, and which of the rungs it has passed."""

    __slots__ = ("bracket", "passed")

    def __init__(self, bracket: _Bracket) -> None:
        self.bracket = bracket
        self.passed = 0  # one bit for each rung

    def has_passed(self, index: int) -> bool:
        return bool(self.passed >> index & 1)

    def pass_rung(self, index: int) -> None:
        self.passed |= 1 << index


def _milestones(grace_period: float, max_t: float, reduction_factor: float) -> list[float]:
    times: list[float] = []
    while (time := grace_period * reduction_factor ** len(times)) <= max_t:
        times.append(time)
    return times
