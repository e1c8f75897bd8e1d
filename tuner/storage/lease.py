"""One writer per experiment on remote storage, by a file that says for how long it is held."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import secrets
import socket
import threading
import time
from typing import Any

import orjson

from tuner.errors import ExperimentLockedError
from tuner.filesystems import create_file, join, read_bytes, remove_file, write_bytes
from tuner.liveness import is_alive
from tuner.storage.storage import Storage

logger = logging.getLogger(__name__)

FILE = ".lock"
DURATION_S = 60.0
RENEWED_EVERY_S = 10.0
_CLOSING_S = 5.0
_SETTLING_S = 1.0  # more than it takes to read, remove and create
_AGAIN_S = 0.05

_LENGTH = 1024  # of the file, so that one of two that are written at once replaces all of the other

_held_here: set[str] = set()  # tokens of the leases that this process holds


class Lease:
    """The right to write to an experiment's folder on remote storage, until it expires.

    The clocks of machines that share a storage must agree to within seconds.

    Args:
        storage: The experiment's folder.

    Attributes:
        is_lost: Whether somebody else holds it now, so that nothing more may be written.

    It can be pickled, to be renewed by another process in the name of this one.
    """

    def __init__(self, storage: Storage) -> None:
        self.is_lost = False
        self._storage = storage
        self._path = join(storage.path, FILE)
        self._duration_s = DURATION_S
        self._expires = math.inf
        self._token = secrets.token_hex(8)
        self._holder = {**_machine(), "pid": os.getpid(), "since": time.time()}

    def acquire(self) -> None:
        """Takes the lease, if it is free, has expired, or its holder on this machine is dead.

        Raises:
            ExperimentLockedError: Somebody holds it.
        """
        held = self._read()
        if held is not None and not _is_stale(held):
            raise self._locked(held)
        if held is not None and self._read() == held:  # nobody else has taken it over just now
            remove_file(self._storage.fs, self._path)
        with contextlib.suppress(FileExistsError):  # a try whose answer was lost may have made it
            create_file(self._storage.fs, self._path, self._content())
        if held is not None:  # somebody else may have found it stale at the same moment
            time.sleep(_SETTLING_S)
        held = self._read() or {}
        if held.get("token") != self._token:
            raise self._locked(held)
        _held_here.add(self._token)

    def renew(self) -> None:
        """Holds it for longer; notes if somebody else has taken it, and perhaps ended since."""
        held = self._read() or {}
        if held.get("token") != self._token:
            self.is_lost = True
            logger.error(
                "%s is written to by %s now: nothing more is uploaded from here",
                self._storage,
                _holder(held),
            )
            return
        write_bytes(self._storage.fs, self._path, self._content())

    def is_held(self) -> bool:
        """Whether it is held still, as the storage says."""
        return (self._read() or {}).get("token") == self._token

    def assure(self) -> bool:
        """Whether it is held still; asks the storage only if it may have expired, in a machine
        that slept, for example."""
        if not self.is_lost and time.time() >= self._expires:
            self.renew()
        return not self.is_lost

    def release(self) -> None:
        """Lets others write."""
        _held_here.discard(self._token)
        held = self._read()
        if held is not None and held.get("token") == self._token:
            remove_file(self._storage.fs, self._path)

    def _read(self) -> dict[str, Any] | None:
        """What the file says: None without one, nothing if it stays unreadable.

        In a plain folder it is empty for a moment when it is created or renewed.
        """
        deadline = time.monotonic() + _SETTLING_S
        while True:
            content = read_bytes(self._storage.fs, self._path)
            try:
                return None if content is None else dict(orjson.loads(content))
            except ValueError:
                if time.monotonic() >= deadline:
                    return {}
            time.sleep(_AGAIN_S)

    def _content(self) -> bytes:
        self._expires = time.time() + self._duration_s
        held = {"token": self._token, **self._holder, "expires": self._expires}
        return orjson.dumps(held).ljust(_LENGTH)

    def _locked(self, held: dict[str, Any]) -> ExperimentLockedError:
        seconds = max(held.get("expires", 0) - time.time(), 0)
        return ExperimentLockedError(
            f"{self._storage} is being written to by {_holder(held)}; wait for it to end (or, if "
            f"it is dead, {seconds:.0f} s), or give this run another RunConfig(name=…)"
        )


class LeaseKeeper:
    """Renews a lease in a thread, until it is closed.

    Args:
        lease: What to renew.
    """

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        self._is_closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Renews it no more."""
        self._is_closing.set()
        self._thread.join(_CLOSING_S)

    def _run(self) -> None:
        while not self._is_closing.wait(RENEWED_EVERY_S) and not self._lease.is_lost:
            try:
                self._lease.renew()
            except Exception as error:
                logger.warning("the lock of the storage was not renewed: %r", error)


def _is_stale(held: dict[str, Any]) -> bool:
    if held.get("expires", 0) < time.time():
        return True
    if any(held.get(name) != value for name, value in _machine().items()):
        return False
    if held.get("pid") == os.getpid():  # it could not be released when the storage was away
        return held.get("token") not in _held_here
    return not is_alive(held.get("pid", 0))


def _machine() -> dict[str, str]:
    """What tells where a process id means something: containers may share a host's name."""
    places = {"boot": "/proc/sys/kernel/random/boot_id", "pids": "/proc/self/ns/pid"}
    found = {"host": socket.gethostname()}
    with contextlib.suppress(OSError):
        with open(places["boot"]) as file:
            found["boot"] = file.read().strip()
        found["pids"] = os.readlink(places["pids"])
    return found


def _holder(held: dict[str, Any]) -> str:
    if not held.get("since"):
        return "another process"
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(held["since"]))
    return f"process {held.get('pid')} on {held.get('host')} since {since}"
