"""The arguments of `with_parameters`: large, sent once, and the same for every trial."""

from __future__ import annotations

import pickle
from typing import Any

from tuner import pickling


class Parameters:
    """Keyword arguments of which every trial gets its own copy.

    Numpy arrays and the like are not copied: in a worker they lie in memory that all workers
    share, and are read-only. What a trial changes in the rest, no other trial sees.

    Args:
        values: The arguments.
    """

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values
        self._buffers: list[Any] | None = None  # the pickled values, where they came as a pickle
        self._is_taken = False

    def take(self) -> dict[str, Any]:
        """The arguments for one more trial in this process."""
        if self._is_taken and self._buffers is not None:
            self.values = _loaded(self._buffers)
        self._is_taken = True
        return self.values

    def __reduce__(self) -> tuple[Any, ...]:
        if self._buffers is not None:
            return _restored, (self._buffers,)
        content, buffers = pickling.dumps_beside(self.values)
        return _restored, ([pickle.PickleBuffer(content), *buffers],)


def _restored(buffers: list[Any]) -> Parameters:
    parameters = Parameters(_loaded(buffers))
    parameters._buffers = buffers
    return parameters


def _loaded(buffers: list[Any]) -> dict[str, Any]:
    content, *others = (memoryview(buffer).toreadonly() for buffer in buffers)
    values: dict[str, Any] = pickle.loads(content, buffers=others)
    return values
