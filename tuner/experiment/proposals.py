"""New trials: the searcher proposes a configuration, which is completed, checked and named."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from typing import Any

from tuner.bundles import Bundles
from tuner.errors import ResourceError, TunerError
from tuner.experiment import naming
from tuner.experiment.capacity import Capacity
from tuner.experiment.events import SearchEnded, TrialCreated
from tuner.experiment.spec import ExperimentSpec
from tuner.experiment.trial_table import TrialTable
from tuner.schedulers.scheduler import TrialScheduler
from tuner.search.searcher import Searcher

_MOST_REJECTED = 1000


@dataclass(frozen=True, slots=True)
class Proposal:
    """A new trial.

    Attributes:
        created: The fact that there is one.
        problem: Why it cannot be launched, None if it can.
    """

    created: TrialCreated
    problem: str | None


class Proposals:
    """Asks the searcher for trials, up to a number of them.

    Args:
        searcher: Proposes configurations.
        scheduler: Completes them.
        num_trials: How many trials there are to be, None for no limit.

    Attributes:
        num_trials: The same; a restore may change it.
    """

    def __init__(
        self, searcher: Searcher, scheduler: TrialScheduler, num_trials: int | None
    ) -> None:
        self.num_trials = num_trials
        self._searcher = searcher
        self._scheduler = scheduler
        # Whether the searcher has said that it has no more.
        self._exhausted = False
        self._rejected_in_a_row = 0

    def is_exhausted(self, num_created: int) -> bool:
        """Whether there will be no more trials than those."""
        return self._exhausted or (self.num_trials is not None and num_created >= self.num_trials)

    def set_num_samples(self, num_samples: int) -> None:
        """Changes how often the search space is sampled."""
        self._searcher.set_num_samples(num_samples)
        self.num_trials = self._searcher.total_samples(num_samples)
        self._exhausted = False

    def end(self) -> None:
        """Takes in that the searcher has no more to propose."""
        self._exhausted = True

    def next(
        self, spec: ExperimentSpec, table: TrialTable, capacity: Capacity, now: float
    ) -> Proposal | SearchEnded | None:
        """One more trial, or the fact that there will be no more.

        None if there is none to be had now.

        Raises:
            TunerError: The searcher breaks its contract.
            ConfigError: A creator of names does.
            ResourceError: Trials would go on to ask for what cannot be had, without an end.
        """
        number = len(table.trials)
        if self.is_exhausted(table.num_proposed):
            return None
        config = self._searcher.suggest(naming.trial_id(spec, number))
        if config is None:
            return None
        if config == Searcher.FINISHED:
            return SearchEnded(time=now, num_trials=table.num_proposed)
        if not isinstance(config, dict):
            raise TunerError(
                f"{type(self._searcher).__name__}.suggest returned {config!r:.100}; it must return "
                "a dictionary, None, or Searcher.FINISHED"
            )
        suggestion: dict[str, Any] | None = None
        if not self._searcher.fills_space:
            suggestion = config
            config = spec.param_space.completed(suggestion, seed=[spec.seed, number])
        completed = self._scheduler.complete_config(config, number)
        if completed is not config:
            suggestion = {**(suggestion or {}), **naming.changed_values(config, completed)}
        bundles, problem = asked_for(spec, completed)
        created = naming.new_trial(
            spec, number, completed, bundles, now, table.dirnames, suggestion
        )
        missing = None if problem else capacity.missing(bundles)
        if missing is not None:
            problem = f"{ResourceError.__name__}: the trial asks for {missing}"
        self._count_rejected(spec, missing, problem)
        return Proposal(created, problem)

    def _count_rejected(
        self, spec: ExperimentSpec, missing: str | None, problem: str | None
    ) -> None:
        if problem is None:
            self._rejected_in_a_row = 0
            return
        if missing is not None and not spec.bundles_vary:
            raise ResourceError(
                f"every trial asks for {missing}: ask for less by with_resources, or run where "
                "there is more"
            )
        self._rejected_in_a_row += 1
        if self.num_trials is None and self._rejected_in_a_row >= _MOST_REJECTED:
            last = problem.splitlines()[-1]
            raise ResourceError(
                f"the last {_MOST_REJECTED} trials all asked for more than there is (the last one "
                f"for {missing}), and num_samples=-1 sets no end to it; ask for less"
                if missing is not None
                else f"the last {_MOST_REJECTED} trials could all not be launched ({last}), and "
                "num_samples=-1 sets no end to it"
            )


def asked_for(spec: ExperimentSpec, config: dict[str, Any]) -> tuple[Bundles, str | None]:
    """What a trial of this configuration asks for, or nothing and the error of the user's code."""
    try:
        return spec.bundles_for(config), None
    except Exception as error:
        said = "".join(traceback.format_exception(error)).rstrip()
        return [], (
            f"{said}\n{ResourceError.__name__}: what the trial asks for cannot be told from its "
            f"configuration ({type(error).__name__}: {error}); have the function of its resources "
            "take such values, or leave them out of the search space"
        )
