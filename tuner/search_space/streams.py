"""Random streams: the generator that domains draw from, and the global ones that user code uses."""

from __future__ import annotations

import operator
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tuner.errors import SearchSpaceError
from tuner.validation import shorten

if TYPE_CHECKING:
    import numpy as np

    RandomState = int | np.random.Generator | np.random.RandomState | None


_spares: list[np.random.MT19937] = []  # as many as were entered within each other: one costs 0.1 ms


def as_generator(random_state: RandomState = None) -> np.random.Generator:
    """Returns the generator to draw from.

    Args:
        random_state: None for numpy's global stream (which `np.random.seed` seeds), an int for a
            new stream, a `Generator` for itself, a `RandomState` for a new stream whose seed is
            drawn from it.

    Raises:
        SearchSpaceError: If it is none of these.

    Example:
        >>> float(as_generator(7).random()) == float(as_generator(7).random())
        True
    """
    import numpy as np

    if random_state is None:
        return np.random.Generator(np.random.get_bit_generator())  # type: ignore[attr-defined]
    if isinstance(random_state, np.random.Generator):
        return random_state
    return np.random.default_rng(as_seed(random_state))


def as_seed(random_state: int | np.random.Generator | np.random.RandomState) -> int:
    """Returns a seed: the int itself, or one drawn from the generator.

    Raises:
        SearchSpaceError: If it is neither a whole number from 0 up nor a numpy generator.
    """
    try:
        seed = operator.index(random_state)  # type: ignore[arg-type]
    except TypeError:
        return _drawn_seed(random_state)
    if seed < 0:
        raise SearchSpaceError(f"random_state={seed}: a seed must be 0 or greater")
    return seed


@contextmanager
def preserved_globals() -> Iterator[None]:
    """Puts the state of `random` and `np.random` back as it was on entry."""
    import numpy as np

    python_state = random.getstate()
    numpy_state = np.random.get_state(legacy=False)
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)


@contextmanager
def seeded_globals(seed: int) -> Iterator[None]:
    """While entered, `random` and `np.random` are other streams, which a seed decides.

    That is `preserved_globals` and `seed_globals` in half the time.

    Args:
        seed: A whole number of at most 64 bits.
    """
    import numpy as np

    python_state = random.getstate()
    numpy_state = np.random.get_state(legacy=False)
    generator = np.random.get_bit_generator()  # type: ignore[attr-defined]
    spare = _spares.pop() if _spares else np.random.MT19937()
    np.random.set_bit_generator(spare)  # type: ignore[attr-defined]
    try:
        seed_globals(seed)
        yield
    finally:
        random.setstate(python_state)
        np.random.set_bit_generator(generator)  # type: ignore[attr-defined]
        if numpy_state["has_gauss"]:  # a second normal number, which a change of generators drops
            np.random.set_state(numpy_state)
        _spares.append(spare)


def seed_globals(seed: int) -> None:
    """Seeds `random` and `np.random` with different streams.

    Args:
        seed: A whole number of at most 64 bits.
    """
    import numpy as np

    random.seed(seed)
    # The last word keeps numpy from drawing the very numbers that `random` draws.
    np.random.seed([seed & 0xFFFFFFFF, seed >> 32, 1])


def _drawn_seed(random_state: Any) -> int:
    import numpy as np

    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(2**63))
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**63 - 1, dtype=np.int64))
    raise SearchSpaceError(
        f"random_state={shorten(random_state)}: give a whole number, a numpy Generator or a "
        "RandomState"
    )
