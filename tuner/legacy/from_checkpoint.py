"""`restore=…`: trials that begin from a checkpoint of another experiment."""

from __future__ import annotations

import functools
import json
import os
import posixpath
from typing import Any

from tuner.analysis.ray_checkpoints import row_beside
from tuner.checkpoint import Checkpoint, as_checkpoint
from tuner.errors import StorageError
from tuner.experiment.trial import Trial
from tuner.filesystems import is_directory, join, list_names, read_bytes, resolve
from tuner.layout import CHECKPOINT, RESULT_FILE
from tuner.trainable.autofill import Autofill
from tuner.trainable.context import TuneContext
from tuner.trainable.saved_progress import read_progress
from tuner.trainable.session import get_session
from tuner.trainable.trainable import Trainable, is_trainable_class
from tuner.trainable.wrappers import WrappedFunction
from tuner.trial_progress import Progress
from tuner.validation import reject

PathLike = str | os.PathLike[str]


def begun_from(trainable: Any, start: Checkpoint | PathLike) -> Any:
    """A trainable whose trials begin from a checkpoint, and count on from there.

    A trial that has a checkpoint of its own goes on from that.

    Args:
        trainable: A function, or a subclass of `Trainable`.
        start: The checkpoint, or the path of its folder or of a file in it.

    Raises:
        ConfigError: There is no such checkpoint.
    """
    checkpoint = _checkpoint_at(start)
    progress = _progress_at(checkpoint)
    if is_trainable_class(trainable):
        _check_not_empty(checkpoint)
        members = {
            "start": checkpoint,
            "start_progress": progress,
            "__module__": trainable.__module__,
            "__qualname__": trainable.__qualname__,
        }
        return type(trainable.__name__, (_Begun, trainable), members)
    if isinstance(trainable, WrappedFunction):
        function = _BegunFunction(trainable.function, checkpoint, progress)
        return WrappedFunction(function, trainable.parameters.values, trainable.resources)
    return WrappedFunction(_BegunFunction(trainable, checkpoint, progress), {}, None)


class _Begun(Trainable):
    """The part of a class trainable that loads the checkpoint before the first iteration."""

    start: Checkpoint
    start_progress: Progress
    _has_begun = False

    def use(self, context: TuneContext, autofill: Autofill) -> None:
        super().use(context, autofill)
        self._has_begun = False  # another attempt

    def train(self) -> dict[str, Any]:
        if not self._has_begun:
            self._has_begun = True
            self._begin()
        return super().train()

    def _begin(self) -> None:
        session = get_session()
        if session is not None and session.checkpoint is not None:
            return
        self.restore(self.start)
        self._autofill.begin_after(self.start_progress)


def _check_not_empty(checkpoint: Checkpoint) -> None:
    filesystem, where = resolve(checkpoint.path, checkpoint.filesystem)
    if not list_names(filesystem, where):
        reject("tune.run", "restore", checkpoint.path, "this folder is empty; give a checkpoint's")


class _BegunFunction:
    """A function that finds the checkpoint where it looks for its own."""

    def __init__(self, function: Any, start: Checkpoint, progress: Progress) -> None:
        self._function = function
        self._start = start
        self._progress = progress
        functools.update_wrapper(self, function)

    def __call__(self, config: dict[str, Any], **parameters: Any) -> Any:
        session = get_session()
        if session is not None and session.checkpoint is None:
            session.checkpoint = self._start
            session.autofill.begin_after(self._progress)
        return self._function(config, **parameters)


def _checkpoint_at(start: Checkpoint | PathLike) -> Checkpoint:
    given = as_checkpoint(start)
    if given is None and not isinstance(start, str | os.PathLike):
        reject("tune.run", "restore", start, "give a Checkpoint, its folder, or a file in it")
    filesystem, where = resolve(start) if given is None else resolve(given.path, given.filesystem)
    if is_directory(filesystem, where):
        return given or Checkpoint(where, filesystem)
    folder, name = posixpath.split(where)  # of a file, or of what begins the names of files
    if not (is_directory(filesystem, folder) and CHECKPOINT.fullmatch(posixpath.basename(folder))):
        fix = f"there is no such checkpoint; give its folder, in which {name!r} may be named, too"
        reject("tune.run", "restore", str(start), fix)
    return Checkpoint(folder, filesystem)


def _progress_at(checkpoint: Checkpoint) -> Progress:
    """How far the trial had come that saved a checkpoint; nothing where none can tell."""
    trial_folder, name = posixpath.split(checkpoint.path.rstrip("/"))
    filesystem, _ = resolve(checkpoint.path, checkpoint.filesystem)
    progress = _journaled(trial_folder, name, checkpoint.filesystem)
    if progress is None:
        progress = read_progress(checkpoint.path, filesystem)
    if progress is not None:
        return progress
    content = read_bytes(filesystem, join(trial_folder, RESULT_FILE)) or b""
    rows = [json.loads(line) for line in content.splitlines() if line.strip()]
    return Progress.after(row_beside(name, rows))


def _journaled(trial_folder: str, name: str, filesystem: Any) -> Progress | None:
    """What the experiment's journal says, None where there is none."""
    from tuner.analysis import ExperimentAnalysis

    folder, dirname = posixpath.split(trial_folder)
    try:
        trials: list[Trial] = ExperimentAnalysis(folder, storage_filesystem=filesystem).trials
    except StorageError:
        return None
    for trial in trials:
        for saved in trial.checkpoints:
            if (trial.dirname, saved.name) == (dirname, name):
                return saved.progress
    return None
