"""What `benchmarks/algorithms/asha_at_scale.py` shows holds, as recorded and in a smaller run."""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks" / "algorithms"
SEQUENTIAL = "HyperBand, one bracket after the other"


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    sys.path.insert(0, str(FOLDER))
    try:
        import asha_at_scale
    finally:
        sys.path.remove(str(FOLDER))
    return asha_at_scale


def test_the_recorded_figures_follow_from_the_recorded_times(benchmark: ModuleType) -> None:
    found = json.loads((FOLDER / "asha_at_scale.json").read_text())
    assert (found["workers"], found["seeds"]) == (500, 20)
    assert {len(times) for times in found["times"].values()} == {20}
    for name, ratio in benchmark.speedups(found["times"]).items():
        assert found["times sooner"][name] == pytest.approx(ratio, rel=0.01)
    assert found["times sooner"]["random search"] >= 3
    assert found["times sooner"][SEQUENTIAL] >= 3
    medians = [statistics.median(times) for times in found["scaling"].values()]
    assert medians == sorted(medians, reverse=True)


@pytest.mark.slow
def test_asha_is_three_times_sooner_on_fewer_workers_too(
    benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = {name: benchmark.SCHEDULERS[name] for name in ("random search", SEQUENTIAL, "ASHA")}
    monkeypatch.setattr(benchmark, "SCHEDULERS", chosen)
    monkeypatch.setattr(benchmark, "MOST", 15.0)
    ratios = benchmark.speedups(benchmark.compare(range(7), workers=100, rarity=1 / 1_000))
    assert min(ratios.values()) >= 3, ratios
