"""The state machine that owns every decision of an experiment. It does no I/O and has no clock.

Stimuli go in, facts and commands come out. Facts are the only thing that changes a trial: see
`recorded`, which takes them in during a live run and during a replay of the journal.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any, ClassVar

from tuner.config import ResumeConfig
from tuner.experiment import resuming, steering
from tuner.experiment.acting import ActingExperiment
from tuner.experiment.commands import (
    Answer,
    Command,
    CommitCheckpoint,
    DiscardStaged,
    EndAttempt,
    Respond,
)
from tuner.experiment.decisions import CONTINUE, PAUSE, STOP
from tuner.experiment.events import (
    Asked,
    CapacityChanged,
    CapacityKnown,
    CheckpointSaved,
    ExperimentChanged,
    ExperimentStarted,
    Fact,
    Failed,
    Finished,
    Reported,
    Saved,
    Stimulus,
    StopRequested,
    Tick,
    TrialRequeued,
    TrialResult,
    TrialSteered,
    settle,
)
from tuner.experiment.proposals import asked_for
from tuner.experiment.requests import Outcome, StopExperiment
from tuner.experiment.trial import PAUSED, PENDING, TERMINATED, Trial

logger = logging.getLogger(__name__)


class ExperimentState(ActingExperiment):
    """An experiment that goes on: `start` it, or `replay` its journal and `resume` it.

    Each method returns facts, which it has taken in, and commands, which are to be carried out
    once the facts are in the journal.
    """

    _has_warned = False  # of results that a pause costs

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
                self._requeue(trial, now, anew=how == ResumeConfig.ResumeType.RESTART)
        self._delete_removed()
        if self.stop_reason is not None:  # it was killed while it came to its end
            self._stop(now, self.stop_reason, STOP)
        self._end_if_over(now)
        return self._taken()

    def _requeue(self, trial: Trial, now: float, *, anew: bool) -> None:
        bundles = strategy = None
        if not trial.bundles:  # what it asks for could not be told
            bundles, problem = asked_for(self.spec, trial.config)
            if problem is not None:
                return
            strategy = self.spec.strategy_for(trial.config)
        self._emit(
            TrialRequeued(
                time=now, trial_id=trial.trial_id, anew=anew, bundles=bundles, strategy=strategy
            )
        )

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
        if told == PAUSE and not self._has_warned:
            self._warn_unsaved(trial)
        self._end_attempt(trial, PAUSED if told == PAUSE else TERMINATED, None, stimulus.time)

    def _warn_unsaved(self, trial: Trial) -> None:
        """Says so, once, when a pause costs a trial results that it will have to repeat."""
        if trial.is_saved or self.decisions.is_held(trial):
            return
        saved = trial.resume_point
        lost = trial.num_results - (saved.num_results if saved else 0)
        if lost == 0:
            return
        self._has_warned = True
        cost = f"{lost} result{'s' * (lost != 1)} after its last checkpoint, and will repeat them"
        if self._resumable_stop:
            logger.warning(
                "%s ends %s when it is restored: save more often (CheckpointConfig("
                "checkpoint_frequency=…) for a class, report(…, checkpoint=…) in a function), or "
                "give it more seconds to come to its next report (TUNER_STOP_GRACE_S)",
                trial,
                cost,
            )
        else:
            logger.warning(
                "%s pauses %s: report a checkpoint with each result at which %s may pause a trial",
                trial,
                cost,
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
        asked = getattr(stimulus.request, "trial_id", None)
        return Outcome(trial_ids=tuple(filter(None, trial_ids or [asked])))

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

    def _may_retry(self, trial: Trial) -> bool:
        if self.spec.fail_fast or self.stop_reason is not None:
            return False
        limit = self.spec.max_failures
        return limit < 0 or trial.num_failures < limit
