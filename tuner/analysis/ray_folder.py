"""The trials in a folder that `ray.tune` wrote, of any version; no pickle in it runs code."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

from tuner.analysis.opened import OpenedExperiment, mark_end
from tuner.analysis.ray_checkpoints import recorded_iterations, row_beside
from tuner.checkpoint import Checkpoint
from tuner.errors import StorageError, TrialError
from tuner.experiment.trial import (
    ERROR,
    PAUSED,
    PENDING,
    RUNNING,
    TERMINATED,
    SavedCheckpoint,
    Trial,
)
from tuner.filesystems import join
from tuner.layout import CHECKPOINT, ERROR_FILE, PARAMS_FILE, PROGRESS_FILE, RESULT_FILE
from tuner.metrics import as_number
from tuner.result import Result
from tuner.storage.storage import Storage
from tuner.storage.transfer import explained
from tuner.trial_folder import TrialFolder, without_superseded
from tuner.trial_progress import Progress

logger = logging.getLogger(__name__)

STATE_FILE = re.compile(r"experiment_state.*\.json")
"""What `ray.tune` calls the file with the states of all trials; there may be one of each run."""

_READ = frozenset({RESULT_FILE, PROGRESS_FILE, PARAMS_FILE, ERROR_FILE})
_STATUSES = frozenset({PENDING, RUNNING, PAUSED, TERMINATED, ERROR})
_NUMBER = re.compile(r"(\d+)(?:_|$)")


def read_ray_folder(storage: Storage | None, local: str) -> OpenedExperiment | None:
    """Reads a folder that `ray.tune` wrote.

    Results come from `result.json` (else `progress.csv`), configurations from them or from
    `params.json`, names and statuses from `experiment_state-*.json` as far as it can be read.

    Args:
        storage: The folder on remote storage, None for this machine's own.
        local: The folder's path.

    Returns:
        The experiment, None if neither that file nor the folder of a trial is there.

    Raises:
        StorageError: A file is damaged, or the storage does not answer.
    """
    with nullcontext(local) if storage is None else _mirrored(storage) as folder:
        state = _state(folder)
        records = _records(state or {})
        dirnames = [name for name in _directories(folder) if _is_trial(os.path.join(folder, name))]
        if state is None and not dirnames:
            return None
        home = _Home(storage, local, folder)
        found = [
            *(home.trial(name, records.pop(name, {})) for name in dirnames),
            *(home.trial(name, record) for name, record in records.items()),
        ]
    found.sort(key=lambda pair: pair[0].number)
    _tell_apart([trial for trial, _ in found])
    state = state or {}
    return OpenedExperiment(
        path=local,
        filesystem=home.filesystem,
        trials=[trial for trial, _ in found],
        results=[result for _, result in found],
        stats=_stats(state, [trial for trial, _ in found]),
        description=dict(state.get("runner_data") or {}),
    )


def _stats(state: dict[str, Any], trials: list[Trial]) -> dict[str, Any]:
    """What the state says, and the time of the newest result where it says no `timestamp`."""
    reported = (as_number(trial.last_result.get("timestamp")) for trial in trials)
    times = [time for time in reported if time is not None]
    newest = {"timestamp": max(times)} if times else {}
    return {**newest, **(state.get("stats") or {})}


def _tell_apart(trials: list[Trial]) -> None:
    """Has trials go by the names of their folders that have the id of another, as a copy has."""
    taken: set[str] = set()
    for trial in trials:
        if trial.trial_id in taken:
            trial.trial_id = trial.dirname
        taken.add(trial.trial_id)


class _Home:
    """Makes trials of what lies in the experiment's folder.

    Args:
        storage: The experiment's folder on remote storage, None without one.
        path: Its path.
        folder: Where its files can be read on this machine.

    Attributes:
        filesystem: The filesystem of the path, None for this machine's own files.
    """

    def __init__(self, storage: Storage | None, path: str, folder: str) -> None:
        self.filesystem = None if storage is None else storage.filesystem
        self._storage = storage
        self._path = path
        self._folder = folder

    def trial(self, dirname: str, record: dict[str, Any]) -> tuple[Trial, Result]:
        """A trial and its result.

        Args:
            dirname: The name of its folder, which need not exist.
            record: What the file with the states of all trials says about it.
        """
        files = TrialFolder(os.path.join(self._folder, dirname))
        rows = files.rows() or []
        trial = _trial(join(self._path, dirname), record, rows, files)
        trial.storage = self._storage
        for row in without_superseded(rows):
            trial.config = row.get("config") or trial.config
            trial.record_result(row)
        mark_end(trial)
        iterations = recorded_iterations(record)
        trial.checkpoints = [_saved(name, rows, iterations) for name in files.checkpoint_names()]
        return trial, self._result(trial)

    def _result(self, trial: Trial) -> Result:
        checkpoints = [
            (Checkpoint(join(trial.path, saved.name), self.filesystem), saved.result)
            for saved in trial.checkpoints
        ]
        failed = trial.status == ERROR and trial.error is not None
        metrics = trial.last_result
        if metrics and trial.experiment_tag:
            metrics = {**metrics, "experiment_tag": trial.experiment_tag}
        return Result(
            metrics=metrics,
            config=trial.config,
            path=trial.path,
            checkpoint=checkpoints[-1][0] if checkpoints else None,
            error=TrialError(trial.trial_id, trial.error or "") if failed else None,
            filesystem=self.filesystem,
            status=trial.status,
            metric_analysis=trial.metric_analysis,
            checkpoints=checkpoints,
        )


def _trial(
    path: str, record: dict[str, Any], rows: list[dict[str, Any]], files: TrialFolder
) -> Trial:
    dirname = path.rpartition("/")[2]
    last = rows[-1] if rows else {}
    tag = str(record.get("experiment_tag") or last.get("experiment_tag") or "")
    number = _NUMBER.match(tag)
    trial = Trial(
        trial_id=str(record.get("trial_id") or last.get("trial_id") or dirname),
        number=int(number[1]) if number else 0,
        trainable_name=str(record.get("trainable_name") or dirname.partition("_")[0]),
        config=_config(path, record, last, files),
        evaluated_params=record.get("evaluated_params"),
        experiment_tag=tag,
        trial_name=str(record.get("custom_trial_name") or ""),
        path=path,
    )
    trial.attempt = int(bool(rows))
    trial.start_time = record.get("start_time")
    trial.num_failures = record.get("num_failures") or 0
    trial.error = files.error()
    trial.status = _status(record, rows, trial.error)
    return trial


def _config(
    path: str, record: dict[str, Any], last: dict[str, Any], files: TrialFolder
) -> dict[str, Any]:
    if isinstance(last.get("config"), dict):
        return dict(last["config"])
    try:
        config = files.config() or record.get("config")
    except ValueError as error:
        raise StorageError(f"{join(path, PARAMS_FILE)} is damaged ({error})") from error
    return dict(config) if isinstance(config, dict) else {}


def _status(record: dict[str, Any], rows: list[dict[str, Any]], error: str | None) -> str:
    recorded = record.get("status")
    if recorded in _STATUSES:
        return str(recorded)
    if rows and rows[-1].get("done") is True:
        return TERMINATED
    if error is not None:
        return ERROR
    return TERMINATED if rows else PENDING


def _saved(name: str, rows: list[dict[str, Any]], iterations: dict[str, int]) -> SavedCheckpoint:
    """A checkpoint with the result that it belongs to, `{}` if nothing says so."""
    row = row_beside(name, rows, iterations)
    return SavedCheckpoint(
        name=name,
        progress=Progress.after(row),
        score=None,
        num_results=row.get("training_iteration", 0),
        result=row,
    )


def _records(state: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What is known about each trial, by the name of its folder, its own if it has none so far."""
    records = {}
    for entry in state.get("trial_data") or state.get("checkpoints") or ():
        record: dict[str, Any] = {}
        try:
            for part in entry if isinstance(entry, list) else [entry]:
                record.update(json.loads(part) if isinstance(part, str) else part)
        except (ValueError, TypeError) as error:
            logger.warning("what experiment_state-*.json says of a trial is damaged (%s)", error)
            continue
        folder = record.get("relative_logdir") or record.get("logdir") or ""
        dirname = os.path.basename(str(folder).rstrip("/"))
        records[dirname or str(record.get("trial_id"))] = record
    return records


