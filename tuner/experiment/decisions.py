"""What the policies decide on a trial, and what they are told of it.

Searcher, scheduler and stopper get each result and each end of a trial once, also where a restore
lets a trial repeat results, and where the journal has the decision already.
"""

from __future__ import annotations

import copy
import logging

from tuner.errors import TunerError
from tuner.experiment.trial import ERROR, PAUSED, PENDING, TERMINATED, Trial
from tuner.schedulers.scheduler import ExperimentView, TrialScheduler
from tuner.search.searcher import Searcher
from tuner.stoppers.limits import Limits

logger = logging.getLogger(__name__)

CONTINUE = TrialScheduler.CONTINUE
PAUSE = TrialScheduler.PAUSE
SAVE = TrialScheduler.SAVE
STOP = TrialScheduler.STOP


class Decisions:
    """Asks the policies about trials, and remembers what they have decided.

    Args:
        view: The experiment as the scheduler sees it.
        searcher: Learns from results.
        scheduler: Decides on results.
        stopper: Decides before the scheduler does.

    Attributes:
        paused_by_request: Ids of trials that a request has paused, or is to pause at their next
            report, until another one resumes them.
    """

    def __init__(
        self, view: ExperimentView, searcher: Searcher, scheduler: TrialScheduler, stopper: Limits
    ) -> None:
        self._view = view
        self._searcher = searcher
        self._scheduler = scheduler
        self._stopper = stopper
        self.paused_by_request: set[str] = set()
        self._searcher_listens = type(searcher).on_trial_result is not Searcher.on_trial_result
        # Trials that were told to stop or pause and have not yet come to their end.
        self._told: dict[str, str] = {}
        # Of those, or of paused trials, the ones that no policy wants paused.
        self._held: set[str] = set()
        # Ended trials that the stopper, or the end of the experiment, has ended.
        self._limited: set[str] = set()
        # Trials that were told to save at their last result.
        self._saving: set[str] = set()
        # Trials that a restore lets repeat results: how many of them the policies have seen, and
        # what was decided on the last one.
        self._repeating: dict[str, tuple[int, str]] = {}

    def told(self, trial: Trial) -> str | None:
        """What a trial was told that has not yet come to its end: to stop or pause, if anything."""
        return self._told.get(trial.trial_id)

    def is_complete(self, trial: Trial) -> bool:
        """Whether a decision has ended the trial, and the policies know."""
        _, decision = self._repeating.get(trial.trial_id, (0, CONTINUE))
        return decision == STOP or self.told(trial) == STOP

    def is_held(self, trial: Trial) -> bool:
        """Whether a trial pauses, or is about to, only because the experiment was interrupted."""
        return trial.trial_id in self._held

    def is_paused_by_request(self, trial: Trial) -> bool:
        """Whether a request has paused the trial, or is to pause it at its next report."""
        return trial.trial_id in self.paused_by_request

    def may_go_on(self, trial: Trial) -> bool:
        """Whether a trial was ended by limits that are wider now."""
        if trial.trial_id not in self._limited:
            return False
        asked = copy.deepcopy(self._stopper)  # it may count what it is asked
        return not (trial.last_result and asked(trial.trial_id, trial.last_result))

    def decide(self, trial: Trial, *, is_interrupted: bool, recorded: str | None = None) -> str:
        """What becomes of the trial after its last result.

        Args:
            trial: The trial.
            is_interrupted: Whether trials that would continue pause, for a restore.
            recorded: What the journal says was decided, which wins.
        """
        told = self._told.get(trial.trial_id)
        if told is not None:
            return told
        before = self._decided_before(trial) if self._repeating else None
        decision = self._ask(trial) if before is None else before
        is_to_pause = is_interrupted or self.is_paused_by_request(trial)
        if decision in (CONTINUE, SAVE) and is_to_pause:
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
            self._tell(trial, decision)
        if decision in (PAUSE, STOP):
            self._told[trial.trial_id] = decision
        if decision == SAVE:
            self._saving.add(trial.trial_id)
        else:
            self._saving.discard(trial.trial_id)
        return decision

    def stop(self, trial: Trial, *, by_limit: bool = True) -> None:
        """Has a running trial end because the experiment does, or because it was asked for.

        Args:
            trial: The trial.
            by_limit: Whether it may go on if a restore widens the limits.
        """
        if not self.is_complete(trial):
            if by_limit:
                self._limited.add(trial.trial_id)
            self._complete(trial)
        self._told[trial.trial_id] = STOP

    def steer(self, trial: Trial, decision: str) -> None:
        """Takes in what somebody outside decided on a trial: STOP, PAUSE or CONTINUE."""
        if decision == STOP:
            self.stop(trial, by_limit=False)
        elif decision == PAUSE:
            self.paused_by_request.add(trial.trial_id)
        else:
            self.paused_by_request.discard(trial.trial_id)

    def on_end(self, trial: Trial, *, was_live: bool, is_stopping: bool) -> None:
        """Tells the policies of the end of an attempt, or of a trial that was not running.

        Args:
            trial: The trial, with the status that it has now.
            was_live: Whether it was running.
            is_stopping: Whether the experiment comes to its end.
        """
        was_complete = self.is_complete(trial)
        self._saving.discard(trial.trial_id)
        told = self._told.pop(trial.trial_id, None)
        if trial.status == PAUSED:
            if told is None:
                self._held.add(trial.trial_id)
            if trial.trial_id not in self._held:
                self._scheduler.on_trial_pause(self._view, trial)
            return
        self._repeating.pop(trial.trial_id, None)
        self._held.discard(trial.trial_id)
        if trial.is_finished():
            self.paused_by_request.discard(trial.trial_id)
        if trial.status == PENDING:
            self._scheduler.on_trial_error(self._view, trial)
            self._scheduler.on_trial_add(self._view, trial)
        elif trial.status == ERROR:
            self._scheduler.on_trial_error(self._view, trial)
            if not trial.is_added:
                self._searcher.on_trial_complete(trial.trial_id, error=True)
        elif trial.status == TERMINATED and not was_complete:
            trial.last_result = {**trial.last_result, "done": True} if trial.last_result else {}
            if was_live:
                self._complete(trial)
            else:
                self._remove(trial, is_stopping=is_stopping)

    def on_interrupted(self, trial: Trial) -> None:
        """Remembers how far the policies have seen a trial that may go on from further back."""
        seen, _ = self._repeating.get(trial.trial_id, (-1, CONTINUE))
        if trial.num_results > seen:
            told = None if self.is_held(trial) else self.told(trial)
            decision = told or CONTINUE
            if trial.trial_id in self._saving:
                decision = SAVE
            self._repeating[trial.trial_id] = trial.num_results, decision

    def on_requeue(self, trial: Trial, *, anew: bool, was_finished: bool) -> None:
        """Forgets what a trial was told that a restore lets go on, or start again `anew`."""
        self._told.pop(trial.trial_id, None)
        self._held.discard(trial.trial_id)
        self._limited.discard(trial.trial_id)
        if anew:
            self._repeating.pop(trial.trial_id, None)
        if was_finished:
            self._scheduler.on_trial_add(self._view, trial)

    def _decided_before(self, trial: Trial) -> str | None:
        """The decision on a result that the trial repeats after a restore, None for a new one."""
        seen, decision = self._repeating.get(trial.trial_id, (0, CONTINUE))
        if trial.num_results > seen:
            self._repeating.pop(trial.trial_id, None)
            return None
        return decision if trial.num_results == seen else CONTINUE

    def _ask(self, trial: Trial) -> str:
        result = trial.last_result
        if self._stopper(trial.trial_id, result) or self._stopper.stop_all():
            if not result.get("done"):
                self._limited.add(trial.trial_id)
            return STOP
        if result.get("done"):
            return STOP
        decision = self._scheduler.on_trial_result(self._view, trial, result)
        if decision not in (CONTINUE, SAVE, PAUSE, STOP):
            raise TunerError(
                f"{type(self._scheduler).__name__}.on_trial_result returned {decision!r}; it "
                f"must return {CONTINUE!r}, {SAVE!r}, {PAUSE!r} or {STOP!r}"
            )
        return decision

    def _tell(self, trial: Trial, decision: str) -> None:
        if decision == STOP:
            self._complete(trial)
        elif self._searcher_listens and not trial.is_added:
            self._searcher.on_trial_result(trial.trial_id, trial.last_result)

    def _complete(self, trial: Trial) -> None:
        self._scheduler.on_trial_complete(self._view, trial, trial.last_result)
        if not trial.is_added:
            self._searcher.on_trial_complete(trial.trial_id, trial.last_result or None)

    def _remove(self, trial: Trial, *, is_stopping: bool) -> None:
        if is_stopping:
            self._limited.add(trial.trial_id)
        self._scheduler.on_trial_remove(self._view, trial)
        if not trial.is_added:
            self._searcher.on_trial_complete(trial.trial_id, trial.last_result or None)
