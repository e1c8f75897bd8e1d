"""What surrounds the user's code in a trial: working directory, environment, output, seeds."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import TextIO

from tuner.execution import seeding
from tuner.execution.protocol import Assignment


def prepare(assignment: Assignment) -> None:
    """Sets environment, working directory and random seeds for an attempt."""
    os.makedirs(assignment.path, exist_ok=True)
    os.environ.update(assignment.environ)
    os.environ["TUNE_ORIG_WORKING_DIR"] = assignment.driver_directory
    os.chdir(assignment.path if assignment.change_directory else assignment.driver_directory)
    seeding.seed_everything(assignment.seed)


@contextlib.contextmanager
def redirected(assignment: Assignment) -> Iterator[None]:
    """Sends what the trial prints to files, also what is printed below Python."""
    with contextlib.ExitStack() as stack:
        if assignment.stdout is not None:
            stack.enter_context(_descriptor_redirected(1, assignment.stdout))
            stack.enter_context(contextlib.redirect_stdout(_opened(stack, assignment.stdout)))
        if assignment.stderr is not None:
            stack.enter_context(_descriptor_redirected(2, assignment.stderr))
            stack.enter_context(contextlib.redirect_stderr(_opened(stack, assignment.stderr)))
        yield


@contextlib.contextmanager
def _descriptor_redirected(fd: int, path: str) -> Iterator[None]:
    original = os.dup(fd)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(file, fd)
    os.close(file)
    try:
        yield
    finally:
        os.dup2(original, fd)
        os.close(original)


def _opened(stack: contextlib.ExitStack, path: str) -> TextIO:
    """A text file for `sys.stdout`, which need not be what the descriptor belongs to."""
    return stack.enter_context(open(path, "a", buffering=1, errors="replace"))
