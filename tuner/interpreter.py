"""Fresh Python interpreters that import from where this one does."""

from __future__ import annotations

import os
import sys


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