def _state(folder: str) -> dict[str, Any] | None:
    """The newest file with the states of all trials, None if there is none that can be read."""
    names = os.listdir(folder) if os.path.isdir(folder) else []
    for name in sorted(filter(STATE_FILE.fullmatch, names), reverse=True):
        try:
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                return dict(json.load(file))
        except (ValueError, TypeError) as error:
            logger.warning("%s: %s is damaged and not used (%s)", folder, name, error)
    return None


def _directories(folder: str) -> list[str]:
    if not os.path.isdir(folder):
        return []
    return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())


def _is_trial(path: str) -> bool:
    return TrialFolder(path).is_trial()


@contextlib.contextmanager
def _mirrored(storage: Storage) -> Iterator[str]:
    """A local folder with the files that are read here, and empty ones for checkpoints."""
    root = storage.path.strip("/")
    with tempfile.TemporaryDirectory(prefix="tuner_") as folder:
        with explained(storage.url, "read"):
            storage.fs.invalidate_cache()
            sources, targets = [], []
            for path in storage.fs.find(storage.path):
                relative = path.strip("/").removeprefix(root).lstrip("/")
                first, *rest = relative.split("/")
                if len(rest) > 1 and CHECKPOINT.fullmatch(rest[0]):
                    os.makedirs(os.path.join(folder, first, rest[0]), exist_ok=True)
                elif rest in ([name] for name in _READ) or (
                    not rest and STATE_FILE.fullmatch(first)
                ):
                    sources.append(path)
                    targets.append(os.path.join(folder, relative))
            for parent in {*map(os.path.dirname, targets)}:
                os.makedirs(parent, exist_ok=True)
            if sources:
                storage.fs.get(sources, targets)
        yield folder
