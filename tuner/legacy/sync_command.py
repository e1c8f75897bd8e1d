"""A command line or a function that copies a folder."""

from __future__ import annotations

import shlex
import string
import subprocess
from collections.abc import Callable
from typing import Any

from tuner.errors import StorageError
from tuner.validation import did_you_mean, reject, shorten

_FIELDS = ("source", "target")
_LONGEST_OUTPUT = 2000


class SyncCommand:
    """Copies from a source to a target, by a command of the shell or a function of the user.

    Args:
        owner: What the user called with it.
        field: Under which name.
        given: A template with `{source}` and `{target}`, or a function of both.

    Raises:
        ConfigError: It is neither, or the template lacks a field.

    Example:
        >>> str(SyncCommand("tune.run", "sync_to_cloud", "cp -r {source} {target}"))
        "sync_to_cloud='cp -r {source} {target}'"
        >>> SyncCommand("tune.run", "sync_to_cloud", "cp -r {source} /b")
        Traceback (most recent call last):
            ...
        tuner.errors.ConfigError: tune.run(sync_to_cloud='cp -r {source} /b'): {target} is missing
    """

    def __init__(self, owner: str, field: str, given: Any) -> None:
        self._field = field
        self._given = given
        if isinstance(given, str):
            _check_template(owner, field, given)
        elif not callable(given):
            fix = "use a command with {source} and {target}, or a function (source, target)"
            reject(owner, field, given, fix)

    def __str__(self) -> str:
        return f"{self._field}={shorten(self._given)}"

    def __call__(self, source: str, target: str) -> None:
        """Copies, and returns when that is done.

        Raises:
            StorageError: The command failed; says which, and what it printed.
        """
        if not isinstance(self._given, str):
            self._call(self._given, source, target)
            return
        line = self._given.format(source=shlex.quote(source), target=shlex.quote(target))
        done = subprocess.run(
            line,
            shell=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        if done.returncode:
            output = done.stdout.strip()[-_LONGEST_OUTPUT:] or "it printed nothing"
            raise StorageError(f"{line!r} failed with exit code {done.returncode}: {output}")

    def _call(self, function: Callable[[str, str], Any], source: str, target: str) -> None:
        try:
            function(source, target)
        except Exception as error:
            raise StorageError(
                f"{self} failed from {source!r} to {target!r} ({type(error).__name__}: {error})"
            ) from error


def _check_template(owner: str, field: str, template: str) -> None:
    try:
        names = [name for _, name, _, _ in string.Formatter().parse(template) if name is not None]
    except ValueError as error:
        reject(owner, field, template, f"{error}; write {{{{ and }}}} for braces of the command")
    for name in names:
        if name not in _FIELDS:
            near = did_you_mean(name, _FIELDS)
            fix = f"{{{name}}} is no field, only {{source}} and {{target}} are{near}"
            reject(owner, field, template, fix)
    for name in _FIELDS:
        if name not in names:
            reject(owner, field, template, f"{{{name}}} is missing")
