"""The global random streams of one trial, while other trials and the driver use them as well."""

from __future__ import annotations

import _random
import ctypes
import random
import sys
from typing import Any

import numpy as np

_numpy: Any = np.random  # two of its functions have no types
_HEAD_BYTES = object.__basicsize__
_STATE_BYTES = _random.Random.__basicsize__ - _HEAD_BYTES


class StreamSwitch:
    """Hands the global streams of `random`, numpy and torch from the driver to a trial and back.

    It is made for many switches: a trial's `np.random` is a generator of its own, and the state of
    `random` is copied as memory, as `random.getstate()` makes 625 objects of it.
    """

    def __init__(self) -> None:
        self._spare: list[np.random.MT19937] = []  # those of ended trials; they are dear to make
        self._driver: tuple[Any, Any, Any] | None = None

    def enter(self, streams: TrialStreams) -> None:
        """From now on the global streams are those of a trial."""
        torch = sys.modules.get("torch")
        torch_state = None if torch is None else torch.get_rng_state()
        self._driver = _get_state(), _numpy.get_bit_generator(), torch_state
        if streams.python is None:
            random.seed(streams.seed)
        else:
            _set_state(streams.python)
        if streams.generator is None:
            streams.generator = self._spare.pop() if self._spare else np.random.MT19937(0)
            _numpy.set_bit_generator(streams.generator)
            np.random.seed(streams.seed)
        else:
            _numpy.set_bit_generator(streams.generator)
        if torch is not None:
            if streams.torch is None:
                torch.manual_seed(streams.seed)
            else:
                torch.set_rng_state(streams.torch)

    def leave(self, streams: TrialStreams) -> None:
        """From now on they are the driver's again."""
        assert self._driver is not None
        python, generator, torch_state = self._driver
        streams.python = _get_state()
        _set_state(python)
        _numpy.set_bit_generator(generator)
        if torch_state is not None:
            torch = sys.modules["torch"]
            streams.torch = torch.get_rng_state()
            torch.set_rng_state(torch_state)

    def forget(self, streams: TrialStreams) -> None:
        """A trial has ended."""
        if streams.generator is not None:
            self._spare.append(streams.generator)
            streams.generator = None


class TrialStreams:
    """The streams of a trial, while they are not in use.

    Args:
        seed: What they begin with.
    """

    __slots__ = ("generator", "python", "seed", "torch")

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.python: Any = None
        self.generator: np.random.MT19937 | None = None
        self.torch: Any = None


def _copy(source: Any) -> tuple[bytes, float | None]:
    return ctypes.string_at(id(source) + _HEAD_BYTES, _STATE_BYTES), source.gauss_next


def _paste(state: tuple[bytes, float | None], target: Any) -> None:
    memory, target.gauss_next = state
    ctypes.memmove(id(target) + _HEAD_BYTES, memory, _STATE_BYTES)


def _is_memory_copied_right() -> bool:
    """Whether an object of `random.Random` lies in memory as CPython has always had it."""
    if sys.implementation.name != "cpython" or _STATE_BYTES < 625 * 4:
        return False
    source, target = random.Random(1), random.Random(2)
    source.gauss(0, 1)
    expected = source.getstate()
    _paste(_copy(source), target)
    return bool(target.getstate() == expected == source.getstate())


if _is_memory_copied_right():

    def _get_state() -> Any:
        return _copy(random._inst)

    def _set_state(state: Any) -> None:
        _paste(state, random._inst)

else:
    _get_state, _set_state = random.getstate, random.setstate
