"""PB2 beside PBT with a population of four, and the figures kept beside the benchmark."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ALGORITHMS = Path(__file__).parents[2] / "benchmarks" / "algorithms"


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ALGORITHMS))
    monkeypatch.setenv("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    import pb2_population

    return pb2_population


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_pb2_beats_pbt_with_a_population_of_four(benchmark: Any) -> None:
    finals: dict[str, list[float]] = {"PBT": [], "PB2": []}
    for seed in range(8):
        for name, scheduler in benchmark.schedulers().items():
            finals[name].append(benchmark.best_rewards(scheduler, seed, 60)[-1])
    assert np.median(finals["PB2"]) > 1.08 * np.median(finals["PBT"]), finals
    assert np.median(finals["PB2"]) > 430, finals


def test_the_figures_that_the_documentation_gives() -> None:
    figures = json.loads((ALGORITHMS / "pb2_population.json").read_text())
    assert figures["seeds"] >= 20
    pbt, pb2 = figures["PBT"], figures["PB2"]
    assert all(np.array(pb2["final_quartiles"]) > np.array(pbt["final_quartiles"]))
    assert pb2["mean_over_time_median"] > 1.2 * pbt["mean_over_time_median"]
    assert (ALGORITHMS / "pb2_population.png").stat().st_size > 10_000


def test_the_physics_of_the_cart_pole(benchmark: Any) -> None:
    """One step from rest, by the equations solved by hand, and a policy that is known to work."""
    import cart_pole

    state = cart_pole.moved(np.zeros((4, 1)), np.array([10.0]))
    turn = -(10 / 1.1) / (0.5 * (4 / 3 - 0.1 / 1.1))
    push = 10 / 1.1 - 0.05 * turn / 1.1
    assert state[:, 0] == pytest.approx([0, 0.02 * push, 0, 0.02 * turn])
    leans = np.array([0.0, 0.0, 20.0, 20.0, 0.0])  # pushes where the pole leans and falls
    _, _, alive = cart_pole.rollout(leans, np.random.default_rng(0))
    _, _, blind = cart_pole.rollout(np.zeros(5), np.random.default_rng(0))
    assert alive.sum(axis=0).mean() > 150 > 50 > blind.sum(axis=0).mean()


def test_discounted_returns(benchmark: Any) -> None:
    import cart_pole

    alive = np.array([[True, True], [True, False], [True, False]])
    assert cart_pole.discounted(alive, 0.5).tolist() == [[1.75, 1.0], [1.5, 0.0], [1.0, 0.0]]
