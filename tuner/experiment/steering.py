"""What follows from a request: facts, or a reason why there are none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NoReturn

from tuner.bundles import Bundles
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
from tuner.metrics import as_number
from tuner.search_space.domains import Categorical, Float, Integer, Normal
from tuner.search_space.structure import Path, grid_values, is_grid, path_text
from tuner.search_space.variants import SearchSpace
from tuner.validation import check_number, check_whole, shorten

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
        yield from _stopped(experiment, _trial(experiment, request.trial_id), now)
    elif isinstance(request, PauseTrial):
        yield _paused(experiment, _trial(experiment, request.trial_id), now)
    elif isinstance(request, ResumeTrial):
        yield from _resumed(experiment, _trial(experiment, request.trial_id), now)


def refuse(kind: Any, text: str, field: str | None = None) -> NoReturn:
    """Raises the refusal of a request.

    Args:
        kind: See `Outcome`.
        text: Why.
        field: Which value is wrong.
    """
    raise Refusal(Outcome(refusal=text, kind=kind, field=field))


def _trial(experiment: RecordedExperiment, trial_id: str) -> Trial:
    trial = experiment.get_trial(trial_id)
    if trial is None:
        refuse("unknown", f"there is no trial {trial_id!r:.100}")
    return trial


def _stopped(experiment: RecordedExperiment, trial: Trial, now: float) -> Iterator[Fact]:
    if trial.is_finished():
        refuse("conflict", f"trial {trial.trial_id} has ended already: it is {trial.status}")
    if trial.status != RUNNING:
        yield TrialEnded(
            time=now, trial_id=trial.trial_id, attempt=trial.attempt, status=TERMINATED, error=None
        )
    elif not experiment.decisions.is_complete(trial):
        yield TrialSteered(time=now, trial_id=trial.trial_id, decision=STOP)


def _paused(experiment: RecordedExperiment, trial: Trial, now: float) -> Fact:
    _refuse_if_ending(experiment, trial)
    if experiment.decisions.is_paused_by_request(trial):
        refuse("conflict", f"trial {trial.trial_id} was asked to pause before; resume it first")
    if trial.status != RUNNING:
        refuse(
            "conflict", f"trial {trial.trial_id} is {trial.status}; only a RUNNING one can pause"
        )
    return TrialSteered(time=now, trial_id=trial.trial_id, decision=PAUSE)


def _resumed(experiment: RecordedExperiment, trial: Trial, now: float) -> Iterator[Fact]:
    _refuse_if_ending(experiment, trial)
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


def _refuse_if_ending(experiment: RecordedExperiment, trial: Trial) -> None:
    if trial.status == RUNNING and experiment.decisions.is_complete(trial):
        refuse("conflict", f"trial {trial.trial_id} has been told to stop")


def _changed(request: ChangeLimits, now: float) -> Fact:
    if request == ChangeLimits():
        refuse(
            "invalid", "nothing to change: give num_samples, time_budget_s or max_concurrent_trials"
        )
    for field, check in _LIMITS.items():
        value = getattr(request, field)
        try:
            if value is not None:
                check(value)
        except ConfigError as error:
            refuse("invalid", str(error), field)
    return ExperimentChanged(
        time=now,
        num_samples=request.num_samples,
        stop=None,
        time_budget_s=request.time_budget_s,
        max_concurrent_trials=request.max_concurrent_trials,
    )


def _check_num_samples(value: Any) -> None:
    if value != -1:
        fix = "use a whole number >= 1, or -1 for no limit"
        check_whole(_OWNER, "num_samples", value, fix, least=1)


def _check_time_budget(value: Any) -> None:
    check_number(_OWNER, "time_budget_s", value, "use seconds > 0")


def _check_max_concurrent(value: Any) -> None:
    fix = "use a whole number >= 1, or 0 for no limit"
    check_whole(_OWNER, "max_concurrent_trials", value, fix, least=0)


_OWNER = "experiment"
_LIMITS = {
    "num_samples": _check_num_samples,
    "time_budget_s": _check_time_budget,
    "max_concurrent_trials": _check_max_concurrent,
}


def _added(experiment: RecordedExperiment, request: AddTrials, now: float) -> list[Fact]:
    """The facts that there are more trials, all of them or none."""
    try:
        check_whole("spec", "num_samples", request.num_samples, "use a number >= 1", least=1)
    except ConfigError as error:
        refuse("invalid", str(error), "spec.num_samples")
    try:
        return _created(experiment, _proposed(experiment, request), now)
    except ConfigError as error:
        refuse("invalid", f"config: {error}", "spec.config")


def _proposed(experiment: RecordedExperiment, request: AddTrials) -> list[dict[str, Any]]:
    """The configurations, as a searcher would have proposed them."""
    spaces = _spaces(experiment.spec.param_space, request.config)
    total = request.num_samples * sum(space.size for space in spaces)
    if total > MOST_ADDED:
        raise SearchSpaceError(f"{total} trials in one request; add at most {MOST_ADDED}")
    variants = [(space, point) for space in spaces for point in range(space.size)]
    return [
        _resolved(experiment, space, point, number)
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
    if not space.space:
        return [*map(SearchSpace, points)]
    try:
        return [space.preset(point, unusual=_refuse_other_kinds) for point in points]
    except SearchSpaceError as error:
        raise SearchSpaceError(str(error).removeprefix("points_to_evaluate: ")) from None


def _refuse_other_kinds(place: Any, path: Path, value: Any, problem: str) -> None:
    """Lets numbers be others than would be drawn, and constants be others of their kind."""
    is_text = isinstance(place, str) and isinstance(value, str)
    if not is_text and not (_takes_numbers(place) and as_number(value) is not None):
        raise SearchSpaceError(f"{path_text(path)}={shorten(value)} {problem}")


def _takes_numbers(place: Any) -> bool:
    if is_grid(place) or isinstance(place, Categorical):
        options = grid_values(place) if is_grid(place) else place.categories
        return any(map(_takes_numbers, options))
    return isinstance(place, Float | Integer | Normal) or as_number(place) is not None


def _resolved(
    experiment: RecordedExperiment, space: SearchSpace, grid_point: int, number: int
) -> dict[str, Any]:
    if not space.is_random:
        return space.resolve(grid_point, rng=None)
    import numpy as np

    seed = [experiment.spec.seed, number, 1]  # apart from the searcher's streams
    return space.resolve(grid_point, rng=np.random.default_rng(seed))


def _created(
    experiment: RecordedExperiment, configs: list[dict[str, Any]], now: float
) -> list[Fact]:
    spec, taken = experiment.spec, set(experiment.table.dirnames)
    facts: list[Fact] = []
    for number, proposed in enumerate(configs, len(experiment.table.trials)):
        config, bundles = _completed(experiment, proposed, number)
        missing = experiment.capacity.missing(bundles)
        if missing is not None:
            raise ConfigError(f"the trial asks for {missing}")
        chosen = naming.changed_values(spec.param_space.space, config)
        fact = naming.new_trial(spec, number, config, bundles, now, taken, chosen, is_added=True)
        taken.add(fact.dirname)
        facts.append(fact)
    return facts


def _completed(
    experiment: RecordedExperiment, proposed: dict[str, Any], number: int
) -> tuple[dict[str, Any], Bundles]:
    """The configuration and the resources, for which code of the user may be called."""
    try:
        config = experiment.scheduler.complete_config(proposed, number)
        return config, experiment.spec.bundles_for(config)
    except Exception as error:
        raise ConfigError(
            f"no trial can be made of it ({type(error).__name__}: {error}); give values that the "
            "resources and the scheduler can take"
        ) from error
