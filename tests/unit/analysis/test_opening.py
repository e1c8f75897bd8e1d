"""What can be opened, and what is said of what cannot."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow.fs
import pytest
from analysis_helpers import losses, ray_trial

from tuner.analysis.opening import open_experiment
from tuner.errors import ConfigError, StorageError


def test_a_folder_is_opened_by_any_of_its_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = losses(tmp_path / "exp", [1.0])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in (path, Path(path), f"file://{path}", "exp", "~/exp", "exp/experiment.json"):
        assert open_experiment(name).path == path
    monkeypatch.chdir(path)
    assert open_experiment("experiment.json").path == path
    assert open_experiment(path, pyarrow.fs.LocalFileSystem()).path == path


def test_other_folders_are_errors_that_say_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"ExperimentAnalysis\('.*nowhere'\): there is no such"):
        open_experiment(tmp_path / "nowhere")
    with pytest.raises(StorageError, match=r"no experiment\.json, no experiment_state-\*\.json"):
        open_experiment(tmp_path)
    folder = ray_trial(tmp_path / "exp" / "t_1", [{"loss": 1}])
    with pytest.raises(StorageError, match="it is the folder of a trial, not of its experiment"):
        open_experiment(os.fspath(folder))
    with pytest.raises(
        StorageError, match=r"ExperimentAnalysis\('memory://.*'\): there is no such"
    ):
        open_experiment("memory://nowhere/exp")
    with pytest.raises(ConfigError, match="filesystem=3 is a int"):
        open_experiment("/exp", 3)  # type: ignore[arg-type]
