"""What `benchmarks/search/regret.py` shows holds, as recorded and in a smaller run.

Through us a library finds what it finds when used directly. Where it draws from streams of its own
it even tries the very same configurations; elsewhere others, which are as good.
"""

from __future__ import annotations

import importlib.util
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import regret
from libraries import LIBRARIES, directly, through_ours
from problems import PROBLEMS
from searchers import SEARCHERS

import tuner as tune
from tuner.integrations.library_searcher import LibrarySearcher
from tuner.search_space.streams import seeded_globals

ROWS = regret.recorded()
SAME = sorted({row["library"] for row in ROWS if row["same"] == len(row["ours"]["final"])})

_HARTMANN6 = [0.20168952, 0.15001069, 0.47687398, 0.27533243, 0.31165162, 0.65730054]
_ADAM = {"lr": 1e-3, "dropout": 0.3, "layers": 4, "epsilon": 1e-6, "warmup": 5}
_CHOSEN = {"optimizer": "adam", "epsilon": 1e-6, "warmup": 5}
MINIMIZERS = [
    ("branin", {"x": -np.pi, "y": 12.275}),
    ("branin", {"x": np.pi, "y": 2.275}),
    ("branin", {"x": 3 * np.pi, "y": 2.475}),
    ("hartmann6", {f"x{i}": x for i, x in enumerate(_HARTMANN6)}),
    ("conditional", {"lr": 1e-3, "dropout": 0.3, "layers": 4, "optimizer": _CHOSEN}),
    ("flat", {**_ADAM, "optimizer": "adam", "momentum": 0.5}),
    ("numbers", _ADAM),
]


def each(names: list[str]) -> Any:
    """One pytest parameter per library; skipped where it is not installed."""
    return pytest.mark.parametrize(
        "library",
        [
            pytest.param(
                name,
                marks=pytest.mark.skipif(
                    importlib.util.find_spec(SEARCHERS[name].module) is None,
                    reason=f"{LIBRARIES[name].title} is not installed",
                ),
            )
            for name in names
        ],
    )


@pytest.mark.parametrize(("problem", "config"), MINIMIZERS)
def test_the_problems_have_their_minima(problem: str, config: dict[str, Any]) -> None:
    chosen = PROBLEMS[problem]
    assert chosen.function(config) == pytest.approx(chosen.least, abs=1e-6)


def test_every_library_is_recorded_on_every_problem() -> None:
    recorded = [(row["library"], row["problem"]) for row in ROWS]
    assert recorded == [(n, problem) for n in LIBRARIES for problem in LIBRARIES[n].problems]
    assert LIBRARIES.keys() == SEARCHERS.keys()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['library']}-{row['problem']}")
def test_the_recorded_regrets_are_the_same(row: dict[str, Any]) -> None:
    direct, ours = row["direct"]["final"], row["ours"]["final"]
    assert len(direct) == len(ours) == LIBRARIES[row["library"]].seeds
    if row["library"] in SAME:
        assert direct == ours
        return
    num_compared = sum(row["library"] not in SAME for row in ROWS)
    assert regret.p_value(direct, ours) > 0.05 / num_compared  # one in twenty is lower by chance


def test_the_table_and_the_guide_show_what_is_recorded() -> None:
    table = regret.table(ROWS)
    assert (regret.HERE / "regret.md").read_text() == table + "\n"
    guide = Path(__file__).parents[2] / "docs" / "guide" / "search.md"
    assert table in guide.read_text()


@each(SAME)
def test_it_tries_what_the_library_tries_when_used_directly(library: str) -> None:
    for problem in LIBRARIES[library].problems:
        for seed in (31, 32):
            direct, ours = (run(library, problem, seed, 25) for run in (directly, through_ours))
            for theirs, config in zip(direct[0], ours[0], strict=True):
                assert config == approximately(theirs)


def test_bohb_tries_the_same_with_the_same_random_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """It draws from numpy's global stream, which is seeded around each call through us."""
    pytest.importorskip("hpbandster", reason="HpBandSter is not installed")
    monkeypatch.setattr(LibrarySearcher, "_streams", lambda self: nullcontext())
    for problem in LIBRARIES["bohb"].problems:
        theirs, _ = directly("bohb", problem, 31, 20)
        with seeded_globals(0):
            np.random.seed(31)
            ours, _ = through_ours("bohb", problem, 31, 20)
        assert ours == [approximately(config, rel=1e-4) for config in theirs], problem


def approximately(config: Any, rel: float = 1e-12) -> Any:
    """A configuration whose numbers may differ in the last digits."""
    if isinstance(config, dict):
        return {name: approximately(value, rel) for name, value in config.items()}
    return config if isinstance(config, str) else pytest.approx(config, rel=rel)


# Where a library tries others through us: what is run again, and with how many seeds.
AGAIN = {"ax": ("branin", 3), "bayesopt": ("hartmann6", 3), "zoopt": ("hartmann6", 20)}


@each([*AGAIN])
def test_it_finds_what_the_library_has_found_when_used_directly(library: str) -> None:
    problem, num_seeds = AGAIN[library]
    (row,) = (row for row in ROWS if (row["library"], row["problem"]) == (library, problem))
    runs = [
        through_ours(library, problem, seed, row["evaluations"])
        for seed in range(101, 101 + num_seeds)
    ]
    median = np.median([min(values) for _, values in runs]) - PROBLEMS[problem].least
    assert median <= np.quantile(row["direct"]["final"], 0.75), "random search is at twice as much"


@each([*LIBRARIES])
def test_an_experiment_on_one_slot_tries_what_the_searcher_proposes(
    library: str, tmp_path: Path
) -> None:
    expected, _ = through_ours(library, "branin", 3, 9)
    grid = tune.Tuner(
        lambda config: {"loss": PROBLEMS["branin"].function(config)},
        param_space=PROBLEMS["branin"].space,
        tune_config=tune.TuneConfig(
            metric="loss",
            mode="min",
            search_alg=tune.create_searcher(library, **LIBRARIES[library].arguments),
            num_samples=9,
            max_concurrent_trials=1,
            seed=3,
        ),
        run_config=tune.RunConfig(storage_path=str(tmp_path), verbose=0),
    ).fit()
    assert [result.config for result in grid] == expected
