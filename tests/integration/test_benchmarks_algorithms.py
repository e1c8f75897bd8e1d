"""The figures in `benchmarks/algorithms/` hold, and the scripts that make them run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ALGORITHMS = Path(__file__).parents[2] / "benchmarks" / "algorithms"

# At least so much of all training is saved, in the median order; the figures are higher by more
# than the spread over orders.
SAVED = {"median stopping, no pauses": 0.5, "median stopping": 0.7, "ASHA": 0.8, "HyperBand": 0.95}


def run_script(name: str, *arguments: object) -> str:
    command = [sys.executable, str(ALGORITHMS / name), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_hyperband_has_the_brackets_of_the_paper(tmp_path: Path) -> None:
    rows = run_script("hyperband_table.py", "--out", tmp_path).splitlines()[2:]
    assert [row.split("|")[-2].strip() for row in rows] == ["yes"] * 5
    assert "81/1, 27/3, 9/9, 3/27, 1/81" in rows[0]
    assert (tmp_path / "hyperband_table.png").stat().st_size > 10_000


@pytest.fixture(scope="module")
def few_orders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the script writes for a few orders."""
    folder = tmp_path_factory.mktemp("saved_compute")
    run_script("saved_compute.py", "--orders", 5, "--out", folder)
    return folder


@pytest.mark.parametrize("recorded", [True, False])
def test_early_stopping_saves_compute_at_an_equal_best_result(
    recorded: bool, few_orders: Path
) -> None:
    folder = ALGORITHMS if recorded else few_orders
    report = json.loads((folder / "saved_compute.json").read_text())
    assert set(report) == {"digits", "breast_cancer"}
    for rows in report.values():
        assert set(rows) == set(SAVED)
        for name, least in SAVED.items():
            assert rows[name]["orders"] == (50 if recorded else 5)
            assert rows[name]["saved_median"] > least
            assert rows[name]["equal_best"] == 1
            assert rows[name]["missed_most"] < 0.006
            if recorded:
                assert rows[name]["very_best"] > rows[name]["random_very_best"]
        assert rows["HyperBand"]["saved_median"] == pytest.approx(1 - 297 / 6561, abs=1e-4)


def test_few_orders_give_the_figures_of_many(few_orders: Path) -> None:
    few = json.loads((few_orders / "saved_compute.json").read_text())
    many = json.loads((ALGORITHMS / "saved_compute.json").read_text())
    for task, rows in many.items():
        for name, row in rows.items():
            assert few[task][name]["saved_median"] == pytest.approx(row["saved_median"], abs=0.12)


def test_every_trial_of_ppo_reached_the_reward_and_two_were_changed() -> None:
    trials = json.loads((ALGORITHMS / "pbt_ppo.json").read_text())
    assert [max(trial["episode_reward_mean"]) >= 300 for trial in trials] == [True] * 4
    changed = [trial for trial in trials if len(set(trial["lr"])) > 1]
    assert len(changed) == 2
    assert len(set(changed[0]["train_batch_size"])) == 3
