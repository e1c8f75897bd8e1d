"""Checks on what a user configures: each failure is one line naming owner, field, value and fix."""

import math
from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from typing import NoReturn

from tuner.errors import ConfigError

MODES = ("min", "max")


def reject(owner: str, field: str, value: object, fix: str) -> NoReturn:
    """Raise the one-line `ConfigError` for a field whose value cannot work.

    Example:
        >>> reject("TuneConfig", "num_samples", 0, "use a whole number >= 1")
        Traceback (most recent call last):
            ...
        tuner.errors.ConfigError: TuneConfig(num_samples=0): use a whole number >= 1
    """
    raise ConfigError(f"{owner}({field}={shorten(value)}): {fix}")


def shorten(value: object, width: int = 80) -> str:
    """`repr(value)` on one line of at most `width` characters."""
    text = " ".join(repr(value).split())
    return text if len(text) <= width else text[: width - 3] + "..."


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`"; did you mean 'x'?"` for the nearest of `known`, or an empty string."""
    import difflib

    by_lower = {each.lower(): each for each in known}
    near = difflib.get_close_matches(name.lower(), by_lower, n=1)
    return f"; did you mean {by_lower[near[0]]!r}?" if near else ""


def check_whole(owner: str, field: str, value: object, fix: str, *, least: int) -> None:
    """Reject all but whole numbers from `least` upwards; booleans are no numbers."""
    if isinstance(value, bool) or not isinstance(value, Integral) or int(value) < least:
        reject(owner, field, value, fix)


def check_number(
    owner: str, field: str, value: object, fix: str, *, least: float | None = None, above: float = 0
) -> None:
    """Reject all but finite numbers `> above`, or `>= least` where that is given."""
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        reject(owner, field, value, fix)
    number = float(value)
    if number < least if least is not None else number <= above:
        reject(owner, field, value, fix)


def check_flag(owner: str, field: str, value: object) -> None:
    """Reject all but `True` and `False`."""
    if not isinstance(value, bool):
        reject(owner, field, value, "use True or False")


def check_text(owner: str, field: str, value: object, fix: str) -> None:
    """Reject all but strings that say something."""
    if not isinstance(value, str) or not value.strip():
        reject(owner, field, value, fix)


def check_distinct(owner: str, callbacks: Sequence[object], targets: Sequence[str]) -> None:
    """Reject callbacks of which two write to the same target, given in words."""
    for target in targets:
        if targets.count(target) > 1:
            fix = f"leave one of those that write to {target}, or name another target"
            reject(owner, "callbacks", callbacks, fix)


def check_mode(owner: str, field: str, value: object) -> None:
    """Reject all but `"min"` and `"max"`, suggesting the one that was probably meant."""
    if value in MODES:
        return
    meant = str(value).strip().lower()[:3]
    reject(owner, field, value, f"use {meant!r}" if meant in MODES else "use 'min' or 'max'")


def check_instance(owner: str, field: str, value: object, fix: str) -> None:
    """Reject a class where one of its instances belongs, and plain values such as 3 or `[]`."""
    if isinstance(value, type):
        reject(owner, field, value, f"give an instance, {value.__name__}(...), not the class")
    if isinstance(value, bool | int | float | complex | bytes | list | tuple | set | dict):
        reject(owner, field, value, fix)
