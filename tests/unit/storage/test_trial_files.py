from __future__ import annotations

import os
from pathlib import Path

import pytest
from storage_helpers import put

from tuner.storage.trial_files import TrialFiles
from tuner.storage.upload_index import UploadIndex

OWN = {"t/result.json", "t/progress.csv", "t/params.json", "t/params.pkl", "t/error.txt"}
OWN |= {"t/events.out.tfevents.1.t", "t/stdout"}
ARTIFACTS = {"t/model.txt", "t/plots/a/b.png", "t/plots/result.json", "t/stderr"}


@pytest.fixture
def staging(tmp_path: Path) -> Path:
    for path in OWN | ARTIFACTS:
        put(tmp_path, **{path: "12345678"})
    for path in ("t/checkpoint_000001/model", "t/.checkpoint_000002.attempt1/model"):
        put(tmp_path, **{path: "x"})
    put(tmp_path, **{"t/.cache/x": "x", "t/plots/.hidden": "x", "other/result.json": "x"})
    return tmp_path


def trial_files(staging: Path, *, with_artifacts: bool = True) -> tuple[TrialFiles, UploadIndex]:
    index = UploadIndex(str(staging))
    return TrialFiles(str(staging), index, ["stdout"], with_artifacts=with_artifacts), index


def sent(files: TrialFiles, index: UploadIndex) -> None:
    index.files = {path: files.signature(path) for path in files.all("t")}


def test_checkpoints_and_hidden_files_stay_here_and_artifacts_unless_wanted(staging: Path) -> None:
    files, _ = trial_files(staging)
    assert sorted(files.all("t")) == sorted(OWN | ARTIFACTS)
    files, _ = trial_files(staging, with_artifacts=False)
    assert sorted(files.all("t")) == sorted(OWN)
    assert [*files.all("absent")] == []


def test_links_count_as_what_they_lead_to_and_nothing_else_is_a_file(staging: Path) -> None:
    os.symlink(staging / "t" / "model.txt", staging / "t" / "link")
    os.symlink(staging / "nowhere", staging / "t" / "dangling")
    os.mkfifo(staging / "t" / "pipe")
    files, _ = trial_files(staging)
    assert set(files.all("t")) - OWN - ARTIFACTS == {"t/link"}


def test_changed_are_those_that_are_not_there_as_they_are(staging: Path) -> None:
    files, index = trial_files(staging)
    assert set(files.changed("t")) == OWN | ARTIFACTS
    sent(files, index)
    assert files.changed("t") == []
    put(staging, **{"t/result.json": "12345678 and more", "t/new": "x"})
    os.utime(staging / "t" / "stdout", ns=(1, 1))
    assert sorted(files.changed("t")) == ["t/new", "t/result.json", "t/stdout"]


def test_due_are_artifacts_and_files_that_have_doubled(staging: Path) -> None:
    files, index = trial_files(staging)
    assert set(files.due("t")) == OWN | ARTIFACTS
    sent(files, index)
    put(staging, **{"t/result.json": "x" * 15, "t/stdout": "x" * 16, "t/model.txt": "123456789"})
    assert sorted(files.due("t")) == ["t/model.txt", "t/stdout"]
    assert files.artifacts("t") == ["t/model.txt"]


def test_a_file_that_vanishes_meanwhile_is_no_error(staging: Path) -> None:
    files, index = trial_files(staging)
    listed = files.all("t")
    first = next(listed)
    (staging / first).unlink()
    assert files.signature(first) == [0, 0]
    sent(files, index)
    assert first not in index.files
