"""All trials of an experiment, changed by facts and by nothing else.

The live run, a replay of the journal and the recorder share this code, so they cannot disagree.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING, Any

from tuner.experiment.events import (
    CheckpointSaved,
    Fact,
    TrialChanged,
    TrialCreated,
    TrialEnded,
    TrialLaunched,
    TrialRequeued,
    TrialResult,
    settle,
)
from tuner.experiment.retention import Retention
from tuner.experiment.trial import (
    ERROR,
    PAUSED,
    PENDING,
    RUNNING,
    Borrowed,
    SavedCheckpoint,
    Trial,
)

if TYPE_CHECKING:
    from tuner.storage.storage import Storage


class TrialTable:
    """The trials in order of creation, with those that can run or are running at hand.

    Args:
        experiment_path: The experiment's folder; each trial's folder lies in it.
        retention: Which checkpoints are kept; all, without it.
        storage: The experiment's folder on remote storage, None without one. It is not pickled.
    """

    def __init__(
        self,
        experiment_path: str,
        retention: Retention | None = None,
        storage: Storage | None = None,
    ) -> None:
        self.experiment_path = experiment_path
        self.trials: list[Trial] = []
        # Insertion-ordered; a trial is in the one that its status names, or in none.
        self.by_status: dict[str, dict[str, Trial]] = {PENDING: {}, RUNNING: {}, PAUSED: {}}
        self.counts: Counter[str] = Counter()
        self.num_added = 0  # trials that the searcher has not proposed
        self.dirnames: set[str] = set()
        self.removed_checkpoints: list[tuple[Trial, SavedCheckpoint]] = []
        # For each trial that goes on from another's checkpoint, or whose attempt did, that one.
        self._loans: dict[str, Borrowed] = {}
        self._by_id: dict[str, Trial] = {}
        self.storage = storage
        self._retention = retention or Retention()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "storage": None}

    def relocate(self, experiment_path: str, storage: Storage | None) -> None:
        """Notes where the experiment's folder lies now."""
        self.experiment_path = experiment_path
        self.storage = storage
        for trial in self.trials:
            trial.path = os.path.join(experiment_path, trial.dirname)
            trial.storage = storage

    @property
    def num_proposed(self) -> int:
        """How many trials the searcher has proposed."""
        return len(self.trials) - self.num_added

    def get(self, trial_id: str) -> Trial | None:
        """The trial with this id, None if there is none."""
        return self._by_id.get(trial_id)

    def __getitem__(self, trial_id: str) -> Trial:
        return self._by_id[trial_id]

    def apply(self, fact: Fact) -> Trial | None:
        """Takes in a fact and returns the trial that it is about.

        Checkpoints that are no longer kept are added to `removed_checkpoints`.
        """
        if type(fact) is TrialResult:
            trial = self._by_id[fact.trial_id]
            settle(fact)
            self.record_result(trial, fact.result, fact.checkpoint)
            return trial
        if type(fact) is TrialCreated:
            return self._on_created(fact)
        if type(fact) is TrialLaunched:
            return self._on_launched(fact)
        if type(fact) is TrialEnded:
            return self._on_ended(fact)
        if type(fact) is TrialRequeued:
            return self._on_requeued(fact)
        if type(fact) is TrialChanged:
            return self._on_changed(fact)
        if type(fact) is CheckpointSaved:
            trial = self._by_id[fact.trial_id]
            self._add_checkpoint(trial, fact.checkpoint)
            return trial
        return None

    def record_result(self, trial: Trial, result: dict[str, Any], checkpoint: str | None) -> None:
        """Takes in a result with the checkpoint that was reported beside it."""
        trial.record_result(result)
        if checkpoint is not None:
            self._add_checkpoint(trial, checkpoint)

    def ranked_checkpoints(self, trial: Trial, *, only_best: bool = True) -> list[SavedCheckpoint]:
        """The checkpoints that are to be kept, best last; oldest first where none is better.

        Args:
            trial: Whose they are.
            only_best: Whether those are left out that stay for another reason, as the latest does.
        """
        ranked = self._retention.best if only_best else self._retention.ranked
        return ranked(trial.checkpoints)

    def _on_created(self, fact: TrialCreated) -> Trial:
        trial = Trial(
            trial_id=fact.trial_id,
            number=fact.number,
            trainable_name=fact.trainable_name,
            trial_name=fact.trial_name,
            experiment_tag=fact.experiment_tag,
            config=fact.config,
            evaluated_params=fact.evaluated_params,
            bundles=fact.bundles,
            chosen_objects=fact.chosen_objects,
            is_added=fact.is_added,
            strategy=fact.strategy,
            path=os.path.join(self.experiment_path, fact.dirname),
            storage=self.storage,
        )
        self.trials.append(trial)
        self.num_added += trial.is_added
        self.dirnames.add(fact.dirname)
        self._by_id[trial.trial_id] = trial
        self.by_status[PENDING][trial.trial_id] = trial
        self.counts[PENDING] += 1
        return trial

    def _on_launched(self, fact: TrialLaunched) -> Trial:
        trial = self._by_id[fact.trial_id]
        if trial.status == PAUSED:
            self._set_status(trial, PENDING)
        self._set_status(trial, RUNNING)
        trial.attempt = fact.attempt
        trial.in_use = None if trial.borrowed else fact.checkpoint
        trial.rewind(fact.checkpoint)
        if trial.start_time is None:
            trial.start_time = fact.time
        return trial

    def _on_ended(self, fact: TrialEnded) -> Trial:
        trial = self._by_id[fact.trial_id]
        self._set_status(trial, fact.status)
        self._release(trial)
        if fact.error is not None:
            trial.error = fact.error
            trial.cause = fact.cause
            trial.num_failures += 1
        return trial

    def _on_requeued(self, fact: TrialRequeued) -> Trial:
        trial = self._by_id[fact.trial_id]
        if trial.status == ERROR:
            trial.num_failures = 0
        if fact.bundles is not None:
            trial.bundles = fact.bundles
            trial.strategy = fact.strategy or trial.strategy
        if trial.status != PENDING:
            self._set_status(trial, PENDING)
        self._release(trial)
        if fact.anew:
            trial.borrowed = None
            self._settle_loan(trial)
            lent = self.lent_names(trial)
            old = [each for each in trial.checkpoints if each.name not in lent]
            self.removed_checkpoints += ((trial, each) for each in old)
            trial.checkpoints.clear()
        return trial

    def _on_changed(self, fact: TrialChanged) -> Trial:
        trial = self._by_id[fact.trial_id]
        if fact.donor is not None:
            trial.borrowed = None
            self._settle_loan(trial)
            self._loans[trial.trial_id] = trial.borrow(self._by_id[fact.donor])
        if fact.config is not None:
            trial.config = fact.config
            trial.evaluated_params = fact.evaluated_params or {}
            trial.experiment_tag = fact.experiment_tag or trial.experiment_tag
            trial.chosen_objects = fact.chosen_objects or {}
        if fact.bundles is not None:
            trial.bundles = fact.bundles
        return trial

    def lent_names(self, trial: Trial) -> set[str]:
        """Names of the checkpoints of a trial that other trials go on from."""
        loans = self._loans.values()
        return {loan.saved.name for loan in loans if loan.donor is trial}

    def _settle_loan(self, trial: Trial) -> None:
        """Gives another trial's checkpoint back, unless the trial would still go on from it."""
        if trial.borrowed is not None or trial.trial_id not in self._loans:
            return
        loan = self._loans.pop(trial.trial_id)
        donor, name = loan.donor, loan.saved.name
        if any(each.name == name for each in donor.checkpoints):
            self._prune(donor)
        elif name not in self.lent_names(donor):  # the donor has begun anew since
            self.removed_checkpoints.append((donor, loan.saved))

    def _release(self, trial: Trial) -> None:
        """Notes that no attempt runs, which may have kept a checkpoint from being removed."""
        self._settle_loan(trial)
        if trial.in_use is not None:
            trial.in_use = None
            self._prune(trial)

    def _add_checkpoint(self, trial: Trial, name: str) -> None:
        score = self._retention.score(trial.last_result)
        trial.checkpoints.append(trial.saved_as(name, score))
        trial.borrowed = None
        trial.next_checkpoint = int(name.rpartition("_")[2]) + 1
        self._prune(trial)

    def _prune(self, trial: Trial) -> None:
        in_use = self.lent_names(trial) if self._loans else set()
        if trial.in_use is not None:
            in_use.add(trial.in_use)
        for removed in self._retention.superfluous(trial.checkpoints, in_use):
            trial.checkpoints.remove(removed)
            self.removed_checkpoints.append((trial, removed))

    def _set_status(self, trial: Trial, status: str) -> None:
        before = trial.status
        trial.set_status(status)
        self.counts[before] -= 1
        self.counts[status] += 1
        if before in self.by_status:
            del self.by_status[before][trial.trial_id]
        if status in self.by_status:
            self.by_status[status][trial.trial_id] = trial
