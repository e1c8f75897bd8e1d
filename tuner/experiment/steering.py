"""What follows from a request: facts, or a reason why there are none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NoReturn

from tuner.errors import ConfigError, SearchSpaceError
from tuner.experiment import naming
from tuner.experiment.decisions import CONTINUE, PAUSE, STOP
from tuner.experiment.events import (
    ExperimentChanged,
    Fact,
    TrialEnded,
    TrialRequeued,
    TrialSteered,
)
from tuner.experiment.recorded import RecordedExperiment
from tuner.experiment.requests import (
    AddTrials,
    ChangeLimits,
    Outcome,
    PauseTrial,
    Request,
    ResumeTrial,
    StopTrial,
)
from tuner.experiment.trial import PAUSED, RUNNING, TERMINATED, Trial
from tuner.search_space.variants import SearchSpace
from tuner.validation import check_number, check_whole

MOST_ADDED = 1000
"""Trials that one request can add."""


class Refusal(Exception):
    """A request cannot be followed.

    Attributes:
        outcome: Says why.
    """

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.refusal)
        self.outcome = outcome


def consequences(experiment: RecordedExperiment, request: Request, now: float) -> Iterator[Fact]:
    """The facts that follow from a request, each to be taken in before the next is asked for.

    Args:
        experiment: The experiment as it is, which goes on.
        request: Anything but `StopExperiment`.
        now: Unix time in seconds.

    Raises:
        Refusal: Nothing follows, and this is why.
    """
    if isinstance(request, AddTrials):
        yield from _added(experiment, request, now)
    elif isinstance(request, ChangeLimits):
        yield _changed(request, now)
    elif isinstance(request, StopTrial):
        yield _stopped(_trial(experiment, request.trial_id), now)
    elif isinstance(request, PauseTrial):
        yield _paused(experiment, _trial(experiment, request.trial_id), now)
    elif isinstance(request, ResumeTrial):
        yield from _resumed(experiment, _trial(experiment, request.trial_id), now)


def refuse(kind: Any, text: str) -> NoReturn:
    """Raises the refusal of a request.

    Args:
        kind: See `Outcome`.
        text: Why.
    """
    raise Refusal(Outcome(refusal=text, kind=kind))


def _trial(experiment: RecordedExperiment, trial_id: str) -> Trial:
    trial = experiment.get_trial(trial_id)
    if trial is None:
        refuse("unknown", f"there is no trial {trial_id!r:.100}")
    return trial


def _stopped(trial: Trial, now: float) -> Fact:
    if trial.is_finished():
        refuse("conflict", f"trial {trial.trial_id} has ended already: it is {trial.status}")
    if trial.status == RUNNING:
        return TrialSteered(time=now, trial_id=trial.trial_id, decision=STOP)
    return TrialEnded(
        time=now, trial_id=trial.trial_id, attempt=trial.attempt, status=TERMINATED, error=None
    )


def _paused(experiment: RecordedExperiment, trial: Trial, now: float) -> Fact:
    if experiment.decisions.is_paused_by_request(trial):
        refuse("conflict", f"trial {trial.trial_id} was asked to pause before; resume it first")
    if trial.status != RUNNING:
        refuse(
            "conflict", f"trial {trial.trial_id} is {trial.status}; only a RUNNING one can pause"
        )
    return TrialSteered(time=now, trial_id=trial.trial_id, decision=PAUSE)


def _resumed(experiment: RecordedExperiment, trial: Trial, now: float) -> Iterator[Fact]:
    if not experiment.decisions.is_paused_by_request(trial):
        refuse(
            "conflict",
            f"trial {trial.trial_id} was not paused by a request: it is {trial.status}",
        )
    if trial.status == RUNNING and experiment.decisions.told(trial) is not None:
        refuse("conflict", f"trial {trial.trial_id} is about to pause: resume it once it is PAUSED")
    yield TrialSteered(time=now, trial_id=trial.trial_id, decision=CONTINUE)
    if trial.status == PAUSED and experiment.decisions.is_held(trial):
        yield TrialRequeued(time=now, trial_id=trial.trial_id, anew=False)


def _changed(request: ChangeLimits, now: float) -> Fact:
    owner = "experiment"
    try:
        if request.num_samples is not None and request.num_samples != -1:
            fix = "use a whole number >= 1, or -1 for no limit"
            check_whole(owner, "num_samples", request.num_samples, fix, least=1)
        if request.time_budget_s is not None:
            check_number(owner, "time_budget_s", request.time_budget_s, "use seconds > 0")
        if request.max_concurrent_trials is not None:
            fix = "use a whole number >= 1, or 0 for no limit"
            limit = request.max_concurrent_trials
            check_whole(owner, "max_concurrent_trials", limit, fix, least=0)
    except ConfigError as error:
        refuse("invalid", str(error))
    if request == ChangeLimits():
        refuse(
            "invalid", "nothing to change: give num_samples, time_budget_s or max_concurrent_trials"
        )
    return ExperimentChanged(
        time=now,
        num_samples=request.num_samples,
        stop=None,
        time_budget_s=request.time_budget_s,
        max_concurrent_trials=request.max_concurrent_trials,
    )


def _added(experiment: RecordedExperiment, request: AddTrials, now: float) -> Iterator[Fact]:
    spec, table = experiment.spec, experiment.table
    try:
        configs = _configs(experiment, request)
        bundles = [spec.bundles_for(config) for config in configs]
        for each in bundles:
            missing = experiment.capacity.missing(each)
            if missing is not None:
                refuse("invalid", f"config: the trial asks for {missing}")
        for config, each in zip(configs, bundles, strict=True):
            chosen = naming.changed_values(spec.param_space.space, config)
            number = len(table.trials)
            yield naming.new_trial(
                spec, number, config, each, now, table.dirnames, chosen, is_added=True
            )
    except ConfigError as error:
        refuse("invalid", f"config: {str(error).removeprefix('points_to_evaluate: ')}")


def _configs(experiment: RecordedExperiment, request: AddTrials) -> list[dict[str, Any]]:
    check_whole("spec", "num_samples", request.num_samples, "use a number >= 1", least=1)
    spaces = _spaces(experiment.spec.param_space, request.config)
    total = request.num_samples * sum(space.size for space in spaces)
    if total > MOST_ADDED:
        refuse("invalid", f"config: {total} trials in one request; add at most {MOST_ADDED}")
    variants = [(space, point) for space in spaces for point in range(space.size)]
    return [
        _config(experiment, space, point, number)
        for number, (space, point) in enumerate(
            variants * request.num_samples, len(experiment.table.trials)
        )
    ]


def _spaces(space: SearchSpace, config: dict[str, Any]) -> list[SearchSpace]:
    """The search space with each combination of the values that a request has for it."""
    given = SearchSpace(config)
    if given.size > MOST_ADDED:
        raise SearchSpaceError(f"grid_search gives {given.size} trials; add at most {MOST_ADDED}")
    points = (given.resolve(point, rng=None) for point in range(given.size))
    return [space.preset(point) if space.space else SearchSpace(point) for point in points]


def _config(
    experiment: RecordedExperiment, space: SearchSpace, grid_point: int, number: int
) -> dict[str, Any]:
    rng = None
    if space.is_random:
        import numpy as np

        seed = [experiment.spec.seed, number, 1]  # apart from the searcher's streams
        rng = np.random.default_rng(seed)
    return experiment.scheduler.complete_config(space.resolve(grid_point, rng=rng), number)
