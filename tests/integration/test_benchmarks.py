"""The benchmarks run, and their check of the files finds what is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_a_quick_run_writes_figures(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / "run.py"), "--quick", "--out", str(tmp_path)]
    done = subprocess.run([*command, "--only", "import", "results"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "figures.json").read_text())["rows"]
    assert [row["unit"] for row in rows] == ["s", "results/s"]
    assert all(row["tuner"][0] > 0 for row in rows)
    assert "verified_rows 1.2e+04" in done.stderr
    assert "| 2 trials x 2000 results |" in done.stdout


@pytest.mark.parametrize("damage", ["none", "result.json", "progress.csv", "events", "trial"])
def test_every_missing_row_is_found(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from measure import reporting, run
    from verify import FilesAreWrong, verify

    import tuner

    _, path = run(tuner, "tuner", reporting(tuner, 5, 3), str(tmp_path), trials=2)
    assert verify(path, 2, 5, 3) == 30
    trial = next(Path(path).glob("*/params.json")).parent
    if damage == "none":
        return
    if damage == "trial":
        (trial / "params.json").unlink()
    elif damage == "events":
        (events,) = trial.glob("events.out.tfevents.*")
        events.unlink()
    else:
        lines = (trial / damage).read_text().splitlines(keepends=True)
        (trial / damage).write_text("".join(lines[:2] + lines[3:]))
    moved = Path(path).rename(tmp_path / "moved")  # verify keeps the last folder's events
    with pytest.raises(FilesAreWrong):
        verify(str(moved), 2, 5, 3)


def test_clients_that_poll_are_answered(tmp_path: Path) -> None:
    script = str(BENCHMARKS / "server_load.py")
    command = [sys.executable, script, "--pairs", "1", "--period", "0.1", "--results", "200"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (row,) = (line for line in done.stdout.splitlines() if line.startswith("| 1 |"))
    seconds, watched, _, answers, _ = map(float, row.strip("| ").split(" | ")[1:])
    assert seconds > 0
    assert watched > 0
    assert answers >= 2 * 50, "each client had both answers"
    assert "median ratio: " in done.stdout
