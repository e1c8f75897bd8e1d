"""Where the scripts of the seeds leave their results."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that stands for `~/ray_results`."""
    folder = tmp_path / "results"
    monkeypatch.setenv("TUNER_RESULTS_DIR", str(folder))
    return folder
