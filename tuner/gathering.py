"""From the trials of an experiment to the results that the user gets."""

from __future__ import annotations

import functools
import os
import pickle
from collections.abc import Iterator
from typing import Any

from tuner.checkpoint import Checkpoint
from tuner.errors import TrialError
from tuner.experiment.events import TrialResult, settle
from tuner.experiment.journal import JournalReader
from tuner.experiment.trial import ERROR, SavedCheckpoint, Trial
from tuner.experiment.trial_table import TrialTable
from tuner.result import Result
from tuner.result_grid import ResultGrid


def gather(table: TrialTable, metric: Any, mode: Any) -> ResultGrid:
    """The results of all trials, in order of creation."""
    return ResultGrid(
        [_result(trial, table.ranked_checkpoints(trial)) for trial in table.trials],
        experiment_path=table.experiment_path,
        metric=metric,
        mode=mode,
    )


def _result(trial: Trial, checkpoints: list[SavedCheckpoint]) -> Result:
    saved = [
        (Checkpoint(os.path.join(trial.path, kept.name)), kept.progress.iteration)
        for kept in checkpoints
    ]
    metrics = trial.last_result
    if metrics:
        metrics = {**metrics, "experiment_tag": trial.experiment_tag}
    return Result(
        metrics=metrics,
        config=trial.config,
        path=trial.path,
        checkpoint=trial.checkpoint,
        error=_trial_error(trial),
        status=trial.status,
        metric_analysis=trial.metric_analysis,
        checkpoints=saved,
        history=functools.partial(_history, trial.experiment_path, trial.trial_id),
    )


def _trial_error(trial: Trial) -> TrialError | None:
    """What a trial failed with for good, None if it did not."""
    if trial.status != ERROR or trial.error is None:
        return None
    cause = _exception(trial.cause)
    if cause is None:
        return TrialError(trial.trial_id, trial.error)
    return TrialError.caused_by(cause, trial.trial_id, trial.error)


def _exception(pickled: bytes | None) -> BaseException | None:
    if pickled is None:
        return None
    try:
        cause = pickle.loads(pickled)
    except Exception:  # its class may ask for more than it was pickled with
        return None
    return cause if isinstance(cause, BaseException) else None


def _history(experiment_path: str, trial_id: str) -> Iterator[dict[str, Any]]:
    """A trial's results from the journal, for when no logger has written them."""
    for fact in JournalReader(experiment_path, unpickle=False).read_all():
        if isinstance(fact, TrialResult) and fact.trial_id == trial_id:
            settle(fact)
            yield fact.result
