from __future__ import annotations

from pathlib import Path

from tuner.storage.upload_index import UploadIndex


def test_a_new_one_knows_of_nothing(tmp_path: Path) -> None:
    index = UploadIndex(str(tmp_path))
    assert (index.segments, index.journaled, index.facts) == (0, 0, 0)
    assert (index.snapshot, index.files) == ("", {})


def test_what_is_saved_is_there_for_the_next_process(tmp_path: Path) -> None:
    (tmp_path / "journal").mkdir()
    index = UploadIndex(str(tmp_path))
    index.segments, index.journaled, index.facts = 3, 70, 60
    index.snapshot = "snapshots/000000000050.pkl"
    index.files = {"t/result.json": [5, 1_700_000_000_000_000_000]}
    index.save()
    index.save()
    assert vars(UploadIndex(str(tmp_path))) == vars(index)
    assert [path.name for path in (tmp_path / "journal").iterdir()] == ["uploads.json"]
