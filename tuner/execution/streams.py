"""The global random streams of one trial, while other trials and the driver use them as well."""

from __future__ import annotations

import contextlib
import random
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

_Generators = list[np.random.MT19937]


class TrialStreams:
    """What `random`, numpy and torch draw in a trial, as if nobody else drew from them.

    Args:
        seed: What the streams begin with.
        spare: Generators that no trial uses any more, which are dear to make.
    """

    __slots__ = ("_generator", "_python", "_seed", "_spare", "_torch")

    def __init__(self, seed: int, spare: _Generators) -> None:
        self._seed = seed
        self._spare = spare
        self._python: Any = None
        self._generator: np.random.MT19937 | None = None
        self._torch: Any = None


    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """While entered, the global streams are those of the trial."""
        torch = sys.modules.get("torch")
        python, generator = random.getstate(), np.random.get_bit_generator()
        torch_state = None if torch is None else torch.get_rng_state()
        self._enter(torch)
        try:
            yield
        finally:
            self._python = random.getstate()
            random.setstate(python)
            np.random.set_bit_generator(generator)
            if torch is not None:
                self._torch = torch.get_rng_state()
                torch.set_rng_state(torch_state)

    def release(self) -> None:
        """Lets another trial have the generator."""
        if self._generator is not None:
            self._spare.append(self._generator)
            self._generator = None

    def _enter(self, torch: Any) -> None:
        if self._python is None:
            random.seed(self._seed)
        else:
            random.setstate(self._python)
        if self._generator is None:
            self._generator = self._spare.pop() if self._spare else np.random.MT19937(0)
            np.random.set_bit_generator(self._generator)
            np.random.seed(self._seed)
        else:
            np.random.set_bit_generator(self._generator)
        if torch is not None:
            if self._torch is None:
                torch.manual_seed(self._seed)
            else:
                torch.set_rng_state(self._torch)
