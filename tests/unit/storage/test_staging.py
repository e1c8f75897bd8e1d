from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import orjson
import pytest
from storage_helpers import described, files_on, folder_storage, put

from tuner.errors import StorageError
from tuner.experiment.events import CapacityKnown
from tuner.experiment.journal_checks import check
from tuner.experiment.journal_reader import JournalReader
from tuner.experiment.journal_writer import JournalWriter
from tuner.filesystems import upload_tree
from tuner.storage.fetching import fetch, fetch_files, segments_in
from tuner.storage.staging import (
    clear,
    discard_copy,
    empty,
    exists,
    release,
    stage,
    staging_path,
    viewed,
)
from tuner.storage.storage import Storage, locate
from tuner.storage.trial_files import TrialFiles
from tuner.storage.upload_index import UploadIndex

FIRST, SECOND = "journal/00000001.jsonl", "journal/00000002.jsonl"


@pytest.fixture(autouse=True)
def _root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNER_STAGING_DIR", str(tmp_path / "staging"))


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return folder_storage(tmp_path / "disk")


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """The experiment's folder on the storage: one segment without a line, as two runs left it."""
    path = tmp_path / "disk" / "exp" / "run"
    files = {"experiment.json": described(), "tuner.pkl": "t", FIRST: "", "t/own.txt": "o"}
    put(path, **files)
    return path


def local(storage: Storage) -> Path:
    return Path(staging_path(storage))


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_the_path_follows_from_the_place_alone(storage: Storage, tmp_path: Path) -> None:
    assert staging_path(storage) == staging_path(Storage(storage.fs, storage.path))
    assert staging_path(storage) != staging_path(storage.child("x"))
    assert local(storage).name == "run"
    assert local(storage).is_relative_to(tmp_path / "staging")


def test_what_nobody_else_sees_is_staged_for_this_process_only(tmp_path: Path) -> None:
    storage, _ = locate("memory://bucket/run")
    assert storage is not None
    assert not local(storage).is_relative_to(tmp_path / "staging")


@pytest.mark.usefixtures("there")
def test_an_experiment_is_fetched_without_the_files_of_trials(storage: Storage) -> None:
    stage(storage, "abc")
    assert names(local(storage)) == {"experiment.json", "tuner.pkl", FIRST}
    with pytest.raises(StorageError, match="holds another run than when"):
        stage(storage, "xyz")


def test_a_snapshot_at_the_start_of_a_segment_that_was_not_uploaded_is_of_use(
    storage: Storage, there: Path
) -> None:
    """It is taken there if a segment was closed just before."""
    (there / FIRST).unlink()
    with closing(JournalWriter(str(there), segment_bytes=1)) as journal:
        journal.append([CapacityKnown(time=0.0, resources={})])
        journal.append([CapacityKnown(time=1.0, resources={})])
        position = journal.position
    os.remove(there / "journal" / f"{position.segment:08d}.jsonl")
    put(there, **{f"snapshots/{position.seq:012d}.pkl": "p"})
    fetch(storage, str(local(storage)))
    check(str(local(storage)), position)
    assert [*JournalReader(str(local(storage)), position).read_all()] == []


def test_an_interrupted_fetch_does_not_pass_for_an_experiment(
    storage: Storage, there: Path
) -> None:
    put(local(storage), **{"tuner.pkl": "t", FIRST: "old"})
    put(there, **{FIRST: ""})
    stage(storage, "abc")
    assert (local(storage) / FIRST).read_bytes() == b""


def test_what_was_not_uploaded_is_used(storage: Storage, there: Path) -> None:
    files = {"experiment.json": described(), "tuner.pkl": "t", FIRST: "", SECOND: "", "t/x": "x"}
    put(local(storage), **files)
    stage(storage, "abc")
    assert names(local(storage)) == set(files)
    with viewed(storage) as folder:
        assert folder == staging_path(storage)
    (there / "experiment.json").unlink()
    assert exists(storage), "it is here, though it never came to the storage"
    with viewed(storage) as folder:
        assert folder == staging_path(storage)


