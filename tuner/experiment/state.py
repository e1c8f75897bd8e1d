"""The state machine that owns every decision of an experiment. It does no I/O and has no clock.

Stimuli go in, facts and commands come out. Facts are the only thing that changes a trial, and the
same code takes them in during a live run and during a replay of the journal.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from tuner.config import ResumeConfig
from tuner.errors import ResourceError, TunerError
from tuner.experiment import naming
from tuner.experiment.capacity import Capacity
from tuner.experiment.commands import (
    Answer,
    Command,
    CommitCheckpoint,
    DeleteCheckpoint,
    DiscardStaged,
    EndAttempt,
    Launch,
)
from tuner.experiment.events import (
    CapacityChanged,
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
    Stimulus,
    StopRequested,
    Tick,
    TrialCreated,
    TrialEnded,
    TrialLaunched,
    TrialRequeued,
    TrialResult,
    settled,
)
from tuner.experiment.spec import ExperimentSpec
from tuner.experiment.trial import ERROR, PAUSED, PENDING, RUNNING, TERMINATED, Trial
from tuner.experiment.trial_table import TrialTable
from tuner.schedulers.scheduler import TrialScheduler
from tuner.search.searcher import Searcher
from tuner.stoppers.limits import Limits
from tuner.trial_progress import Progress

logger = logging.getLogger(__name__)

CONTINUE = TrialScheduler.CONTINUE
PAUSE = TrialScheduler.PAUSE
STOP = TrialScheduler.STOP

_MOST_CREATED = 100  # trials at once, so that the experiment can be interrupted in between
_MOST_REJECTED = 1000


class ExperimentState:
    """Trials and policies of one experiment.

    Schedulers receive this object as their read-only view of the experiment.

    Args:
        spec: What the experiment is to do.
        table: Its trials, empty at the start.
        searcher: Proposes configurations.
        scheduler: Decides on results.
        stopper: Ends trials and the experiment.

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
        self.capacity = Capacity()
        self.num_trials = spec.num_trials
        self.stop_reason: str | None = None
        # Attempts that the executor runs, by trial id. A trial can be in here and no longer
        # RUNNING only while an interrupt waits for its worker to end.
        self._live: dict[str, int] = {}
        # Trials that were told to stop or pause and have not yet come to their end.
        self._told: dict[str, str] = {}
        # Of those, or of paused trials, the ones that no policy wants paused.
        self._held: set[str] = set()
        # Ended trials that the stopper, or the end of the experiment, has ended.
        self._limited: set[str] = set()
        # Trials that a restore lets repeat results: how many of them the policies have seen, and
        # whether the last one ended the trial.
        self._repeating: dict[str, tuple[int, bool]] = {}
        self._started = False
        self._resumable_stop = False
        self._ended = False
        self._exhausted = False
        self._rejected_in_a_row = 0
        # Whether there is more to be launched than `handle` did at once.
        self.is_filling = False
        self._facts: list[Fact] = []
        self._commands: list[Command] = []
        self._searcher_listens = type(searcher).on_trial_result is not Searcher.on_trial_result

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "spec": None}

    # What schedulers, callbacks and the console may look at

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
        """Those that a scheduler has paused, in order of arrival."""
        return self.table.by_status[PAUSED].values()

    @property
    def running_trials(self) -> Iterable[Trial]:
        """Those that are running."""
        return self.table.by_status[RUNNING].values()

    def get_trial(self, trial_id: str) -> Trial | None:
        """The trial with this id."""
        return self.table.get(trial_id)

    def fits(self, trial: Trial) -> bool:
        """Whether enough resources are free for the trial."""
        return self.capacity.fits(trial.bundles)

    @property
    def is_over(self) -> bool:
        """Whether the experiment has ended and nothing runs any more."""
        return self._ended

    @property
    def is_stuck(self) -> bool:
        """Whether nothing runs although the experiment goes on: only time can bring news."""
        return not self._live and not self._ended

    @property
    def deadline(self) -> float | None:
        """Unix time at which the experiment ends by time alone."""
        return None if self.stop_reason is not None else self.stopper.deadline()

    # Live

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
    ) -> tuple[list[Fact], list[Command]]:
        """Goes on with an experiment that was replayed from its journal.

        Args:
            now: Unix time in seconds.
            version: This library's version.
            resume_config: What becomes of trials that had ended, or not.
            changed: Limits that differ from now on.
        """
        self._emit(ExperimentStarted(time=now, seed=self.spec.seed, version=version))
        for trial in [*self.running_trials]:
            self._settle(trial, now)
        if changed is not None:
            self._emit(changed)
        for trial in self.table.trials:
            how = self._taken_up(trial, resume_config, limits_changed=changed is not None)
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
            self._fill(now)
            self._end_if_over(now)
        return self._taken()

    def _on_reported(self, stimulus: Reported) -> None:
        trial = self._live_trial(stimulus)
        if trial is None:
            return
        self.stopper.on_time(stimulus.time)
        result = dict(stimulus.result)  # `settled` changes it, and a stimulus stays as it is
        self.table.record_result(trial, result, stimulus.checkpoint)
        decision = self._decide(trial)
        fact = TrialResult(
            time=stimulus.time,
            trial_id=trial.trial_id,
            attempt=stimulus.attempt,
            decision=decision,
            checkpoint=stimulus.checkpoint,
            result=result,
            raw=stimulus.raw,
        )
        settled(fact)
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
        told = self._told.get(trial.trial_id)
        if stimulus.interrupted:
            self._commands.append(DiscardStaged(trial, stimulus.attempt))
        if told is None and stimulus.interrupted and self._resumable_stop:
            told = PAUSE
        self._end_attempt(trial, PAUSED if told == PAUSE else TERMINATED, None, stimulus.time)

    def _on_failed(self, stimulus: Failed) -> None:
        trial = self._live_trial(stimulus)
        if trial is None:
            return
        self._commands.append(DiscardStaged(trial, stimulus.attempt))
        if self._is_complete(trial):
            logger.warning("%s failed after it was told to stop:\n%s", trial, stimulus.error)
            self._end_attempt(trial, TERMINATED, None, stimulus.time)
        elif self._resumable_stop:
            logger.warning("%s failed while the experiment ended:\n%s", trial, stimulus.error)
            self._end_attempt(trial, PAUSED, None, stimulus.time)  # a restore tries again
        elif self._may_retry(trial):
            self._end_attempt(trial, PENDING, stimulus.error, stimulus.time, stimulus.cause)
        else:
            self._fail(trial, stimulus.error, stimulus.time, stimulus.cause)

    def _on_capacity(self, stimulus: CapacityChanged) -> None:
        self.capacity.set_total(stimulus.resources)

    def _on_tick(self, stimulus: Tick) -> None:
        pass

    def _on_stop_requested(self, stimulus: StopRequested) -> None:
        self._stop(stimulus.time, stimulus.reason, PAUSE if stimulus.resumable else STOP)

    _handlers: ClassVar[dict[type, Any]] = {
        Reported: _on_reported,
        Saved: _on_saved,
        Finished: _on_finished,
        Failed: _on_failed,
        CapacityChanged: _on_capacity,
        Tick: _on_tick,
        StopRequested: _on_stop_requested,
    }

    # Replay

    def replay(self, fact: Fact) -> None:
        """Takes in a fact from the journal: the record decides, policies are told."""
        self.stopper.on_time(fact.time)
        if isinstance(fact, TrialCreated):
            self.searcher.on_trial_recorded(fact.trial_id, fact.config)
        if isinstance(fact, TrialResult):
            self._replay_result(fact)
        else:
            self._take_in(fact)
        self._facts.clear()
        self._commands.clear()
        self.table.removed_checkpoints.clear()

    def _replay_result(self, fact: TrialResult) -> None:
        trial = self.table[fact.trial_id]
        self.table.record_result(trial, fact.result, fact.checkpoint)
        self._decide(trial, recorded=fact.decision)
        settled(fact)

    # Both

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
        elif isinstance(fact, TrialEnded) and trial is not None:
            self._after_end(trial, fact)
        elif isinstance(fact, ExperimentStopping):
            self._take_in_stopping(fact)
        elif isinstance(fact, ExperimentStarted):
            self._take_in_start(fact)
        elif isinstance(fact, ExperimentChanged):
            self._take_in_change(fact)

    def _take_in_start(self, fact: ExperimentStarted) -> None:
        if not self._started:
            self._started = True
            return
        self.stopper.on_restore(fact.time)
        self.capacity.used.clear()
        self._live.clear()
        if self._ended or self._resumable_stop:
            self.stop_reason = None
        self._resumable_stop = self._ended = False
        for trial in self.table.trials:
            if trial.status == RUNNING or trial.trial_id in self._held:
                self._note_repeating(trial)

    def _note_repeating(self, trial: Trial) -> None:
        """Remembers how far the policies have seen a trial that may go on from further back."""
        seen, _ = self._repeating.get(trial.trial_id, (-1, False))
        if trial.num_results > seen:
            was_stopped = self._told.get(trial.trial_id) == STOP
            self._repeating[trial.trial_id] = trial.num_results, was_stopped

    def _take_in_change(self, fact: ExperimentChanged) -> None:
        self.stop_reason = None
        self.stopper.change(fact.stop, fact.time_budget_s)
        if fact.num_samples is not None:
            self.searcher.set_num_samples(fact.num_samples)
            self.num_trials = self.searcher.total_samples(fact.num_samples)
            self._exhausted = False

    def _take_in_stopping(self, fact: ExperimentStopping) -> None:
        self.stop_reason = fact.reason
        self._resumable_stop = fact.decision == PAUSE
        if self._resumable_stop:
            return
        for trial_id in self._live:
            trial = self.table[trial_id]
            if not self._is_complete(trial):
                self._limited.add(trial_id)
                self._complete(trial)
            self._told[trial_id] = STOP

    def _after_end(self, trial: Trial, fact: TrialEnded) -> None:
        was_live = self._live.pop(trial.trial_id, None) is not None
        if was_live:
            self.capacity.give_back(trial.bundles)
        was_complete = self._is_complete(trial)
        told = self._told.pop(trial.trial_id, None)
        if fact.status == PAUSED:
            if told is None:
                self._held.add(trial.trial_id)
            return
        self._repeating.pop(trial.trial_id, None)
        self._held.discard(trial.trial_id)
        if fact.status == PENDING:
            self.scheduler.on_trial_error(self, trial)
            self.scheduler.on_trial_add(self, trial)
        elif fact.status == ERROR:
            self.scheduler.on_trial_error(self, trial)
            self.searcher.on_trial_complete(trial.trial_id, error=True)
        elif fact.status == TERMINATED and not was_complete:
            trial.last_result = {**trial.last_result, "done": True} if trial.last_result else {}
            if was_live:
                self._complete(trial)
            else:
                if self.stop_reason is not None:
                    self._limited.add(trial.trial_id)
                self.scheduler.on_trial_remove(self, trial)
                self.searcher.on_trial_complete(trial.trial_id, trial.last_result or None)

    def _take_in_requeue(self, fact: TrialRequeued) -> None:
        trial = self.table[fact.trial_id]
        was_finished = trial.is_finished()
        self.table.apply(fact)
        self._told.pop(fact.trial_id, None)
        self._held.discard(fact.trial_id)
        self._limited.discard(fact.trial_id)
        if fact.anew:
            self._repeating.pop(fact.trial_id, None)
        if was_finished:
            self.scheduler.on_trial_add(self, trial)

    def _is_complete(self, trial: Trial) -> bool:
        """Whether a decision has ended the trial, and the policies know."""
        _, was_stopped = self._repeating.get(trial.trial_id, (0, False))
        return was_stopped or self._told.get(trial.trial_id) == STOP

    def _decide(self, trial: Trial, recorded: str | None = None) -> str:
        """What becomes of the trial after its last result; what is `recorded` wins."""
        told = self._told.get(trial.trial_id)
        if told is not None:
            return told
        before = self._decided_before(trial)
        decision = self._ask_policies(trial) if before is None else before
        if decision == CONTINUE and self._resumable_stop:
            decision = PAUSE
            self._held.add(trial.trial_id)
        if recorded is not None and decision != recorded:
            logger.warning(
                "%s, iteration %s: a policy now says %s where the journal says %s, which wins",
                trial,
                trial.last_result.get("training_iteration"),
                decision,
                recorded,
            )
            decision = recorded
        if before is None:
            self._tell_policies(trial, decision)
        if decision != CONTINUE:
            self._told[trial.trial_id] = decision
        return decision

    def _decided_before(self, trial: Trial) -> str | None:
        """The decision on a result that the trial repeats after a restore, None for a new one."""
        seen, was_stopped = self._repeating.get(trial.trial_id, (0, False))
        if trial.num_results > seen:
            self._repeating.pop(trial.trial_id, None)
            return None
        return STOP if was_stopped and trial.num_results == seen else CONTINUE

    def _ask_policies(self, trial: Trial) -> str:
        result = trial.last_result
        if self.stopper(trial.trial_id, result) or self.stopper.stop_all():
            if not result.get("done"):
                self._limited.add(trial.trial_id)
            return STOP
        if result.get("done"):
            return STOP
        decision = self.scheduler.on_trial_result(self, trial, result)
        if decision not in (CONTINUE, PAUSE, STOP):
            raise TunerError(
                f"{type(self.scheduler).__name__}.on_trial_result returned {decision!r}; it "
                f"must return {CONTINUE!r}, {PAUSE!r} or {STOP!r}"
            )
        return decision

    def _tell_policies(self, trial: Trial, decision: str) -> None:
        if decision == STOP:
            self._complete(trial)
        elif self._searcher_listens:
            self.searcher.on_trial_result(trial.trial_id, trial.last_result)

    def _complete(self, trial: Trial) -> None:
        self.scheduler.on_trial_complete(self, trial, trial.last_result)
        self.searcher.on_trial_complete(trial.trial_id, trial.last_result or None)

    # Small steps of the live run

    def _settle(self, trial: Trial, now: float) -> None:
        """Ends what a trial was told to do when the controller died, if nothing is missing."""
        told = self._told.get(trial.trial_id)
        if told == PAUSE and trial.trial_id not in self._held:
            self._end_attempt(trial, PAUSED, None, now)
        elif told == STOP and not (self.spec.checkpoint_at_end and not trial.is_saved):
            self._end_attempt(trial, TERMINATED, None, now)

    def _taken_up(
        self, trial: Trial, resume_config: ResumeConfig, *, limits_changed: bool
    ) -> str | None:
        """How a restore has a trial go on, SKIP to end it; None to leave it as it is."""
        resume_type = ResumeConfig.ResumeType
        if trial.status == ERROR:
            return None if resume_config.errored == resume_type.SKIP else resume_config.errored
        if trial.status == TERMINATED:
            if resume_config.finished != resume_type.SKIP:
                return resume_config.finished
            return resume_type.RESUME if limits_changed and self._may_go_on(trial) else None
        if resume_config.unfinished == resume_type.SKIP:
            return resume_type.SKIP
        if resume_config.unfinished == resume_type.RESTART:
            return resume_type.RESTART if trial.attempt else None
        was_cut_off = trial.status == RUNNING or trial.trial_id in self._held
        return resume_type.RESUME if was_cut_off else None

    def _may_go_on(self, trial: Trial) -> bool:
        """Whether a trial was ended by limits that are wider now."""
        if trial.trial_id not in self._limited:
            return False
        asked = copy.deepcopy(self.stopper)  # it may count what it is asked
        return not (trial.last_result and asked(trial.trial_id, trial.last_result))

    def _live_trial(self, stimulus: Reported | Saved | Finished | Failed) -> Trial | None:
        """The trial that a worker speaks of, None if it was relaunched since."""
        if self._live.get(stimulus.trial_id) != stimulus.attempt:
            logger.warning(
                "trial %s: refused a message of its attempt %d, which is over",
                stimulus.trial_id,
                stimulus.attempt,
            )
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

    def _fill(self, now: float) -> None:
        """Launches trials as long as there is one and it fits."""
        most = len(self.table.trials) + _MOST_CREATED
        self.is_filling = False
        while self.stop_reason is None and not self._full():
            if len(self.table.trials) >= most:
                self.is_filling = True
                return
            created = not self.table.by_status[PENDING] and self._create(now)
            chosen = self.scheduler.choose_trial_to_run(self)
            if chosen is not None and self.fits(self.table[chosen.trial_id]):
                self._launch(self.table[chosen.trial_id], now)
            elif not created:
                return

    def _create(self, now: float) -> bool:
        """Asks the searcher for one more trial; False if there is none to be had now."""
        if self._exhausted:
            return False
        number = len(self.table.trials)
        if self.num_trials is not None and number >= self.num_trials:
            self._exhausted = True
            return False
        config = self.searcher.suggest(naming.trial_id(self.spec, number))
        if config is None:
            return False
        if config == Searcher.FINISHED:
            self._exhausted = True
            return False
        if not isinstance(config, dict):
            raise TunerError(
                f"{type(self.searcher).__name__}.suggest returned {config!r:.100}; it must return "
                "a dictionary, None, or Searcher.FINISHED"
            )
        suggestion = None
        if not self.searcher.fills_space:
            suggestion, seed = config, [self.spec.seed, number]
            config = self.spec.param_space.completed(suggestion, seed=seed)
        bundles = self.spec.bundles_for(config)
        missing = self.capacity.missing(bundles)
        if missing is not None and not self.spec.bundles_vary:
            raise ResourceError(
                f"every trial asks for {missing}: ask for less by with_resources, or run where "
                "there is more"
            )
        taken = self.table.dirnames
        created = naming.new_trial(self.spec, number, config, bundles, now, taken, suggestion)
        self._emit(created)
        if missing is not None:
            self._reject(self.table[created.trial_id], missing, now)
        else:
            self._rejected_in_a_row = 0
        return True

    def _reject(self, trial: Trial, missing: str, now: float) -> None:
        """Has a trial fail that can never be launched."""
        self._rejected_in_a_row += 1
        if self.num_trials is None and self._rejected_in_a_row >= _MOST_REJECTED:
            raise ResourceError(
                f"the last {_MOST_REJECTED} trials all asked for more than there is (the last one "
                f"for {missing}), and num_samples=-1 sets no end to it; ask for less"
            )
        self._fail(trial, f"{ResourceError.__name__}: the trial asks for {missing}", now)

    def _full(self) -> bool:
        """Whether as many trials run as may, or every resource that one could ask for is taken."""
        if not self._live:
            return False
        limit = self.spec.max_running
        if limit is not None and len(self._live) >= limit:
            return True
        used = self.capacity.used
        return all(used.get(name, 0.0) >= total for name, total in self.capacity.total.items())

    def _launch(self, trial: Trial, now: float) -> None:
        saved = trial.checkpoints[-1] if trial.checkpoints else None
        progress = saved.progress if saved else Progress()
        attempt = trial.attempt + 1
        name = saved.name if saved else None
        self._emit(
            TrialLaunched(
                time=now,
                trial_id=trial.trial_id,
                attempt=attempt,
                checkpoint=name,
                iteration=progress.iteration,
            )
        )
        self._commands.append(Launch(trial, attempt, name, progress))

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
            for trial in [*self.pending_trials, *self.paused_trials]:
                self._end_attempt(trial, TERMINATED, None, now)

    def _end_if_over(self, now: float) -> None:
        if self._ended or self._live:
            return
        waiting = self.table.by_status[PENDING] or self.table.by_status[PAUSED]
        if self.stop_reason is None and (waiting or not self._is_exhausted()):
            return
        self._ended = True
        reason = self.stop_reason or "all trials have ended"
        self._emit(ExperimentEnded(time=now, reason=reason, complete=not self._resumable_stop))

    def _is_exhausted(self) -> bool:
        limit = self.num_trials
        return self._exhausted or (limit is not None and len(self.table.trials) >= limit)

    def _emit(self, fact: Fact) -> None:
        self._facts.append(fact)
        self._take_in(fact)

    def _taken(self) -> tuple[list[Fact], list[Command]]:
        facts, commands = self._facts, self._commands
        self._facts, self._commands = [], []
        return facts, commands
