"""The code in docs/guide/search.md runs as it stands there, one block after the other."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "search.md"


def test_the_code_runs(tmp_path: Path) -> None:
    for module in ("ax", "bayes_opt", "hpbandster", "hyperopt", "nevergrad", "optuna", "zoopt"):
        pytest.importorskip(module)
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert len(blocks) == 8
    script = tmp_path / "guide.py"
    script.write_text("\n".join(blocks))
    done = subprocess.run(
        [sys.executable, script],
        env={**os.environ, "TUNER_RESULTS_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
