"""Progress bars of Ray in a trial, such as those of `ray.data`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def hidden() -> Iterator[None]:
    """While entered, they print nothing: lines of JSON, of which only Ray's driver makes bars."""
    from ray.experimental.tqdm_ray import tqdm

    bar: Any = tqdm
    before = bar._dump_state
    bar._dump_state = _print_nothing
    try:
        yield
    finally:
        bar._dump_state = before


def _print_nothing(*arguments: Any, **options: Any) -> None:
    pass
