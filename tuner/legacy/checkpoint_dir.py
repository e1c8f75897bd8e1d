"""Checkpoints of functions, as 1.x had them: `tune.checkpoint_dir`, and `checkpoint_dir=None`."""

from __future__ import annotations

import contextlib
import functools
import inspect
import shutil
import tempfile
import weakref
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager
from typing import Any

from tuner.checkpoint import Checkpoint
from tuner.legacy.deprecation import warn_once
from tuner.trainable.session import get_session
from tuner.trainable.wrappers import WrappedFunction

PARAMETER = "checkpoint_dir"


def checkpoint_dir(step: int | None = None) -> AbstractContextManager[str]:
    """A folder for a checkpoint, which the next report carries.

    What is written into it within the `with` block is the checkpoint. If the block fails, there is
    none. Outside of a trial the folder is removed in the end.

    Args:
        step: Accepted for compatibility: checkpoints are numbered in the order of reports.

    Returns:
        What yields the folder's path.

    Example:
        >>> import os
        >>> with checkpoint_dir(step=1) as folder:
        ...     os.listdir(folder)
        []
    """
    today = "tune.report({…}, checkpoint=Checkpoint.from_directory(folder))"
    warn_once("tune.checkpoint_dir(step=…)", today)
    return _attached()


@contextlib.contextmanager
def _attached() -> Iterator[str]:
    checkpoint = _TemporaryCheckpoint(tempfile.mkdtemp(prefix="checkpoint_"))
    yield checkpoint.path
    session = get_session()
    if session is not None:
        session.attached = checkpoint


def with_checkpoint_dir(function: Any) -> WrappedFunction:
    """A function of the configuration alone, for one with `checkpoint_dir=None` beside it.

    It gets the trial's last checkpoint as a local folder, None at a new start.

    Args:
        function: The function.

    Example:
        >>> def train(config, checkpoint_dir=None):
        ...     return {"begins_at": checkpoint_dir}
        >>> with_checkpoint_dir(train)({})
        {'begins_at': None}
    """
    if isinstance(function, WrappedFunction):  # it is given one already
        return function
    warn_once(f"a function of (config, {PARAMETER}=None)", "one that calls tune.get_checkpoint()")
    return WrappedFunction(_FunctionOfFolder(function), {}, None)


class _TemporaryCheckpoint(Checkpoint):
    """One whose folder is removed when nothing refers to it any more."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        weakref.finalize(self, shutil.rmtree, path, ignore_errors=True)


class _FunctionOfFolder:
    """Calls a function with the folder that holds the trial's last checkpoint."""

    __wrapped__: Callable[..., Any]

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)

    def __call__(self, config: dict[str, Any], **parameters: Any) -> Any:
        session = get_session()
        checkpoint = None if session is None else session.checkpoint
        if checkpoint is None:
            return self.__wrapped__(config, **parameters)
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(checkpoint.as_directory())
            returned = self.__wrapped__(config, **{PARAMETER: folder, **parameters})
            if not inspect.isgenerator(returned):
                return returned
            return _within(stack.pop_all(), returned)


def _within(stack: contextlib.ExitStack, generator: Generator[Any, Any, Any]) -> Any:
    with stack:
        return (yield from generator)
