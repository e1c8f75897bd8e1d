"""Where experiments on remote storage are kept, and staged."""

from __future__ import annotations

from pathlib import Path

import pytest
from remote_helpers import Place
from servers import Bucket


@pytest.fixture
def staging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where experiments are staged; nothing may stay there."""
    path = tmp_path / "staging"
    monkeypatch.setenv("TUNER_STAGING_DIR", str(path))
    return path


@pytest.fixture
def place(s3_server: Bucket) -> Place:
    return Place(f"{s3_server.url}/exp")
