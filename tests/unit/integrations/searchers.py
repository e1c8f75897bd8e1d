"""The searchers that ask another library; a new one joins the contract suite by one line."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import pytest

from tuner.integrations.ax import AxSearch
from tuner.integrations.bayesopt import BayesOptSearch
from tuner.integrations.bohb import TuneBOHB
from tuner.integrations.hyperopt import HyperOptSearch
from tuner.integrations.library_searcher import LibrarySearcher
from tuner.integrations.nevergrad import NevergradSearch
from tuner.integrations.optuna import OptunaSearch
from tuner.integrations.zoopt import ZOOptSearch

SEARCHERS: dict[str, type[LibrarySearcher]] = {
    "ax": AxSearch,
    "bayesopt": BayesOptSearch,
    "bohb": TuneBOHB,
    "hyperopt": HyperOptSearch,
    "nevergrad": NevergradSearch,
    "optuna": OptunaSearch,
    "zoopt": ZOOptSearch,
}

# Within how many trials a searcher has learnt what the suite asks for; fewer where each takes long.
TRIALS: dict[str, int] = {"ax": 14, "bayesopt": 28}


def trials(kind: type[LibrarySearcher]) -> int:
    """Within how many trials a searcher has learnt something."""
    return TRIALS.get(kind.extra, 60)


SLOW = {"ax", "bayesopt"}


def parameters() -> list[Any]:
    """One pytest parameter per searcher; skipped where its library is not installed."""
    return [
        pytest.param(
            kind,
            id=name,
            marks=[
                pytest.mark.skipif(
                    importlib.util.find_spec(kind.module) is None,
                    reason=f"{kind.library} is not installed: tuner[{kind.extra}]",
                ),
                *([pytest.mark.slow] if name in SLOW else []),
            ],
        )
        for name, kind in SEARCHERS.items()
    ]


def opened(kind: type[LibrarySearcher], space: dict[str, Any], **arguments: Any) -> LibrarySearcher:
    """A searcher that is ready to be asked."""
    searcher = kind(**{"metric": "loss", "mode": "min", **arguments})
    assert searcher.set_search_properties(None, None, space, seed=7, num_samples=100)
    return searcher


def run(
    searcher: LibrarySearcher,
    function: Callable[[dict[str, Any]], Any],
    count: int,
    *,
    first: int = 0,
) -> list[dict[str, Any]]:
    """Asks for configurations one after the other and tells what a function gives."""
    configs = []
    for number in range(first, first + count):
        config = searcher.suggest(f"t{number:03d}")
        assert isinstance(config, dict)
        configs.append(config)
        searcher.on_trial_complete(f"t{number:03d}", {"loss": function(config)})
    return configs
