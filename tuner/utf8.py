"""Text that UTF-8 cannot say, as it has lone surrogates: escaped wherever UTF-8 is asked for."""

from __future__ import annotations

import re

_SURROGATE = re.compile("[\ud800-\udfff]")


def is_utf8(text: str) -> bool:
    """Whether UTF-8 can say it: it has no lone surrogates.

    Example:
        >>> is_utf8("ä"), is_utf8("half a character: \\ud83d")
        (True, False)
    """
    return text.isascii() or not _SURROGATE.search(text)


def escaped(text: str) -> str:
    r"""The text with lone surrogates as Python writes them in a literal.

    Example:
        >>> print(escaped("half a character: \ud83d"))
        half a character: \ud83d
    """
    return text if is_utf8(text) else encoded(text).decode()


def encoded(text: str) -> bytes:
    r"""The text in UTF-8, with lone surrogates as Python writes them in a literal.

    Example:
        >>> encoded("ä"), encoded("\ud83d")
        (b'\xc3\xa4', b'\\ud83d')
    """
    return text.encode("utf-8", "backslashreplace")
