"""Changes the resources of trials while they run, around any other scheduler."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tuner.bundles import Bundle, Bundles, sum_bundles
from tuner.errors import ConfigError
from tuner.placement import PlacementGroupFactory, as_placement
from tuner.schedulers.change import Change, Stop
from tuner.schedulers.fifo import FIFOScheduler
from tuner.schedulers.resource_allocation import DistributeResources, DistributeResourcesToTopJob
from tuner.schedulers.scheduler import ExperimentView, TrialScheduler, TrialView
from tuner.validation import reject, shorten

__all__ = ["DistributeResources", "DistributeResourcesToTopJob", "ResourceChangingScheduler"]

_EPSILON = 1e-9
_EVENLY = DistributeResources()


class ResourceChangingScheduler(TrialScheduler):
    """Lets a function change what trials have, such as CPUs, each time that one reports.

    Where the base scheduler lets a trial go on, the function says what the trial is to have. If
    that is something else than it has, and free now, the trial is paused, and goes on at once from
    its checkpoint with the new resources; `tune.get_context().get_trial_resources()` says what it
    has. If others were faster, it goes on with what it had. The base scheduler hears nothing of
    it.

    A class is saved when it pauses. A function that reports no checkpoint begins again from its
    start, and one that reports checkpoints now and then from the last one: let it report one with
    each result.

    Args:
        base_scheduler: Decides about trials; None for `FIFOScheduler`.
        resources_allocation_function: Called with the experiment (`ExperimentView`), the trial, its
            result and this scheduler. It returns a `PlacementGroupFactory`, a dictionary such as
            `{"cpu": 2}`, or None to leave the trial as it is. None instead of a function changes
            nothing at any time.

    Raises:
        ConfigError: An argument has a value that cannot work; later, when the function returns
            something that is no request for resources, or is more than there is.

    Example:
        >>> from tuner.schedulers import ASHAScheduler
        >>> in_pairs = DistributeResources(increase_by={"cpu": 2})
        >>> asha = ASHAScheduler(metric="loss", mode="min")
        >>> scheduler = ResourceChangingScheduler(asha, in_pairs)
        >>> scheduler.metric
        'loss'
    """

    def __init__(
        self,
        base_scheduler: TrialScheduler | None = None,
        resources_allocation_function: Callable[..., Any] | None = _EVENLY,
    ) -> None:
        owner = type(self).__name__
        if base_scheduler is not None and not isinstance(base_scheduler, TrialScheduler):
            reject(owner, "base_scheduler", base_scheduler, "give a scheduler object, or None")
        function = resources_allocation_function
        if isinstance(function, type) or (function is not None and not callable(function)):
            field = "resources_allocation_function"
            reject(
                owner, field, function, "give a function, such as DistributeResources(), or None"
            )
        self._base = base_scheduler or FIFOScheduler()
        self._allocate = function
        self._first_request: Bundles | None = None
        # What trials asked for at first, of those that were given something else.
        self._requests: dict[str, Bundles] = {}
        # What trials are to have that were told to pause for it and have not paused yet.
        self._promised: dict[str, Bundles] = {}
        # The same for those that have paused, up to their next result.
        self._paused: dict[str, Bundles] = {}

    @property
    def metric(self) -> str | None:
        """The base scheduler's metric."""
        return self._base.metric

    @property
    def mode(self) -> str | None:
        """The base scheduler's mode."""
        return self._base.mode

    @property
    def base_trial_resources(self) -> PlacementGroupFactory | None:
        """What the first trial asked for at first; None before there is one."""
        return None if self._first_request is None else PlacementGroupFactory(self._first_request)

    def base_resources(self, trial: TrialView) -> PlacementGroupFactory:
        """What the trial asked for at first."""
        return PlacementGroupFactory(self._requests.get(trial.trial_id, trial.bundles))

    def live_trials(self, experiment: ExperimentView) -> list[TrialView]:
        """Trials that run, and those that are paused only to be given other resources."""
        paused = (t for t in experiment.paused_trials if t.trial_id in self._paused)
        return [*experiment.running_trials, *paused]

    def free_resources(self, experiment: ExperimentView) -> Bundle:
        """What no live trial has, nor is about to get."""
        free = dict(experiment.total_resources)
        for trial in self.live_trials(experiment):
            _take(free, self._held(trial))
        return free

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Passes on what the experiment optimizes; returns what the base scheduler does."""
        return self._base.set_search_properties(metric, mode, **spec)

    def on_trial_add(self, experiment: ExperimentView, trial: TrialView) -> None:
        """Remember what trials ask for, and pass it on."""
        if self._first_request is None:
            self._first_request = trial.bundles
        self._base.on_trial_add(experiment, trial)

    def on_trial_error(self, experiment: ExperimentView, trial: TrialView) -> None:
        """Pass it on."""
        self._forget_plans(trial)
        self._base.on_trial_error(experiment, trial)

    def on_trial_result(
        self, experiment: ExperimentView, trial: TrialView, result: dict[str, Any]
    ) -> str:
        """The base scheduler's decision; PAUSE if the trial is to go on with other resources."""
        self._forget_plans(trial)
        decision = self._base.on_trial_result(experiment, trial, result)
        if decision not in (self.CONTINUE, self.SAVE):
            return decision
        bundles = self._wanted(experiment, trial, result)
        if bundles is None or bundles == trial.bundles:
            return decision
        free = self.free_resources(experiment)
        _take(free, self._held(trial), sign=-1)
        if not _fits(bundles, free):
            return decision
        self._requests.setdefault(trial.trial_id, trial.bundles)
        self._promised[trial.trial_id] = bundles
        return self.PAUSE

    def on_trial_pause(self, experiment: ExperimentView, trial: TrialView) -> None:
        """Pass it on if it was the base scheduler that had the trial pause."""
        bundles = self._promised.pop(trial.trial_id, None)
        if bundles is None:
            self._base.on_trial_pause(experiment, trial)
        else:
            self._paused[trial.trial_id] = bundles

    def on_trial_complete(
        self, experiment: ExperimentView, trial: TrialView, result: dict[str, Any]
    ) -> None:
        """Pass it on."""
        self._forget_plans(trial)
        self._base.on_trial_complete(experiment, trial, result)

    def on_trial_remove(self, experiment: ExperimentView, trial: TrialView) -> None:
        """Pass it on."""
        self._forget_plans(trial)
        self._base.on_trial_remove(experiment, trial)

    def on_trial_change(self, experiment: ExperimentView, trial: TrialView, change: Change) -> None:
        """Pass it on if it was the base scheduler's."""
        is_of_base = change.bundles is None or (change.donor, change.config) != (None, None)
        if is_of_base or trial.trial_id not in self._requests:
            self._base.on_trial_change(experiment, trial, change)

    def complete_config(self, config: dict[str, Any], number: int) -> dict[str, Any]:
        """The configuration that the base scheduler makes of it."""
        return self._base.complete_config(config, number)

    def changes(self, experiment: ExperimentView) -> Iterable[Change | Stop]:
        """The base scheduler's, and other resources for trials that wait.

        A trial that paused for them gets what was promised if that is still free, else what it
        had, else what it asked for at first: whatever it can go on with now. A pending one, which
        a restore or a failure has put back, keeps what it had in the same way. One that the base
        scheduler has paused goes back to what it asked for, as others use the rest meanwhile.
        """
        changes = [*self._base.changes(experiment)]
        if not self._requests:
            return changes
        stopped = {change.trial_id for change in changes if isinstance(change, Stop)}
        free = dict(experiment.total_resources)
        for trial in experiment.running_trials:
            _take(free, sum_bundles(trial.bundles))
        for trial in [*experiment.paused_trials, *experiment.pending_trials]:
            if trial.trial_id not in self._requests or trial.trial_id in stopped:
                continue
            bundles = self._next_bundles(trial, free)
            if bundles != trial.bundles:
                changes.append(Change(trial_id=trial.trial_id, bundles=bundles))
        return changes

    def choose_trial_to_run(self, experiment: ExperimentView) -> TrialView | None:
        """A trial that paused for other resources; else what the base scheduler chooses."""
        if self._paused:
            for trial in experiment.paused_trials:
                if trial.trial_id in self._paused and experiment.fits(trial):
                    return trial
        return self._base.choose_trial_to_run(experiment)

    def debug_string(self) -> str:
        """How many trials were given other resources, and what the base scheduler says."""
        changed = f"{type(self).__name__}: resources of {len(self._requests)} trials changed"
        return f"{changed}\n{self._base.debug_string()}"

    def _wanted(
        self, experiment: ExperimentView, trial: TrialView, result: dict[str, Any]
    ) -> Bundles | None:
        """What the function wants the trial to have, checked; None for what it has."""
        if self._allocate is None:
            return None
        answer = self._allocate(experiment, trial, result, self)
        if answer is None:
            return None
        try:
            bundles = as_placement(answer).bundles
        except ConfigError as error:
            self._refuse(trial, answer, str(error))
        total = experiment.total_resources
        for name, amount in sum_bundles(bundles).items():
            if amount > total.get(name, 0.0) + _EPSILON:
                there_are = f"there are {total.get(name, 0.0):g} {name}; return no more than that"
                self._refuse(trial, answer, there_are)
        return bundles

    def _refuse(self, trial: TrialView, answer: Any, fix: str) -> None:
        name = getattr(self._allocate, "__name__", type(self._allocate).__name__)
        raise ConfigError(
            f"{type(self).__name__}: resources_allocation_function={name} returned "
            f"{shorten(answer)} for trial {trial.trial_id}: {fix}"
        )

    def _held(self, trial: TrialView) -> Bundle:
        """What a live trial has or is about to get, of each resource the larger amount."""
        held = dict(sum_bundles(trial.bundles))
        planned = self._promised.get(trial.trial_id)
        if planned is None and trial.status == "PAUSED":
            planned = self._paused.get(trial.trial_id)
        for name, amount in sum_bundles(planned or [{}]).items():
            held[name] = max(amount, held.get(name, 0.0))
        return held

    def _next_bundles(self, trial: TrialView, free: Bundle) -> Bundles:
        """What a waiting trial is to go on with; taken from what is free if it does so now."""
        request = self._requests[trial.trial_id]
        planned = self._paused.get(trial.trial_id)
        if planned is None and trial.status == "PAUSED":
            return request
        for bundles in (planned or trial.bundles, trial.bundles, request):
            if _fits(bundles, free):
                _take(free, sum_bundles(bundles))
                return bundles
        return trial.bundles

    def _forget_plans(self, trial: TrialView) -> None:
        self._promised.pop(trial.trial_id, None)
        self._paused.pop(trial.trial_id, None)


def _take(free: Bundle, amounts: Mapping[str, float], *, sign: int = 1) -> None:
    for name, amount in amounts.items():
        free[name] = free.get(name, 0.0) - sign * amount


def _fits(bundles: Bundles, free: Mapping[str, float]) -> bool:
    return all(
        amount <= free.get(name, 0.0) + _EPSILON for name, amount in sum_bundles(bundles).items()
    )
