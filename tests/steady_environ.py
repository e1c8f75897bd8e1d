"""Variables of the environment can be set while Ray's threads read them.

Until glibc 2.41, `setenv` of a new name moves the array of all variables and frees the old one,
which a thread inside `getenv` goes on reading. Ray's threads call it for the lines that they log,
and pytest sets a variable for each test: once in many runs of all tests a process crashed. Here
the array has room from the start, and a new name is put behind the last.
"""

import ctypes
import os
import platform
import threading
from collections.abc import Callable

StrOrBytes = str | bytes

_ROOM = 4096  # variables


def keep_environ_in_place() -> None:
    """From now on, what is added to `os.environ` does not move the array of this process."""
    if platform.libc_ver()[0] == "glibc":
        os.putenv = _SteadyPutenv(os.putenv)  # what `os.environ` calls, and NumPy


class _SteadyPutenv:
    def __init__(self, putenv: Callable[[StrOrBytes, StrOrBytes], None]) -> None:
        self._putenv = putenv
        self._lock = threading.RLock()
        libc = ctypes.PyDLL(None)
        self._getenv = libc.getenv
        self._getenv.restype = ctypes.c_void_p
        self._environ = ctypes.c_void_p.in_dll(libc, "environ")
        self._ours = (ctypes.c_void_p * _ROOM)()
        self._added: list[ctypes.Array[ctypes.c_char]] = []  # never freed, as by `setenv`

    def __call__(self, name: StrOrBytes, value: StrOrBytes) -> None:
        name, value = os.fsencode(name), os.fsencode(value)
        is_refused = not name or b"=" in name or b"\0" in name + value
        with self._lock:
            if is_refused or self._getenv(name) is not None:
                self._putenv(name, value)
            else:
                self._append(name + b"=" + value)

    def _append(self, text: bytes) -> None:
        assignment = ctypes.create_string_buffer(text)
        self._added.append(assignment)
        end = self._end()
        self._ours[end + 1] = None
        self._ours[end] = ctypes.addressof(assignment)

    def _end(self) -> int:
        """Where a new name belongs, in an array that is ours."""
        address = self._environ.value
        current = (ctypes.c_void_p * _ROOM).from_address(address)
        end = next(index for index, entry in enumerate(current) if entry is None)
        if address != ctypes.addressof(self._ours):  # at first, or after a `setenv` in C
            self._ours[: end + 1] = current[: end + 1]
            self._environ.value = ctypes.addressof(self._ours)
        return end
