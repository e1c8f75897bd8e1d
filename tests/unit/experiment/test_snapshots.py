"""Snapshots that cannot be written."""

from __future__ import annotations

import random
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from random_experiments import build_state

from tuner.experiment import snapshots
from tuner.experiment.journal_writer import JournalWriter
from tuner.experiment.snapshots import Snapshot, SnapshotWriter, load_latest, random_state


@contextmanager
def files_of_at_most(num_bytes: int) -> Iterator[None]:
    """A disk on which no file can grow any larger."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_snapshot_that_finds_no_room_does_not_end_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(snapshots, "MIN_GROWTH_BYTES", 1)
    journal = JournalWriter(str(tmp_path))
    drawn = random.getstate()

    def take() -> Snapshot:
        return Snapshot(journal.position, build_state(3, str(tmp_path)), random_state(), [], 0.0)

    writer = SnapshotWriter(str(tmp_path), take)
    folder = tmp_path / "snapshots"
    with files_of_at_most(100):
        writer.finish(10)
    assert "no snapshot is written now (File too large)" in caplog.text
    assert list(folder.iterdir()) == [], "what was begun makes room"
    assert load_latest(str(tmp_path)) is None
    writer.finish(10_000_000)
    assert len(list(folder.iterdir())) == 1
    snapshot = load_latest(str(tmp_path))
    assert snapshot is not None
    assert snapshot.random_state["python"] == drawn
    journal.close()
