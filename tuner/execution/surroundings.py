"""What surrounds the user's code in a trial: working directory, environment, output, seeds."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

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
    targets = [(1, assignment.stdout), (2, assignment.stderr)]
    saved = []
    for fd, path in targets:
        if path is None:
            continue
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        saved.append((fd, os.dup(fd)))
        os.dup2(file, fd)
        os.close(file)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for fd, original in saved:
            os.dup2(original, fd)
            os.close(original)
