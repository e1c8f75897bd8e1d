"""The trials in a folder that this library wrote, as the journal has them."""

from __future__ import annotations

import json
import logging
import os
from contextlib import nullcontext
from typing import Any

from tuner.analysis.opened import OpenedExperiment, mark_end
from tuner.errors import StorageError
from tuner.experiment.journal_reader import JournalReader
from tuner.experiment.retention import Retention
from tuner.experiment.trial import Trial
from tuner.experiment.trial_table import TrialTable
from tuner.gathering import gather
from tuner.layout import DESCRIPTION_FILE
from tuner.objective import Objective
from tuner.search_space.objects import missing_objects
from tuner.storage.staging import exists, lacks, viewed
from tuner.storage.storage import Storage
from tuner.trial_folder import TrialFolder
from tuner.validation import shorten

logger = logging.getLogger(__name__)


def is_stored(storage: Storage | None, local: str) -> bool:
    """Whether this library has written an experiment there."""
    if storage is not None:
        return exists(storage)
    return os.path.isfile(os.path.join(local, DESCRIPTION_FILE))


def read_stored(storage: Storage | None, local: str) -> OpenedExperiment:
    """Replays the journal, also that of an experiment that runs or was killed; changes nothing.

    Args:
        storage: The folder on remote storage, None for this machine's own.
        local: The folder's path.

    Raises:
        StorageError: A file is damaged, or the storage does not answer.
    """
    with nullcontext(local) if storage is None else viewed(storage) as folder:
        description = _description(folder)
        table = TrialTable(folder, _retention(description), storage)
        reader = JournalReader(folder)
        times: list[float] = []
        for fact in reader.read_all():
            table.apply(fact)
            times = [times[0] if times else fact.time, fact.time]
        complete = storage
        if storage is not None and lacks(storage, folder, reader.position.seq):
            complete = None  # the end of it is on this machine only
    table.relocate(folder if complete is None else complete.path, storage)
    for trial in table.trials:
        mark_end(trial)
        if trial.checkpoints and not trial.is_finished():
            _forget_missing_checkpoints(trial, is_here=complete is None)
    _warn_of_missing_objects(table)
    grid = gather(table, None, None, complete, only_best=False)
    return OpenedExperiment(
        path=grid.experiment_path,
        filesystem=None if complete is None else complete.filesystem,
        trials=table.trials,
        results=list(grid),
        objectives=Objective.described(description).modes,
        stats=dict(zip(("start_time", "timestamp"), times, strict=False)),
        description=description,
    )


def _description(folder: str) -> dict[str, Any]:
    path = os.path.join(folder, DESCRIPTION_FILE)
    try:
        with open(path, encoding="utf-8") as file:
            return dict(json.load(file))
    except (ValueError, TypeError) as error:
        raise StorageError(f"{path} is damaged ({error}); put back a copy of it") from error


def _retention(description: dict[str, Any]) -> Retention:
    config = description.get("run_config", {}).get("checkpoint_config") or {}
    return Retention(
        config.get("num_to_keep"),
        config.get("checkpoint_score_attribute"),
        config.get("checkpoint_score_order", "max"),
    )


def _forget_missing_checkpoints(trial: Trial, *, is_here: bool) -> None:
    """Drops what the journal knows and a killed controller had no time to put into place."""
    names = set(TrialFolder(trial.path).checkpoint_names()) if is_here else set()
    if trial.storage is not None and (trial.storage.is_shared or not is_here):
        folder = trial.storage.child(trial.dirname)
        names.update(TrialFolder(folder.path, folder.fs).checkpoint_names())
    trial.checkpoints[:] = [saved for saved in trial.checkpoints if saved.name in names]


def _warn_of_missing_objects(table: TrialTable) -> None:
    names = {name: None for trial in table.trials for name in missing_objects(trial.config)}
    if names:
        logger.warning(
            "%s: configurations hold objects that cannot be loaded here, of which there is only "
            "the text: %s; make their modules importable",
            table.experiment_path,
            shorten([*names], 200),
        )
