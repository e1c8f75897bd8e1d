"""The state machine that owns every decision of an experiment. It does no I/O and has no clock.

Stimuli go in, facts and commands come out. Facts are the only thing that changes a trial: see
`recorded`, which takes them in during a live run and during a replay of the journal.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any, ClassVar

from tuner.config import ResumeConfig
from tuner.errors import ResourceError
from tuner.experiment import resuming, steering
from tuner.experiment.changes import Changes
from tuner.experiment.commands import (
    Answer,
    Command,
    CommitCheckpoint,
    DeleteCheckpoint,
    DiscardStaged,
    EndAttempt,
    Launch,
    Respond,
)
from tuner.experiment.decisions import CONTINUE, PAUSE, STOP
from tuner.experiment.events import (
    Asked,
    CapacityChanged,
    CapacityKnown,
    CheckpointSaved,
    ExperimentChanged,
    ExperimentEnded,
    ExperimentStarted,
    ExperimentStopping,
    Fact,
    Failed,
    Finished,
    Reported,
    Saved,
    SearchEnded,
    Stimulus,
    StopRequested,
    Tick,
    TrialEnded,
    TrialLaunched,
    TrialRequeued,
    TrialResult,
    TrialSteered,
    settle,
)
from tuner.experiment.recorded import RecordedExperiment
from tuner.experiment.requests import Outcome, StopExperiment
from tuner.experiment.spec import ExperimentSpec
from tuner.experiment.trial import ERROR, PAUSED, PENDING, TERMINATED, Trial
from tuner.experiment.trial_table import TrialTable
from tuner.schedulers.change import Stop
from tuner.schedulers.scheduler import TrialScheduler
from tuner.search.searcher import Searcher
from tuner.stoppers.limits import Limits
from tuner.trial_progress import Progress

logger = logging.getLogger(__name__)

_MOST_CREATED = 100  # trials at once, so that the experiment can be interrupted in between


class ExperimentState(RecordedExperiment):
    """An experiment that goes on: `start` it, or `replay` its journal and `resume` it.

    Each method returns facts, which it has taken in, and commands, which are to be carried out
    once the facts are in the journal.

    Attributes:
        is_filling: Whether there is more to be launched than `handle` did at once.
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
        self._has_warned = False
        self._scheduler_changes = type(scheduler).changes is not TrialScheduler.changes
        # What the call in progress will return; empty between calls.
        self._facts: list[Fact] = []
        self._commands: list[Command] = []

    @property
    def is_over(self) -> bool:
        """Whether the experiment has ended and nothing runs any more."""
        return self._ended

    @property
    def is_complete(self) -> bool:
        """Whether a restore has nothing left to do, once it is over."""
        return not self._resumable_stop

    @property
    def is_stuck(self) -> bool:
        """Whether nothing runs although the experiment goes on: only time can bring news."""
        return not self._live and not self._ended

    @property
    def deadline(self) -> float | None:
        """Unix time at which the experiment ends by time alone."""
        return None if self.stop_reason is not None else self.stopper.deadline()

    def start(self, now: float, version: str) -> tuple[list[Fact], list[Command]]:
        """Begins the experiment; no trial runs before the executor has told its capacity."""
        self._emit(ExperimentStarted(time=now, seed=self.spec.seed, version=version))
        self.stopper.on_time(now)
        return self._taken()

    def resume(
        self,
        now: float,
        version: str,
        resume_config: ResumeConfig,
        changed: ExperimentChanged | None = None,
        *,
        can_be_steered: bool = False,
    ) -> tuple[list[Fact], list[Command]]:
        """Goes on with an experiment that was replayed from its journal.

        Args:
            now: Unix time in seconds.
            version: This library's version.
            resume_config: What becomes of trials that had ended, or not.
            changed: Limits that differ from now on.
            can_be_steered: Whether requests may come; without them, trials that a request has
                paused go on.
        """
        self._emit(ExperimentStarted(time=now, seed=self.spec.seed, version=version))
        for trial in [*self.running_trials]:
            status = resuming.reached_end(
                trial,
                self.decisions,
                checkpoint_at_end=self.spec.checkpoint_at_end,
                saves_when_told=self.spec.saves_when_told,
            )
            if status is not None:
                self._end_attempt(trial, status, None, now)
        if not can_be_steered:
            for trial_id in sorted(self.decisions.paused_by_request):
                self._emit(TrialSteered(time=now, trial_id=trial_id, decision=CONTINUE))
        if changed is not None:
            self._emit(changed)
        for trial in self.table.trials:
            how = resuming.taken_up(
                trial, self.decisions, resume_config, limits_changed=changed is not None
            )
            if how == ResumeConfig.ResumeType.SKIP:
                self._end_attempt(trial, TERMINATED, None, now)
            elif how is not None:
                anew = how == ResumeConfig.ResumeType.RESTART
                self._emit(TrialRequeued(time=now, trial_id=trial.trial_id, anew=anew))
        self._delete_removed()
        if self.stop_reason is not None:  # it was killed while it came to its end
            self._stop(now, self.stop_reason, STOP)
        self._end_if_over(now)
        return self._taken()

    def handle(self, stimuli: Iterable[Stimulus]) -> tuple[list[Fact], list[Command]]:
        """Takes in what happened and returns what follows, to be journaled before it is done."""
        now = None
        for stimulus in stimuli:
            now = stimulus.time
            self._handlers[type(stimulus)](self, stimulus)
        if now is not None:
            self._ask_stopper(now)
            self._change(now)
            self._fill(now)
            self._unstall(now)
            self._end_if_over(now)
        return self._taken()

    def _on_reported(self, stimulus: Reported) -> None:
        trial = self._live_trial(stimulus)
        if trial is None:
            return
        self.stopper.on_time(stimulus.time)
        result = dict(stimulus.result)  # `settle` changes it, and a stimulus stays as it is
        decision = self._decide(trial, result, stimulus.checkpoint)
        fact = TrialResult(
            time=stimulus.time,
            trial_id=trial.trial_id,
            attempt=stimulus.attempt,
            decision=decision,
            checkpoint=stimulus.checkpoint,
            result=result,
            raw=stimulus.raw,
        )
        settle(fact)
        self._facts.append(fact)
        if stimulus.checkpoint is not None:
            self._commit_checkpoint(trial, stimulus.attempt, stimulus.checkpoint)
        self._commands.append(Answer(trial.trial_id, stimulus.attempt, decision))
        self._ask_stopper(stimulus.time)

    def _on_saved(self, stimulus: Saved) -> None:
        trial = self._live_trial(stimulus)
        if trial is None:
            return
        self._emit(
            CheckpointSaved(
                time=stimulus.time,
                trial_id=trial.trial_id,
                attempt=stimulus.attempt,
                checkpoint=stimulus.checkpoint,
            )
        )
        self._commit_checkpoint(trial, stimulus.attempt, stimulus.checkpoint)

    def _on_finished(self, stimulus: Finished) -> None:
        trial = self._live_trial(stimulus)
        if trial is None:
            return
        told = self.decisions.told(trial)
        if stimulus.interrupted:
            self._commands.append(DiscardStaged(trial, stimulus.attempt))
        if told is None and stimulus.interrupted and self._resumable_stop:
            told = PAUSE
        if told == PAUSE:
            self._warn_unsaved(trial)
        self._end_attempt(trial, PAUSED if told == PAUSE else TERMINATED, None, stimulus.time)

    def _warn_unsaved(self, trial: Trial) -> None:
        """Says so, once, when a pause costs a trial results that it will have to repeat."""
        if trial.is_saved or self._has_warned or self.decisions.is_held(trial):
            return
        saved = trial.resume_point
        lost = trial.num_results - (saved.num_results if saved else 0)
        if lost == 0:
            return
        self._has_warned = True
        logger.warning(
            "%s pauses %d results after its last checkpoint, and will repeat them: report a "
            "checkpoint with each result at which %s may pause a trial",
            trial,
            lost,
            type(self.scheduler).__name__,
        )

    def _on_failed(self, stimulus: Failed) -> None:
        trial = self._live_trial(stimulus)
        if trial is None:
            return
        self._commands.append(DiscardStaged(trial, stimulus.attempt))
        if self.decisions.is_complete(trial):
            logger.warning("%s failed after it was told to stop:\n%s", trial, stimulus.error)
            self._end_attempt(trial, TERMINATED, None, stimulus.time)
        elif self._resumable_stop:
            logger.warning("%s failed while the experiment ended:\n%s", trial, stimulus.error)
            self._end_attempt(trial, PAUSED, None, stimulus.time)  # a restore tries again
        elif stimulus.is_lost and self.stop_reason is None:
            logger.warning("%s is to go on elsewhere: %s", trial, stimulus.error)
            self._end_attempt(trial, PENDING, None, stimulus.time)
        elif self._may_retry(trial):
            self._end_attempt(trial, PENDING, stimulus.error, stimulus.time, stimulus.cause)
        else:
            self._fail(trial, stimulus.error, stimulus.time, stimulus.cause)

    def _on_capacity(self, stimulus: CapacityChanged) -> None:
        if self.capacity.total != stimulus.resources:
            self._emit(
                CapacityKnown(
                    time=stimulus.time,
                    resources=dict(stimulus.resources),
                    can_grow=stimulus.can_grow,
                )
            )

    def _on_tick(self, stimulus: Tick) -> None:
        pass

    def _on_stop_requested(self, stimulus: StopRequested) -> None:
        self._stop(stimulus.time, stimulus.reason, PAUSE if stimulus.resumable else STOP)

    def _on_asked(self, stimulus: Asked) -> None:
        try:
            outcome = self._follow(stimulus)
        except steering.Refusal as refusal:
            outcome = refusal.outcome
        self._commands.append(Respond(stimulus.request_id, outcome))

    def _follow(self, stimulus: Asked) -> Outcome:
        """Does what was asked for, and returns which trials it was about."""
        if self.stop_reason is not None or self._ended:
            steering.refuse("conflict", f"the experiment ends: {self.stop_reason or 'it is done'}")
        if isinstance(stimulus.request, StopExperiment):
            decision = PAUSE if stimulus.request.resumable else STOP
            self._stop(stimulus.time, "it was asked to end", decision)
            return Outcome()
        trial_ids: dict[str, None] = {}
        for fact in steering.consequences(self, stimulus.request, stimulus.time):
            self._emit(fact)
            if isinstance(fact, TrialSteered) and fact.decision == STOP:
                self._commands.append(EndAttempt(fact.trial_id, self._live[fact.trial_id]))
            trial_ids[getattr(fact, "trial_id", "")] = None
        self._delete_removed()
        return Outcome(trial_ids=tuple(filter(None, trial_ids)))

    _handlers: ClassVar[dict[type, Any]] = {
        Reported: _on_reported,
        Saved: _on_saved,
        Finished: _on_finished,
        Failed: _on_failed,
        CapacityChanged: _on_capacity,
        Tick: _on_tick,
        StopRequested: _on_stop_requested,
        Asked: _on_asked,
    }

    def _live_trial(self, stimulus: Reported | Saved | Finished | Failed) -> Trial | None:
        """The trial that a worker speaks of, None if it was relaunched since."""
        if self._live.get(stimulus.trial_id) != stimulus.attempt:
            logger.warning(
                "trial %s: refused a message of its attempt %d, which is over",
                stimulus.trial_id,
                stimulus.attempt,
            )
            trial = self.table.get(stimulus.trial_id)
            if trial is not None:
                self._commands.append(DiscardStaged(trial, stimulus.attempt))
            return None
        return self.table[stimulus.trial_id]

    def _commit_checkpoint(self, trial: Trial, attempt: int, name: str) -> None:
        self._commands.append(CommitCheckpoint(trial, attempt, name))
        self._delete_removed()

    def _delete_removed(self) -> None:
        removed = self.table.removed_checkpoints
        self._commands.extend(DeleteCheckpoint(owner, old.name) for owner, old in removed)
        removed.clear()

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

    def _fail(self, trial: Trial, error: str, now: float, cause: bytes | None = None) -> None:
        self._end_attempt(trial, ERROR, error, now, cause)
        if self.spec.fail_fast:
            self._stop(now, f"{trial} failed and fail_fast is set", STOP)

    def _may_retry(self, trial: Trial) -> bool:
        if self.spec.fail_fast or self.stop_reason is not None:
            return False
        limit = self.spec.max_failures
        return limit < 0 or trial.num_failures < limit

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

    def _may_launch(self, trial: Trial) -> bool:
        is_hidden = trial.status == PAUSED and self.decisions.is_paused_by_request(trial)
        return self.fits(trial) and not is_hidden

    def _fill_cut_off(self, now: float) -> None:
        for trial_id in [*self._cut_off]:
            trial = self.table[trial_id]
            if self.stop_reason is None and not self._full() and self.fits(trial):
                self._launch(trial, now)

    def _create(self, now: float) -> bool:
        """Adds one more trial; False if there is none to be had now."""
        created = self.proposals.next(self.spec, self.table, now)
        if created is None:
            return False
        if isinstance(created, SearchEnded):
            self._emit(created)
            return False
        missing = self.proposals.check_resources(self.spec, created, self.capacity)
        self._emit(created)
        if missing is not None:
            error = f"{ResourceError.__name__}: the trial asks for {missing}"
            self._fail(self.table[created.trial_id], error, now)
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

    def _emit(self, fact: Fact) -> None:
        self._facts.append(fact)
        self._take_in(fact)

    def _taken(self) -> tuple[list[Fact], list[Command]]:
        facts, commands = self._facts, self._commands
        self._facts, self._commands = [], []
        return facts, commands
