"""What surrounds the user's code in a trial: working directory, environment, output, seeds."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from tuner.execution import seeding
from tuner.execution.environment import leave_run_of_job
from tuner.execution.protocol import Assignment


def prepare(assignment: Assignment) -> None:
    """Sets environment, working directory and random seeds for an attempt."""
    os.makedirs(assignment.path, exist_ok=True)
    os.environ.update(assignment.environ)
    leave_run_of_job(os.environ)
    os.environ["TUNE_ORIG_WORKING_DIR"] = assignment.driver_directory
    os.chdir(assignment.path if assignment.change_directory else assignment.driver_directory)
    seeding.seed_everything(assignment.seed)


class Redirection:
    """While entered, sends what a trial prints to files, also what is printed below Python.

    Args:
        stdout: File for standard output, None to leave it alone.
        stderr: File for standard error, None to leave it alone.
    """

    def __init__(self, stdout: str | None, stderr: str | None) -> None:
        self._targets = [(fd, path) for fd, path in ((1, stdout), (2, stderr)) if path is not None]
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> None:
        for fd, path in self._targets:
            self._stack.enter_context(_descriptor_redirected(fd, path))
            # The descriptor is not always what `sys.stdout` writes to.
            file = self._stack.enter_context(open(path, "a", buffering=1, errors="replace"))
            redirect = contextlib.redirect_stdout if fd == 1 else contextlib.redirect_stderr
            self._stack.enter_context(redirect(file))

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    @contextlib.contextmanager
    def suspended(self) -> Iterator[None]:
        """While entered, output goes where it went before."""
        self._stack.close()
        try:
            yield
        finally:
            self.__enter__()


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
