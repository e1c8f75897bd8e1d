"""A call that stops in the middle and goes on later, as a generator does, but from any depth."""

from __future__ import annotations

import threading
from collections.abc import Callable


class SteppedCall:
    """Runs a function in a thread of its own, never at the same time as who called `advance`.

    Args:
        function: It calls `suspend`, from its thread, where it is to stop.

    Attributes:
        is_over: Whether it has come to its end.

    Example:
        >>> seen = []
        >>> def work():
        ...     seen.append("first")
        ...     call.suspend()
        ...     seen.append("second")
        >>> call = SteppedCall(work)
        >>> call.advance(); call.is_over, seen
        (False, ['first'])
        >>> call.advance(); call.is_over, seen
        (True, ['first', 'second'])
    """

    def __init__(self, function: Callable[[], None]) -> None:
        self.is_over = False
        self._function = function
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None
        self._go, self._back = threading.Lock(), threading.Lock()
        self._go.acquire()
        self._back.acquire()

    def advance(self) -> None:
        """Goes on until it is suspended or over.

        Raises:
            Whatever the function raises.
        """
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()
        else:
            self._go.release()
        self._back.acquire()
        if self.is_over:
            self._thread.join()
            if self._error is not None:
                raise self._error

    def suspend(self) -> None:
        """Called by the function: returns at the next `advance`."""
        self._back.release()
        self._go.acquire()

    def _run(self) -> None:
        try:
            self._function()
        except BaseException as error:
            self._error = error
        self.is_over = True
        self._back.release()
