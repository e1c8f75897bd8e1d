from __future__ import annotations

import pytest

from tuner.errors import ConfigError
from tuner.storage.storage import locate, new_child


def test_a_url_leads_to_a_folder_and_its_children() -> None:
    storage, path = locate("memory://bucket/a b/run%20é/")
    assert storage is not None
    assert (path, storage.name, storage.is_shared) == ("/bucket/a b/run%20é", "run%20é", False)
    assert storage.child("t").url == "memory:///bucket/a b/run%20é/t"


@pytest.mark.parametrize("url", ["memory://", "memory:///"])
def test_a_place_without_a_folder_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="names no folder: add one to it"):
        locate(url)


def test_a_name_that_is_taken_is_numbered() -> None:
    storage, _ = locate("memory://new_child")
    assert storage is not None
    for expected in ("run", "run_2", "run_3"):
        child = new_child(storage, "run")
        assert child.name == expected
        child.fs.pipe_file(f"{child.path}/x", b"")
