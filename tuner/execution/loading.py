"""Whether this process is loading the trainable, during which no experiment may begin."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

_is_loading = False


@contextlib.contextmanager
def loading() -> Iterator[None]:
    """Marks that the trainable, and with it the user's modules, is being loaded."""
    global _is_loading
    _is_loading = True
    try:
        yield
    finally:
        _is_loading = False


def is_loading() -> bool:
    """Whether a worker's process is loading the trainable right now."""
    return _is_loading
