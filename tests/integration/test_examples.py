"""Every example runs as a script and finds what it should."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(name: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), "--smoke-test"],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=folder,
        env={**os.environ, "TUNER_RESULTS_DIR": str(folder)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return done.stdout


def number(pattern: str, text: str) -> float:
    found = re.search(pattern, text)
    assert found, text
    return float(found.group(1))


def test_quickstart(tmp_path: Path) -> None:
    printed = run("quickstart.py", tmp_path)
    assert number(r"validation part: ([\d.]+)", printed) > 0.8
    assert number(r"test part, never seen before: ([\d.]+)", printed) > 0.8
    (experiment,) = tmp_path.iterdir()
    assert len(list(experiment.glob("*/events.out.tfevents.*"))) == 4


def test_class_trainable(tmp_path: Path) -> None:
    printed = run("class_trainable.py", tmp_path)
    (failed,) = (line for line in printed.splitlines() if "after one failure" in line)
    assert failed.startswith("alpha=0.01: accuracy 0.9")
    assert "at iteration 8" in failed
    assert "kept ['checkpoint_000002', 'checkpoint_000003']" in failed


def test_numpy_mlp(tmp_path: Path) -> None:
    assert number(r"accuracy ([\d.]+)\n", run("numpy_mlp.py", tmp_path)) > 0.3


def test_custom_stopper(tmp_path: Path) -> None:
    printed = run("custom_stopper.py", tmp_path)
    assert number(r"reached ([\d.]+),", printed) <= 1.0
    assert "lr=0.1: 1 iterations" in printed


def test_custom_logger(tmp_path: Path) -> None:
    printed = run("custom_logger.py", tmp_path)
    assert len(re.findall(r"^ball-0\.\d\d-0[012] ended at", printed, re.MULTILINE)) == 3
    leaders = (tmp_path / "leaderboard.tsv").read_text().splitlines()
    heights = [float(line.split("\t")[2]) for line in leaders]
    assert heights == sorted(heights, reverse=True)


def test_no_example_is_forgotten() -> None:
    tested = Path(__file__).read_text()
    for example in EXAMPLES.glob("*.py"):
        assert f'"{example.name}"' in tested
