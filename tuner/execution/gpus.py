"""Which GPUs a trial gets."""

from __future__ import annotations

import math

_EPSILON = 1e-9


class GpuPool:
    """GPUs, whole or in fractions, given out and taken back.

    A trial that asks for one or more gets whole ones; a fraction shares one GPU with others.

    Args:
        ids: The GPUs' names, as `CUDA_VISIBLE_DEVICES` knows them.
    """

    def __init__(self, ids: list[str]) -> None:
        self._free = dict.fromkeys(ids, 1.0)

    def take(self, amount: float) -> dict[str, float] | None:
        """Shares of GPUs that make up `amount`; None if fractions lie so that it is impossible."""
        if amount <= 0:
            return {}
        if amount < 1:
            # The fullest one that still has room, so that whole ones stay whole.
            fitting = [gpu for gpu, free in self._free.items() if free >= amount - _EPSILON]
            if not fitting:
                return None
            shares = {min(fitting, key=lambda gpu: self._free[gpu]): amount}
        else:
            whole = [gpu for gpu, free in self._free.items() if free >= 1 - _EPSILON]
            if len(whole) < math.ceil(amount - _EPSILON):
                return None
            shares = dict.fromkeys(whole[: math.ceil(amount - _EPSILON)], 1.0)
        for gpu, share in shares.items():
            self._free[gpu] -= share
        return shares

    def give_back(self, shares: dict[str, float]) -> None:
        """Takes shares back."""
        for gpu, share in shares.items():
            self._free[gpu] += share
