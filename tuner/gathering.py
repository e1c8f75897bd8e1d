"""From the trials of an experiment to the results that the user gets."""

from __future__ import annotations

import functools
import pickle
from collections import defaultdict
from contextlib import nullcontext
from typing import Any

from tuner.checkpoint import Checkpoint
from tuner.errors import TrialError
from tuner.experiment.events import TrialResult, settle
from tuner.experiment.journal_reader import JournalReader
from tuner.experiment.trial import ERROR, SavedCheckpoint, Trial
from tuner.experiment.trial_table import TrialTable
from tuner.result import Result
from tuner.result_grid import ResultGrid
from tuner.storage.staging import viewed
from tuner.storage.storage import Storage


def gather(
    table: TrialTable,
    metric: Any,
    mode: Any,
    storage: Storage | None = None,
    *,
    only_best: bool = True,
) -> ResultGrid:
    """The results of all trials, in order of creation.

    Args:
        table: The trials.
        metric: What the best result is chosen by.
        mode: `"min"` or `"max"`.
        storage: The experiment's folder on remote storage if all of it is there, None for the
            folder on this machine.
        only_best: Whether `best_checkpoints` lacks those that stay for another reason.
    """
    histories = _Histories(storage or table.experiment_path)
    return ResultGrid(
        [
            _result(trial, table.ranked_checkpoints(trial, only_best=only_best), storage, histories)
            for trial in table.trials
        ],
        experiment_path=table.experiment_path if storage is None else storage.path,
        filesystem=None if storage is None else storage.filesystem,
        metric=metric,
        mode=mode,
    )


def _result(
    trial: Trial,
    checkpoints: list[SavedCheckpoint],
    storage: Storage | None,
    histories: _Histories,
) -> Result:
    folder = None if storage is None else storage.child(trial.dirname)

    def checkpoint(name: str) -> Checkpoint:
        return trial.checkpoint_named(name) if folder is None else folder.checkpoint(name)

    metrics = trial.last_result
    if metrics:
        metrics = {**metrics, "experiment_tag": trial.experiment_tag}
    return Result(
        metrics=metrics,
        config=metrics.get("config", trial.config),  # an exploit may have changed it since
        path=trial.path if folder is None else folder.path,
        filesystem=None if folder is None else folder.filesystem,
        checkpoint=checkpoint(trial.checkpoints[-1].name) if trial.checkpoints else None,
        error=_trial_error(trial),
        status=trial.status,
        metric_analysis=trial.metric_analysis,
        checkpoints=[(checkpoint(each.name), each.result) for each in checkpoints],
        history=functools.partial(histories.of, trial.trial_id),
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


class _Histories:
    """The results of all trials from the journal, for when no logger has written them.

    They are read when the first are asked for, all at once, and kept.

    Args:
        experiment: The experiment's folder.
    """

    def __init__(self, experiment: Storage | str) -> None:
        self._experiment = experiment
        self._rows: dict[str, list[dict[str, Any]]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_rows": None}

    def of(self, trial_id: str) -> list[dict[str, Any]]:
        """The results of one trial, in order."""
        if self._rows is None:
            self._rows = self._read()
        return self._rows.get(trial_id, [])

    def _read(self) -> dict[str, list[dict[str, Any]]]:
        rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
        where = self._experiment
        with nullcontext(where) if isinstance(where, str) else viewed(where) as path:
            for fact in JournalReader(path, unpickle=False).read_all():
                if isinstance(fact, TrialResult):
                    settle(fact)
                    rows[fact.trial_id].append(fact.result)
        return dict(rows)
