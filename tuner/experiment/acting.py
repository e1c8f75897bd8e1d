"""What an experiment does by itself: trials are created, launched and ended, until it is over.

Whatever happens is a fact, which is taken in at once; what is to be done in the world is a command.
"""

from __future__ import annotations

from tuner.experiment.changes import Changes
from tuner.experiment.commands import Command, DeleteCheckpoint, EndAttempt, Launch
from tuner.experiment.decisions import STOP
from tuner.experiment.events import (
    ExperimentEnded,
    ExperimentStopping,
    Fact,
    SearchEnded,
    TrialEnded,
    TrialLaunched,
)
from tuner.experiment.recorded import RecordedExperiment
from tuner.experiment.spec import ExperimentSpec
from tuner.experiment.trial import ERROR, PAUSED, PENDING, TERMINATED, Trial
from tuner.experiment.trial_table import TrialTable
from tuner.schedulers.change import Stop
from tuner.schedulers.scheduler import TrialScheduler
from tuner.search.searcher import Searcher
from tuner.stoppers.limits import Limits
from tuner.trial_progress import Progress

_MOST_CREATED = 100  # trials at once, so that the experiment can be interrupted in between


class ActingExperiment(RecordedExperiment):
    """An experiment that goes on; `ExperimentState` says upon what.

    Attributes:
        is_filling: Whether there is more to be launched than was done at once.
    """

    def __init__(
        self,
        spec: ExperimentSpec,
        table: TrialTable,
        searcher: Searcher,
        scheduler: TrialScheduler,
        stopper: Limits,
    ) -> None:
        super().__init__(spec, table, searcher, scheduler, stopper)
        self.is_filling = False
        self._scheduler_changes = type(scheduler).changes is not TrialScheduler.changes
        # What the call in progress will return; empty between calls.
        self._facts: list[Fact] = []
        self._commands: list[Command] = []

    def _change(self, now: float) -> bool:
        """Does what the scheduler wants done to paused trials; False if that is nothing."""
        if not self._scheduler_changes or self.stop_reason is not None:
            return False
        changes = Changes(type(self.scheduler).__name__, self.table, self.capacity)
        wanted = [*self.scheduler.changes(self)]
        for change in wanted:
            if isinstance(change, Stop):
                self._end_attempt(changes.trial(change), TERMINATED, None, now)
            else:
                self._emit(changes.fact(self.spec, change, now))
                self._delete_removed()
        return bool(wanted)

    def _unstall(self, now: float) -> None:
        """Asks the scheduler once more when nothing runs and nothing else will change that."""
        if self._live or self.is_filling or not any(self.paused_trials):
            return
        self.is_stalled = True
        try:
            if self._change(now):
                self._fill(now)
        finally:
            self.is_stalled = False

    def _fill(self, now: float) -> None:
        """Launches trials as long as there is one and it fits."""
        most = len(self.table.trials) + _MOST_CREATED
        self.is_filling = False
        self._fill_cut_off(now)
        while self.stop_reason is None and not self._full():
            if len(self.table.trials) >= most:
                self.is_filling = True
                return
            created = not self.table.by_status[PENDING] and self._create(now)
            chosen = self.scheduler.choose_trial_to_run(self)
            if chosen is not None and self._may_launch(self.table[chosen.trial_id]):
                self._launch(self.table[chosen.trial_id], now)
            elif not created:
                return

    def _fill_cut_off(self, now: float) -> None:
        for trial_id in [*self._cut_off]:
            trial = self.table[trial_id]
            if self.stop_reason is None and not self._full() and self.fits(trial):
                self._launch(trial, now)

    def _create(self, now: float) -> bool:
        """Adds one more trial; False if there is none to be had now."""
        proposal = self.proposals.next(self.spec, self.table, self.capacity, now)
        if proposal is None:
            return False
        if isinstance(proposal, SearchEnded):
            self._emit(proposal)
            return False
        self._emit(proposal.created)
        if proposal.problem is not None:
            self._fail(self.table[proposal.created.trial_id], proposal.problem, now)
        return True

    def _full(self) -> bool:
        """Whether as many trials run as may, or every resource that one could ask for is taken."""
        if not self._live:
            return False
        limit = self.max_running
        if limit is not None and len(self._live) >= limit:
            return True
        used = self.capacity.used
        return all(used.get(name, 0.0) >= total for name, total in self.capacity.total.items())

    def _may_launch(self, trial: Trial) -> bool:
        is_hidden = trial.status == PAUSED and self.decisions.is_paused_by_request(trial)
        return self.fits(trial) and not is_hidden

    def _launch(self, trial: Trial, now: float) -> None:
        saved = trial.resume_point
        lender = trial.borrowed.donor if trial.borrowed else None
        progress = saved.progress if saved else Progress()
        attempt = trial.attempt + 1
        name = saved.name if saved else None
        self._emit(
            TrialLaunched(
                time=now,
                trial_id=trial.trial_id,
                attempt=attempt,
                checkpoint=name,
                num_results=saved.num_results if saved else 0,
                donor=lender.trial_id if lender else None,
            )
        )
        self._commands.append(Launch(trial, attempt, name, progress, lender))

    def _ask_stopper(self, now: float) -> None:
        self.stopper.on_time(now)
        if self.stop_reason is None and self.stopper.stop_all():
            deadline = self.stopper.deadline()
            out_of_time = deadline is not None and deadline <= now
            reason = "its time is up" if out_of_time else "a stopper ended the experiment"
            self._stop(now, reason, STOP, gently=not out_of_time)

    def _stop(self, now: float, reason: str, decision: str, *, gently: bool = False) -> None:
        """Ends the experiment.

        Args:
            now: Unix time in seconds.
            reason: Why, in words.
            decision: What running trials are told: STOP, or PAUSE if they are to be continued by
                a restore.
            gently: Whether running trials may take as long as they like to report; otherwise the
                executor ends them after its grace period.
        """
        if self.stop_reason is None:
            self._emit(ExperimentStopping(time=now, reason=reason, decision=decision))
        if not gently:
            self._commands.extend(EndAttempt(*live) for live in self._live.items())
        if not self._resumable_stop:
            for trial in [*self.pending_trials, *self.table.by_status[PAUSED].values()]:
                self._end_attempt(trial, TERMINATED, None, now)

    def _end_if_over(self, now: float) -> None:
        if self._ended or self._live:
            return
        waiting = self.table.by_status[PENDING] or self.table.by_status[PAUSED]
        if self.stop_reason is None and (waiting or self.expects_trials):
            return
        reason = self.stop_reason or "all trials have ended"
        self._emit(ExperimentEnded(time=now, reason=reason, complete=not self._resumable_stop))

    def _fail(self, trial: Trial, error: str, now: float, cause: bytes | None = None) -> None:
        self._end_attempt(trial, ERROR, error, now, cause)
        if self.spec.fail_fast:
            self._stop(now, f"{trial} failed and fail_fast is set", STOP)

    def _end_attempt(
        self, trial: Trial, status: str, error: str | None, now: float, cause: bytes | None = None
    ) -> None:
        self._emit(
            TrialEnded(
                time=now,
                trial_id=trial.trial_id,
                attempt=trial.attempt,
                status=status,
                error=error,
                cause=cause,
            )
        )
        self._delete_removed()

    def _delete_removed(self) -> None:
        removed = self.table.removed_checkpoints
        self._commands.extend(DeleteCheckpoint(owner, old.name) for owner, old in removed)
        removed.clear()

    def _emit(self, fact: Fact) -> None:
        self._facts.append(fact)
        self._take_in(fact)

    def _taken(self) -> tuple[list[Fact], list[Command]]:
        facts, commands = self._facts, self._commands
        self._facts, self._commands = [], []
        return facts, commands
