"""Snapshots of the whole state, so that a restore need not replay the journal from its start.

A snapshot is a pickle: like the configs, it is to be loaded from folders only that one trusts.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import sys
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tuner import failpoints
from tuner.experiment.journal_checks import check
from tuner.experiment.journal_segments import Position
from tuner.experiment.state import ExperimentState
from tuner.failpoints import Failpoint
from tuner.layout import SNAPSHOTS_FOLDER
from tuner.version import __version__

logger = logging.getLogger(__name__)

MIN_GROWTH_BYTES = 1024 * 1024
MIN_PERIOD_S = 10.0

_KEPT = 2
_PART = "next.part"  # one name, so that what a kill leaves of it is overwritten
_COST_SHARE = 0.01  # of the time may be spent on snapshots


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that was known at a position of the journal.

    Attributes:
        position: The facts before it are taken in.
        state: Trials and policies.
        random_state: See `random_state`.
        callbacks: The kind of each callback, and what its `get_state` returned.
        time: What time it was, by the executor's clock.
    """

    position: Position
    state: ExperimentState
    random_state: dict[str, Any]
    callbacks: list[tuple[str, Any]]
    time: float


class SnapshotWriter:
    """Writes a snapshot now and then, so that their cost stays a small share of the time.

    One is due when the journal has grown since the last one by as much as that took, at least by
    1 MiB, or if a callback has a state to be kept.

    Args:
        experiment_path: The experiment's folder.
        take: Makes a snapshot of the present.
        replayed_bytes: What a restore had to replay for want of a later snapshot.
        always: Whether the growth of the journal does not matter.
    """

    def __init__(
        self,
        experiment_path: str,
        take: Callable[[], Snapshot],
        *,
        replayed_bytes: int = 0,
        always: bool = False,
    ) -> None:
        self._folder = os.path.join(experiment_path, SNAPSHOTS_FOLDER)
        self._take = take
        self._always = always
        self._due_growth = MIN_GROWTH_BYTES
        self._since = -replayed_bytes
        self._due_time = time.monotonic() + MIN_PERIOD_S
        self._failed = False

    def step(self, journal_bytes: int) -> None:
        """Writes a snapshot if one is due, given how much was written to the journal by now."""
        if self._has_grown(journal_bytes) and time.monotonic() >= self._due_time:
            self._write(journal_bytes)

    def finish(self, journal_bytes: int) -> None:
        """Writes a last one, if there is enough to be kept."""
        if self._has_grown(journal_bytes):
            self._write(journal_bytes)

    def _has_grown(self, journal_bytes: int) -> bool:
        growth = journal_bytes - self._since
        return not self._failed and growth >= (1 if self._always else self._due_growth)

    def _write(self, journal_bytes: int) -> None:
        began = time.monotonic()
        snapshot = self._take()
        try:
            content = _pickled(snapshot)
        except Exception as error:
            self._failed = True
            logger.warning(
                "no snapshots are written, a restore replays the journal instead: a policy or a "
                "callback cannot be pickled (%s: %s)",
                type(error).__name__,
                error,
            )
            return
        try:
            _store(self._folder, snapshot.position.seq, content)
        except OSError as error:
            logger.warning(
                "%s: no snapshot is written now (%s), a restore replays more of the journal",
                self._folder,
                error.strerror,
            )
        self._since = journal_bytes
        self._due_growth = max(MIN_GROWTH_BYTES, len(content))
        now = time.monotonic()
        self._due_time = now + max(MIN_PERIOD_S, (now - began) / _COST_SHARE)


def load_latest(experiment_path: str) -> Snapshot | None:
    """The latest snapshot that can be read, None if there is none: then the journal has it all.

    Raises:
        JournalError: The journal before the snapshot is damaged.
    """
    folder = os.path.join(experiment_path, SNAPSHOTS_FOLDER)
    for name in reversed(_names(folder)):
        path = os.path.join(folder, name)
        try:
            version, snapshot = _load(path)
        except Exception as error:
            logger.warning(
                "%s: not used, more of the journal is replayed instead (%s: %s)",
                path,
                type(error).__name__,
                error,
            )
            continue
        if version != __version__:
            logger.info("%s: not used, as version %s has written it", path, version)
        else:
            check(experiment_path, snapshot.position)
            return snapshot
    return None


def random_state() -> dict[str, Any]:
    """The state of the global streams of random numbers, which policies of users may draw from."""
    numpy_random = sys.modules.get("numpy.random")
    return {
        "python": random.getstate(),
        "numpy": numpy_random.get_state() if numpy_random is not None else None,
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Puts the global streams of random numbers back."""
    random.setstate(state["python"])
    if state["numpy"] is not None:
        import numpy as np

        np.random.set_state(state["numpy"])


def _pickled(snapshot: Snapshot) -> bytes:
    import cloudpickle

    content: bytes = cloudpickle.dumps((__version__, snapshot))
    return content


def _store(folder: str, seq: int, content: bytes) -> None:
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, f"{seq:012d}.pkl")
    part = os.path.join(folder, _PART)
    try:
        with open(part, "wb") as file:
            file.write(b"%08x" % zlib.crc32(content))
            file.write(content)
            file.flush()
            failpoints.reach(Failpoint.SNAPSHOT)
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.remove(part)
        raise
    for name in _names(folder)[:-_KEPT]:
        os.remove(os.path.join(folder, name))


def _names(folder: str) -> list[str]:
    names = os.listdir(folder) if os.path.isdir(folder) else []
    return sorted(name for name in names if name.endswith(".pkl"))


def _load(path: str) -> tuple[str, Snapshot]:
    import pickle

    with open(path, "rb") as file:
        crc, content = file.read(8), file.read()
    if crc != b"%08x" % zlib.crc32(content):
        raise ValueError("it does not match its checksum")
    version, snapshot = pickle.loads(content)
    if not isinstance(snapshot, Snapshot):
        raise TypeError(f"it holds a {type(snapshot).__name__}")
    return version, snapshot