@pytest.mark.parametrize("change", ["another run", "more segments", "another segment"])
def test_what_is_outdated_is_set_aside(
    change: str, storage: Storage, there: Path, caplog: pytest.LogCaptureFixture
) -> None:
    here = {"experiment.json": described(), "tuner.pkl": "t", FIRST: "", "t/x": "only here"}
    if change == "another run":
        here["experiment.json"] = described("old")
    elif change == "more segments":
        put(there, **{SECOND: ""})
    else:
        here[FIRST] = "another"
        put(there, **{FIRST: "a longer one"})
    put(local(storage), **here)
    with viewed(storage) as folder:
        assert folder != staging_path(storage)
        assert not (Path(folder) / "t").exists()
    if change == "another segment":  # which is no journal
        return
    stage(storage, "abc")
    assert segments_in(storage) == [
        Path(name).name for name in sorted(names(local(storage)) & {FIRST, SECOND})
    ]
    aside = Path(f"{local(storage)}.outdated_1")
    assert names(aside) == set(here)
    assert f"is kept in {aside}" in caplog.text


def test_a_mere_copy_is_not_set_aside(storage: Storage, there: Path) -> None:
    fetch(storage, str(local(storage)))
    put(there, **{SECOND: ""})
    stage(storage, "abc")
    assert names(local(storage)) == {"experiment.json", "tuner.pkl", FIRST, SECOND}
    assert [path.name for path in local(storage).parent.iterdir()] == ["run"]
    discard_copy(storage)
    assert names(local(storage)) == set()


def test_what_is_only_here_is_not_discarded(storage: Storage, there: Path) -> None:
    fetch(storage, str(local(storage)))
    put(local(storage), **{SECOND: "not there"})
    discard_copy(storage)
    assert SECOND in names(local(storage))
    (local(storage) / SECOND).unlink()
    put(local(storage), **{"t/x": "x"})
    discard_copy(storage)
    assert "t/x" in names(local(storage))
    assert "t/own.txt" in names(there)


def test_files_of_a_trial_are_fetched_but_for_what_is_written_anew(
    storage: Storage, there: Path
) -> None:
    own = {"t/own.txt": "o", "t/plots/a": "a", "t/stdout": "s"}
    put(there, **own, **{"t/result.json": "r", "t/events.out.tfevents.1.t": "e"})
    put(there, **{"t/checkpoint_000001/n": "1", "t/.checkpoint_000002.attempt1": "m", "u/x": "x"})
    fetch_files(storage, str(local(storage)), ["t", "absent"])
    assert names(local(storage)) == set(own)


@pytest.mark.parametrize("with_artifacts", [False, True])
def test_clearing_removes_what_is_on_the_storage(
    with_artifacts: bool, storage: Storage, tmp_path: Path
) -> None:
    here = local(storage)
    put(here, **{"experiment.json": "{}", "results.parquet": "p", FIRST: "", "t/result.json": "r"})
    put(here, **{"t/checkpoint_000001/n": "1", "t/stdout": "s", "t/plots/own": "x"})
    put(here, **{"previous/0001/journal/00000001.jsonl": "earlier"})
    index = UploadIndex(str(here))
    files = TrialFiles(str(here), index, ["stdout"], with_artifacts=with_artifacts)
    put(here, **{"of_an_earlier_run/result.json": "e"})
    assert clear(str(here), {"t"}, files) is not with_artifacts
    earlier = {"previous/0001/journal/00000001.jsonl", "of_an_earlier_run/result.json"}
    assert names(here) == (earlier if with_artifacts else earlier | {"t/plots/own"})
    release(storage)
    assert here.exists()
    empty(str(here))
    release(storage)
    assert not here.parent.exists()
    upload_tree(storage.fs, str(tmp_path / "disk"), storage.path)
    assert files_on(storage) == {}


def test_an_index_that_says_too_much_is_not_used(storage: Storage, there: Path) -> None:
    index = {"segments": 2, "journaled": 9, "facts": 9, "snapshot": "", "files": {}}
    put(there, **{"journal/uploads.json": orjson.dumps(index)})
    stage(storage, "abc")
    assert UploadIndex(staging_path(storage)).facts == 0
    put(there, **{SECOND: ""})
    stage(storage, "abc")
    assert UploadIndex(staging_path(storage)).facts == 9
