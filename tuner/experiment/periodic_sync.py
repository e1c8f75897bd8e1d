"""Brings a growing file to the disk every second, so that a loss of power costs no more."""

from __future__ import annotations

import os
import threading

PERIOD_S = 1.0


class PeriodicSync:
    """Calls `fsync` on a file that is being written, in a thread that sleeps between the calls.

    Args:
        period_s: Seconds from the first write that is not on the disk to the call.
    """

    def __init__(self, period_s: float = PERIOD_S) -> None:
        self._period_s = period_s
        self._fd: int | None = None
        # Held while the file is brought to the disk, which must not be closed meanwhile.
        self._lock = threading.Lock()
        self._is_dirty = threading.Event()
        self._is_closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._failure: OSError | None = None

    def watch(self, fd: int | None) -> None:
        """Turns to another file; what was written to the last one is brought to the disk first."""
        self.now()
        with self._lock:
            self._fd = fd

    def soon(self) -> None:
        """Notes that something was written.

        Raises:
            OSError: What was written before could not be brought to the disk.
        """
        if self._failure is not None:
            raise self._failure
        if self._is_dirty.is_set():
            return
        self._is_dirty.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="journal-sync", daemon=True)
            self._thread.start()

    def now(self) -> None:
        """Brings all that was written to the disk."""
        with self._lock:
            self._is_dirty.clear()
            if self._fd is not None:
                os.fsync(self._fd)

    def close(self) -> None:
        """Brings all that was written to the disk and ends the thread."""
        self._is_closing.set()
        self._is_dirty.set()
        if self._thread is not None:
            self._thread.join()
        self.now()

    def _run(self) -> None:
        while not self._is_closing.is_set():
            self._is_dirty.wait()
            self._is_closing.wait(self._period_s)
            try:
                self.now()
            except OSError as error:
                self._failure = error
                return
