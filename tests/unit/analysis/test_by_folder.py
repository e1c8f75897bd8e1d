"""A dictionary by folder that knows trials' ids."""

from __future__ import annotations

import pickle

import pytest

from tuner.analysis.by_folder import ByFolder


def test_folders_are_the_keys_and_ids_are_found() -> None:
    values = ByFolder({"/exp/a": 1, "/exp/b": 2}, {"t0": "/exp/a", "t1": "/exp/b"})
    for each in (values, pickle.loads(pickle.dumps(values))):
        assert dict(each) == {"/exp/a": 1, "/exp/b": 2}
        assert (each["t1"], each["/exp/a"]) == (2, 1)
        with pytest.raises(KeyError, match="t2"):
            each["t2"]
