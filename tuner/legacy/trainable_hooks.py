"""Class trainables with the hooks that the older APIs had: `_setup`, `_train`, `_save`, …"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from typing import Any

from tuner.checkpoint import Checkpoint
from tuner.errors import TrainableError
from tuner.legacy.deprecation import warn_once
from tuner.legacy.metrics import with_neg_mean_loss
from tuner.legacy.resources import Resources
from tuner.trainable.trainable import Trainable

_TODAY = {
    "_setup": "setup",
    "_train": "step",
    "_save": "save_checkpoint",
    "_restore": "load_checkpoint",
    "_stop": "cleanup",
    "_log_result": "log_result",
}
"""The hooks by their old names."""

SAVED_PATH_FILE = "trainable_saved_path.txt"
"""Says, in a checkpoint, which path of it `_save` returned."""


def translate(trainable: type[Trainable]) -> None:
    """Has a class with the old hooks called by today's names, wherever it is used.

    It becomes an `OldTrainable`; a hook that it has under today's name is kept.

    Args:
        trainable: A class that has `_train` and no `step`.
    """
    hooks = [hook for hook in _TODAY if hasattr(trainable, hook)]
    warn_once(
        f"class {trainable.__qualname__} with {', '.join(hooks)}",
        f"one with {', '.join(_TODAY[hook] for hook in hooks)}",
    )
    bases = tuple(base for base in trainable.__bases__ if base is not Trainable)
    at = trainable.__bases__.index(Trainable) if Trainable in trainable.__bases__ else len(bases)
    setattr(trainable, "__bases__", (*bases[:at], OldTrainable, *bases[at:]))  # noqa: B010
    _complete(trainable)


def checkpoint_folder(path: str | os.PathLike[str]) -> str:
    """The folder of a checkpoint that is given as such, or by a file or a prefix of files in it.

    Args:
        path: `…/checkpoint_5`, or as older scripts give it, `…/checkpoint_5/checkpoint-5`.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> checkpoint_folder(os.path.join(folder, "checkpoint-5")) == folder
        True
    """
    path = os.path.expanduser(path)
    parent = os.path.dirname(os.path.abspath(path))
    return parent if not os.path.isdir(path) and os.path.isdir(parent) else path


class _UntilCounted:
    """How far training is, until the object keeps a count of its own under this name."""

    def __get__(self, training: Any, kind: type) -> Any:
        return self if training is None else training.training_iteration


class OldTrainable(Trainable):
    """What a class with the old hooks inherits from, in place of `Trainable`."""

    _train: Callable[[], dict[str, Any]]
    _save: Callable[[str], Any]
    _restore: Callable[[Any], Any]

    iteration: Any = _UntilCounted()
    _iteration: Any = _UntilCounted()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        _complete(cls)

    def setup(self, config: dict[str, Any], **parameters: Any) -> None:
        """Calls `_setup(config)`, or `_setup()` of a class that takes none."""
        takes_config = bool(inspect.signature(self._setup).parameters)
        self._setup(*[config][:takes_config], **parameters)

    def step(self) -> dict[str, Any]:
        """Calls `_train()`."""
        metrics = self._train()
        if not isinstance(metrics, dict):
            raise TrainableError(
                f"{type(self).__name__}._train() returned {metrics!r:.100}: it must return a "
                "dictionary of metrics"
            )
        return with_neg_mean_loss(metrics)

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Calls `_restore` with what `_save` returned: a dictionary, or the path, where it is now.

        Args:
            checkpoint: The dictionary, or the checkpoint's folder.
        """
        if not hasattr(self, "_restore"):
            super().load_checkpoint(checkpoint)
        self._restore(checkpoint if isinstance(checkpoint, dict) else _saved_path(checkpoint))

    def cleanup(self) -> None:
        """Calls `_stop()`."""
        self._stop()

    def log_result(self, result: dict[str, Any]) -> None:
        """Calls `_log_result(result)`."""
        self._log_result(result)

    def restore(self, checkpoint: Checkpoint | str) -> None:
        """Takes up the state that `save` wrote; a file in its folder may stand for the folder."""
        if not isinstance(checkpoint, Checkpoint):
            checkpoint = checkpoint_folder(checkpoint)
        super().restore(checkpoint)

    @property
    def trial_resources(self) -> Resources | None:
        """Resources given to the trial, with `cpu`, `gpu`, `extra_cpu` and `extra_gpu`."""
        given = super().trial_resources
        return None if given is None else Resources.of(given)

    def _setup(self, config: dict[str, Any], **parameters: Any) -> None:
        """What `super()._setup(config)` finds."""

    def _stop(self) -> None:
        """What `super()._stop()` finds."""

    def _log_result(self, result: dict[str, Any]) -> None:
        """What `super()._log_result(result)` finds; results are logged without it."""


def _complete(trainable: type[Trainable]) -> None:
    """Adds what is there only if a class has the old hook for it, as its presence has a meaning."""
    if hasattr(trainable, "_save") and trainable.save_checkpoint is Trainable.save_checkpoint:
        setattr(trainable, "save_checkpoint", _save_checkpoint)  # noqa: B010
    if "default_resource_requests" in vars(trainable):
        setattr(trainable, "default_resource_request", classmethod(_default_resource_request))  # noqa: B010


def _save_checkpoint(self: OldTrainable, checkpoint_dir: str) -> Any:
    """Calls `_save(checkpoint_dir)`, and notes which path it returns."""
    saved = self._save(checkpoint_dir)
    if not isinstance(saved, str | os.PathLike):
        return saved
    path = os.path.relpath(saved, checkpoint_dir)
    if path.split(os.sep)[0] == os.pardir:
        raise TrainableError(
            f"{type(self).__name__}._save({checkpoint_dir!r}) returned {os.fspath(saved)!r}, which "
            "is not in that folder: write below it, and return a path below it, or a dictionary"
        )
    with open(os.path.join(checkpoint_dir, SAVED_PATH_FILE), "w", encoding="utf-8") as file:
        file.write(path)
    return None


def _saved_path(folder: str) -> str:
    """The path that `_save` returned, in the folder where the checkpoint lies now."""
    note = os.path.join(folder, SAVED_PATH_FILE)
    if not os.path.exists(note):
        return folder
    with open(note, encoding="utf-8") as file:
        return os.path.normpath(os.path.join(folder, file.read()))


def _default_resource_request(cls: type[Any], config: dict[str, Any]) -> Any:
    return cls.default_resource_requests(config)
