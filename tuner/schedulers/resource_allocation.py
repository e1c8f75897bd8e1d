"""How resources are divided among trials that run, for `ResourceChangingScheduler`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tuner.bundles import Bundle, Bundles, sum_bundles
from tuner.flatten import lookup
from tuner.metrics import as_number, required_number
from tuner.placement import PlacementGroupFactory
from tuner.validation import check_flag, check_mode, check_text, check_whole, reject

if TYPE_CHECKING:
    from tuner.schedulers.resource_changing_scheduler import ResourceChangingScheduler
    from tuner.schedulers.scheduler import ExperimentView, TrialView

_EPSILON = 1e-9


class DistributeResources:
    """Shares what is free evenly among the trials that run, on top of what each asked for.

    Resources go in units of `increase_by`. Each trial gets as many units as any other, but for
    what is left over, which goes to those that were created first. A trial that has more than its
    share gives it back at its next result; one that has less takes what is free then. The shares
    depend on nothing but which trials run and which wait, so trials come to rest. Trials that wait
    count in as far as they could run beside the others.

    Args:
        add_bundles: Whether a unit becomes a bundle of its own; otherwise it is added to the
            trial's only bundle.
        increase_by: The unit, such as `{"CPU": 2, "GPU": 1}`. By default one GPU if the trial
            asked for GPUs, else one CPU; with `add_bundles` the last bundle that it asked for.
        increase_by_times: The most units for one trial, less than 1 for no limit; ignored without
            `increase_by`.
        reserve_resources: What is to stay free.

    Raises:
        ConfigError: An argument has a value that cannot work; later, when a trial asks for several
            bundles and `add_bundles` is False.

    Example:
        >>> DistributeResources(increase_by={"cpu": 2}, increase_by_times=3).increase_by
        {'CPU': 2.0}
    """

    def __init__(
        self,
        add_bundles: bool = False,
        increase_by: Mapping[str, float] | None = None,
        increase_by_times: int = -1,
        reserve_resources: Mapping[str, float] | None = None,
    ) -> None:
        owner = type(self).__name__
        check_flag(owner, "add_bundles", add_bundles)
        if increase_by and not any(_as_bundle(increase_by).values()):
            reject(owner, "increase_by", increase_by, "use at least one amount > 0")
        fix = "use a whole number, less than 1 for no limit"
        check_whole(owner, "increase_by_times", increase_by_times, fix, least=-1)
        self.add_bundles = add_bundles
        self.increase_by = _as_bundle(increase_by or {})
        self.increase_by_times = increase_by_times
        self.reserve_resources = _as_bundle(reserve_resources or {})

    def __call__(
        self,
        experiment: ExperimentView,
        trial: TrialView,
        result: dict[str, Any],
        scheduler: ResourceChangingScheduler,
    ) -> PlacementGroupFactory | None:
        """What the trial is to have from now on; None to leave it as it is."""
        base = scheduler.base_resources(trial).bundles
        unit = self._unit(trial, base)
        units = _times(_minus(sum_bundles(trial.bundles), sum_bundles(base)), unit)
        free = _minus(scheduler.free_resources(experiment), self.reserve_resources)
        most = min(self._limit, units + _times(free, unit))
        wanted = max(0, min(most, self._share(experiment, trial, result, scheduler, unit, units)))
        return None if wanted == units else self._enlarged(base, unit, wanted)

    def _share(
        self,
        experiment: ExperimentView,
        trial: TrialView,
        result: dict[str, Any],
        scheduler: ResourceChangingScheduler,
        unit: Bundle,
        units: int,
    ) -> float:
        """How many units the trial should have, be they free now or not.

        Args:
            experiment: The experiment.
            trial: The trial.
            result: Its last result.
            scheduler: Who asks.
            unit: What one unit is.
            units: How many it has now.
        """
        rest, sharers = self._to_share(experiment, scheduler)
        each, left = divmod(_times(rest, unit), len(sharers))
        earlier = sum(1 for other in sharers if other.number < trial.number)
        return each + (earlier < left)

    def _to_share(
        self, experiment: ExperimentView, scheduler: ResourceChangingScheduler
    ) -> tuple[Bundle, list[TrialView]]:
        """What is left when all have what they asked for, and who they are."""
        sharers = list(scheduler.live_trials(experiment))
        rest = _minus(experiment.total_resources, self.reserve_resources)
        for live in sharers:
            rest = _minus(rest, scheduler.base_resources(live).required_resources)
        for waiting in experiment.pending_trials:
            request = scheduler.base_resources(waiting).required_resources
            if len(sharers) == experiment.max_running or _times(rest, request) < 1:
                break
            rest = _minus(rest, request)
            sharers.append(waiting)
        return rest, sharers

    @property
    def _limit(self) -> float:
        is_limited = bool(self.increase_by) and self.increase_by_times >= 1
        return self.increase_by_times if is_limited else math.inf

    def _unit(self, trial: TrialView, base: Bundles) -> Bundle:
        if len(base) > 1 and not self.add_bundles:
            reject(
                type(self).__name__,
                "add_bundles",
                self.add_bundles,
                f"trial {trial.trial_id} asks for {len(base)} bundles; use add_bundles=True, or "
                "ask for one bundle",
            )
        if self.increase_by:
            return self.increase_by
        if self.add_bundles and base[-1]:
            return base[-1]
        return {"GPU": 1.0} if base[0].get("GPU") else {"CPU": 1.0}

    def _enlarged(self, base: Bundles, unit: Bundle, units: float) -> PlacementGroupFactory:
        if self.add_bundles:
            return PlacementGroupFactory([*base, *[unit] * int(units)])
        added = {name: amount * units for name, amount in unit.items()}
        return PlacementGroupFactory([sum_bundles([base[0], added])])


class DistributeResourcesToTopJob(DistributeResources):
    """Gives all that is free to the trial that is the best so far.

    At a result of the best trial of those that run and have less than the limit, it gets what is
    free. A trial that was the best before keeps what it has, unless a trial waits that could run
    if it had less.

    Args:
        add_bundles: As for `DistributeResources`.
        increase_by: Likewise.
        increase_by_times: Likewise.
        reserve_resources: Likewise.
        metric: What the best trial is best at; None for the metric of the base scheduler or of
            `TuneConfig`.
        mode: `"min"` or `"max"`; likewise.

    Raises:
        ConfigError: An argument has a value that cannot work; later, when there is no metric or no
            mode, or when a trial does not report the metric.

    Example:
        >>> DistributeResourcesToTopJob(metric="accuracy", mode="max").metric
        'accuracy'
    """

    def __init__(
        self,
        add_bundles: bool = False,
        increase_by: Mapping[str, float] | None = None,
        increase_by_times: int = -1,
        reserve_resources: Mapping[str, float] | None = None,
        metric: str | None = None,
        mode: str | None = None,
    ) -> None:
        super().__init__(add_bundles, increase_by, increase_by_times, reserve_resources)
        if metric is not None:
            check_text(type(self).__name__, "metric", metric, "use the name of a reported value")
        if mode is not None:
            check_mode(type(self).__name__, "mode", mode)
        self.metric = metric
        self.mode = mode

    def _share(
        self,
        experiment: ExperimentView,
        trial: TrialView,
        result: dict[str, Any],
        scheduler: ResourceChangingScheduler,
        unit: Bundle,
        units: int,
    ) -> float:
        """All that no other trial has, for the best one; for others no more than they have."""
        metric, mode = self._goal(scheduler)
        required_number(result, metric, role="metric", trial_id=trial.trial_id)
        rest, _ = self._to_share(experiment, scheduler)
        live = scheduler.live_trials(experiment)
        for other in live:
            if other.trial_id != trial.trial_id:
                base = scheduler.base_resources(other).required_resources
                rest = _minus(rest, _minus(sum_bundles(other.bundles), base))
        available = _times(rest, unit)
        below_limit = [each for each in live if self._units_of(each, scheduler, unit) < self._limit]
        is_best = trial is _best(below_limit, metric, mode)
        return available if is_best else min(units, available)

    def _units_of(
        self, trial: TrialView, scheduler: ResourceChangingScheduler, unit: Bundle
    ) -> int:
        base = scheduler.base_resources(trial).required_resources
        return _times(_minus(sum_bundles(trial.bundles), base), unit)

    def _goal(self, scheduler: ResourceChangingScheduler) -> tuple[str, str]:
        metric, mode = self.metric or scheduler.metric, self.mode or scheduler.mode
        if not metric or not mode:
            field = "mode" if metric else "metric"
            fix = f"say it here, for the base scheduler, or in TuneConfig({field}=...)"
            reject(type(self).__name__, field, None, fix)
        return metric, mode


def _best(trials: Sequence[TrialView], metric: str, mode: str) -> TrialView | None:
    sign = 1.0 if mode == "max" else -1.0
    scores: list[tuple[float, int, TrialView]] = []
    for trial in trials:
        score = as_number(lookup(dict(trial.last_result), metric))
        if score is not None and not math.isnan(score):
            scores.append((sign * score, -trial.number, trial))
    return max(scores)[2] if scores else None


def _as_bundle(amounts: Mapping[str, float]) -> Bundle:
    """Names as they are used everywhere, amounts checked."""
    return PlacementGroupFactory([amounts]).bundles[0]


def _minus(amounts: Mapping[str, float], other: Mapping[str, float]) -> Bundle:
    names = {**amounts, **other}
    return {name: amounts.get(name, 0.0) - other.get(name, 0.0) for name in names}


def _times(amounts: Mapping[str, float], unit: Mapping[str, float]) -> int:
    """How often the unit is in the amounts; less than 0 if something is missing."""
    return math.floor(
        min(((amounts.get(name, 0.0) + _EPSILON) / unit[name] for name in unit), default=0.0)
    )
