"""An experiment as its facts have made it, be they new or from the journal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tuner.experiment.capacity import Capacity
from tuner.experiment.decisions import PAUSE, Decisions
from tuner.experiment.events import (
    CapacityKnown,
    ExperimentChanged,
    ExperimentEnded,
    ExperimentStarted,
    ExperimentStopping,
    Fact,
    SearchEnded,
    TrialChanged,
    TrialCreated,
    TrialEnded,
    TrialLaunched,
    TrialRequeued,
    TrialResult,
    TrialSteered,
    settle,
)
from tuner.experiment.proposals import Proposals
from tuner.experiment.spec import ExperimentSpec, least_limit
from tuner.experiment.trial import PAUSED, PENDING, RUNNING, Trial
from tuner.experiment.trial_table import TrialTable
from tuner.schedulers.change import Change
from tuner.schedulers.scheduler import TrialScheduler
from tuner.search.searcher import Searcher
from tuner.stoppers.limits import Limits


class RecordedExperiment:
    """Trials and policies of one experiment, changed by facts and by nothing else.

    Schedulers receive this object as their read-only view of the experiment.

    Args:
        spec: What the experiment is to do.
        table: Its trials, empty at the start.
        searcher: Proposes configurations.
        scheduler: Decides on results.
        stopper: Ends trials and the experiment.

    Attributes:
        decisions: What the policies have decided on each trial.
        proposals: Where new trials come from.
        capacity: The resources that trials share.
        stop_reason: Why the experiment comes to its end, None while it goes on.
        is_stalled: Whether nothing runs, and nothing new can, unless a paused trial goes on or
            ends.

    It can be pickled, but for `spec`, which is to be set again.
    """

    def __init__(
        self,
        spec: ExperimentSpec,
        table: TrialTable,
        searcher: Searcher,
        scheduler: TrialScheduler,
        stopper: Limits,
    ) -> None:
        self.spec = spec
        self.table = table
        self.searcher = searcher
        self.scheduler = scheduler
        self.stopper = stopper
        self.decisions = Decisions(self, searcher, scheduler, stopper)
        self.proposals = Proposals(searcher, scheduler, spec.num_trials)
        self.capacity = Capacity()
        self.stop_reason: str | None = None
        self.is_stalled = False
        # Attempts that the executor runs, by trial id. A trial can be in here and no longer
        # RUNNING only while an interrupt waits for its worker to end.
        self._live: dict[str, int] = {}
        # Trials that were running when the controller died: they run before any other.
        self._cut_off: dict[str, None] = {}
        self._started = False
        # What took the place of the spec's `max_concurrent_trials`, 0 for no limit.
        self._max_concurrent_trials: int | None = None
        # Whether it comes to its end, or has come to it, with trials that a restore continues.
        self._resumable_stop = False
        self._ended = False

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "spec": None}

    @property
    def trials(self) -> Sequence[Trial]:
        """All trials in order of creation."""
        return self.table.trials

    @property
    def pending_trials(self) -> Iterable[Trial]:
        """Those that wait for resources, in order of arrival."""
        return self.table.by_status[PENDING].values()

    @property
    def paused_trials(self) -> Iterable[Trial]:
        """Those that the scheduler may let go on, in order of arrival."""
        paused = self.table.by_status[PAUSED].values()
        if not self.decisions.paused_by_request:
            return paused
        return [each for each in paused if not self.decisions.is_paused_by_request(each)]

    @property
    def running_trials(self) -> Iterable[Trial]:
        """Those that are running."""
        return self.table.by_status[RUNNING].values()

    @property
    def num_trials(self) -> int | None:
        """How many trials there are to be, None if there is no limit."""
        proposed = self.proposals.num_trials
        return None if proposed is None else proposed + self.table.num_added

    @property
    def total_resources(self) -> Mapping[str, float]:
        """What all trials together can be given; empty before the executor has told."""
        return self.capacity.total

    @property
    def max_running(self) -> int | None:
        """How many trials may run at once, None for no limit but the resources."""
        if self._max_concurrent_trials is None:
            return self.spec.max_running
        return least_limit(self._max_concurrent_trials, self.spec.most_running)

    @property
    def expects_trials(self) -> bool:
        """Whether there may be more trials than there are so far."""
        return not self.proposals.is_exhausted(self.table.num_proposed)

    def get_trial(self, trial_id: str) -> Trial | None:
        """The trial with this id."""
        return self.table.get(trial_id)

    def fits(self, trial: Trial) -> bool:
        """Whether enough resources are free for the trial."""
        return self.capacity.fits(trial.bundles)

    def replay(self, fact: Fact) -> None:
        """Takes in a fact from the journal: the record decides, policies are told."""
        self.stopper.on_time(fact.time)
        if isinstance(fact, TrialCreated) and not fact.is_added:
            self.searcher.on_trial_recorded(fact.trial_id, fact.config)
        if isinstance(fact, TrialResult):
            trial = self.table[fact.trial_id]
            self._decide(trial, fact.result, fact.checkpoint, recorded=fact.decision)
            settle(fact)
        else:
            self._take_in(fact)
        self.table.removed_checkpoints.clear()

    def _decide(
        self,
        trial: Trial,
        result: dict[str, Any],
        checkpoint: str | None,
        *,
        recorded: str | None = None,
    ) -> str:
        """Takes in a result and returns what becomes of its trial; what is `recorded` wins."""
        self.table.record_result(trial, result, checkpoint)
        return self.decisions.decide(trial, is_interrupted=self._resumable_stop, recorded=recorded)

    def _take_in(self, fact: Fact) -> None:
        """The consequences of a fact for trials, resources and policies."""
        if isinstance(fact, TrialRequeued):
            self._take_in_requeue(fact)
            return
        trial = self.table.apply(fact)
        if isinstance(fact, TrialCreated):
            self.scheduler.on_trial_add(self, self.table[fact.trial_id])
        elif isinstance(fact, TrialLaunched):
            self.capacity.take(self.table[fact.trial_id].bundles)
            self._live[fact.trial_id] = fact.attempt
            self._cut_off.pop(fact.trial_id, None)
        elif isinstance(fact, TrialEnded) and trial is not None:
            self._take_in_end(trial)
        elif isinstance(fact, TrialChanged) and trial is not None:
            self.scheduler.on_trial_change(self, trial, _as_change(fact))
        elif isinstance(fact, TrialSteered):
            self.decisions.steer(self.table[fact.trial_id], fact.decision)
        elif isinstance(fact, SearchEnded):
            self.proposals.end()
        elif isinstance(fact, CapacityKnown):
            self.capacity.set_total(fact.resources, can_grow=fact.can_grow)
        elif isinstance(fact, ExperimentStopping):
            self._take_in_stopping(fact)
        elif isinstance(fact, ExperimentStarted):
            self._take_in_start(fact)
        elif isinstance(fact, ExperimentChanged):
            self._take_in_change(fact)
        elif isinstance(fact, ExperimentEnded):
            self._ended = True

    def _take_in_start(self, fact: ExperimentStarted) -> None:
        if not self._started:
            self._started = True
            return
        self.stopper.on_restore(fact.time)
        self.capacity.used.clear()
        self._live.clear()
        if self._resumable_stop:
            self.stop_reason = None
        self._resumable_stop = self._ended = False
        for trial in self.table.trials:
            if trial.status == RUNNING or self.decisions.is_held(trial):
                self.decisions.on_interrupted(trial)

    def _take_in_change(self, fact: ExperimentChanged) -> None:
        self.stop_reason = None
        self.stopper.change(fact.stop, fact.time_budget_s)
        if fact.num_samples is not None:
            self.proposals.set_num_samples(fact.num_samples)
        if fact.max_concurrent_trials is not None:
            self._max_concurrent_trials = fact.max_concurrent_trials

    def _take_in_stopping(self, fact: ExperimentStopping) -> None:
        self.stop_reason = fact.reason
        self._resumable_stop = fact.decision == PAUSE
        if self._resumable_stop:
            return
        for trial_id in self._live:
            self.decisions.stop(self.table[trial_id])

    def _take_in_end(self, trial: Trial) -> None:
        self._cut_off.pop(trial.trial_id, None)
        was_live = self._live.pop(trial.trial_id, None) is not None
        if was_live:
            self.capacity.give_back(trial.bundles)
        self.decisions.on_end(trial, was_live=was_live, is_stopping=self.stop_reason is not None)

    def _take_in_requeue(self, fact: TrialRequeued) -> None:
        trial = self.table[fact.trial_id]
        was_finished = trial.is_finished()
        if trial.status == PAUSED and self.decisions.is_held(trial):
            self.decisions.on_interrupted(trial)
        self.table.apply(fact)
        if was_finished:
            self.stop_reason = None  # it was asked for, so the experiment goes on
        elif not fact.anew:
            self._cut_off[trial.trial_id] = None
        self.decisions.on_requeue(trial, anew=fact.anew, was_finished=was_finished)


def _as_change(fact: TrialChanged) -> Change:
    return Change(
        trial_id=fact.trial_id,
        config=fact.config,
        donor=fact.donor,
        bundles=fact.bundles,
        is_logged=fact.is_logged,
    )
