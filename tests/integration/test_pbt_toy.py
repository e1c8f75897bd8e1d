"""The toy problem of the paper on population based training, and the figures kept beside it."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import pytest

ALGORITHMS = Path(__file__).parents[2] / "benchmarks" / "algorithms"


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ALGORITHMS))
    import pbt_toy

    return pbt_toy


@pytest.mark.slow
def test_only_population_based_training_finds_the_optimum(toy: Any) -> None:
    found = {
        method: statistics.median(toy.final_q(toy.train(method, seed)) for seed in range(3))
        for method in toy.METHODS
    }
    assert found["PBT"] > 1.15
    assert found["explore only"] < 1.1
    assert found["exploit only"] == pytest.approx(0.39, abs=0.01)
    assert found["grid search"] == pytest.approx(0.39, abs=0.01)


def test_the_figures_that_are_kept_say_so_over_all_seeds() -> None:
    kept = json.loads((ALGORITHMS / "pbt_toy.json").read_text())
    assert kept["seeds"] >= 20
    q = kept["q"]
    assert q["PBT"]["median"] > 1.19
    assert q["PBT"]["min"] > q["explore only"]["median"]
    assert q["explore only"]["median"] < 1.1
    assert q["exploit only"]["max"] < 0.4
    assert q["grid search"]["max"] < 0.4
