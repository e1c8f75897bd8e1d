"""Fresh Python interpreters that import from where this one does."""

from __future__ import annotations

import os
import pickle
import socket
import subprocess
import sys
import tempfile
from typing import Any


def python_command(module: str, *arguments: str) -> list[str]:
    """The command that calls `main()` of a module in a fresh interpreter.

    Its import path is the same as here, in the same order; its environment is left alone, so that
    what it starts in turn sees what the user has set.

    Args:
        module: A module with a function `main()`.
        *arguments: What it finds in `sys.argv[1:]`.
    """
    path = [os.path.abspath(entry) for entry in sys.path]
    code = f"import sys; sys.path[:] = {path!r}; from {module} import main; main()"
    return [sys.executable, "-P", "-c", code, *arguments]


def start_with_task(
    module: str, task: Any, **options: Any
) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Starts a fresh interpreter that has a task to do.

    Args:
        module: A module with a function `main()`. It finds the number of its end of the connection
            in `sys.argv[1]`, and the task, pickled, on its standard input.
        task: The task.
        **options: Further ones of `subprocess.Popen`.

    Returns:
        The process, and this end of the connection to it.
    """
    ours, theirs = socket.socketpair()
    with theirs, tempfile.TemporaryFile() as stdin:
        pickle.dump(task, stdin)
        stdin.seek(0)
        process = subprocess.Popen(
            python_command(module, str(theirs.fileno())),
            stdin=stdin,
            stdout=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            **options,
        )
    return process, ours
