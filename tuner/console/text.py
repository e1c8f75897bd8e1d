"""Values as short, safe text for a terminal."""

from __future__ import annotations

import re
import reprlib
import unicodedata
from collections.abc import Iterable
from numbers import Integral, Real
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

_ESCAPE = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    r"|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?"  # OSC and other strings
    r"|[ -/]*[0-~])"  # all others
)
_COLOUR = re.compile(r"\x1b\[[0-9;:]*m")
_NAMED = (type, FunctionType, BuiltinFunctionType, MethodType)
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80


def format_value(value: Any, digits: int = 6) -> str:
    """A configuration's or a result's value, on one line; empty for None.

    Args:
        value: Anything.
        digits: Significant digits of a number with a fraction.

    Example:
        >>> [format_value(value) for value in (0.1 + 0.2, 3, None, "adam", dict)]
        ['0.3', '3', '', 'adam', 'dict']
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, Integral):
        return str(value)
    if isinstance(value, Real):
        return f"{float(value):.{digits}g}"
    if isinstance(value, _NAMED):
        return clean(value.__name__)
    return clean(_SHORT.repr(value))


def exact(value: Any) -> str:
    """A value as it would be typed, as far as that is short."""
    if isinstance(value, Real) and not isinstance(value, Integral):
        return repr(float(value))
    if isinstance(value, Integral):
        return str(value)
    if isinstance(value, _NAMED):
        return clean(value.__name__)
    return clean(_SHORT.repr(value))


def clean(text: str) -> str:
    """Text without line breaks and control characters, so that it cannot move the cursor."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else " " for char in _ESCAPE.sub("", text))


def strip_escapes(text: str, *, keep_colours: bool) -> str:
    """Text without the escape sequences that it holds, but for colours if they are wanted."""
    if "\x1b" not in text:
        return text
    if not keep_colours:
        return _ESCAPE.sub("", text)
    kept = _ESCAPE.sub(lambda match: match[0] if _COLOUR.fullmatch(match[0]) else "", text)
    return f"{kept}\x1b[0m" if "\x1b[" in kept else kept


def display_width(text: str) -> int:
    """How many terminal columns a text takes."""
    if text.isascii():
        return len(text)
    return sum(_char_width(char) for char in text)


def shorten(text: str, width: int, *, keep_end: bool = False) -> str:
    """A text cut to at most `width` terminal columns.

    Example:
        >>> shorten("optimizer/schedule/lr", 12, keep_end=True)
        '…schedule/lr'
    """
    if display_width(text) <= width:
        return text
    kept: list[str] = []
    left = width - 1
    for char in reversed(text) if keep_end else text:
        left -= _char_width(char)
        if left < 0:
            break
        kept.append(char)
    return "…" + "".join(reversed(kept)) if keep_end else "".join(kept) + "…"


def pad(text: str, width: int, *, right: bool = False) -> str:
    """A text filled with blanks to `width` terminal columns, at its left side if `right`."""
    blanks = " " * (width - display_width(text))
    return blanks + text if right else text + blanks


def align_points(numbers: list[str]) -> list[str]:
    """Numbers padded so that their decimal points stand below each other.

    Example:
        >>> align_points(["7.5", "10", "", "0.25"])
        [' 7.5 ', '10   ', '     ', ' 0.25']
    """
    split = [_split_number(number) for number in numbers]
    before = max((len(whole) for whole, _ in split), default=0)
    after = max((len(rest) for _, rest in split), default=0)
    return [whole.rjust(before) + rest.ljust(after) for whole, rest in split]


def format_seconds(seconds: float) -> str:
    """A duration in its two largest units.

    Example:
        >>> [format_seconds(s) for s in (4.26, 42, 65, 3900, 200000)]
        ['4.3s', '42s', '1m 05s', '1h 05m', '2d 07h']
    """
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    for unit, name, small_unit, small_name in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "m"),
        (60, "m", 1, "s"),
    ):
        if whole >= unit:
            return f"{whole // unit}{name} {whole % unit // small_unit:02d}{small_name}"
    return f"{whole}s"


def listing(names: Iterable[str], limit: int = 5) -> str:
    """Names separated by commas, the first `limit` of them."""
    all_names = list(names)
    more = len(all_names) - limit
    return ", ".join(all_names[:limit]) + (f" and {more} more" if more > 0 else "")


def _char_width(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _split_number(number: str) -> tuple[str, str]:
    match = re.search(r"[.e]", number)
    place = match.start() if match else len(number)
    return number[:place], number[place:]
