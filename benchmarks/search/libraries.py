"""The libraries that are compared, used directly and through our searchers."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from typing import Any

from problems import PROBLEMS

from tuner import create_searcher
from tuner.integrations.library_searcher import LibrarySearcher

Run = tuple[list[dict[str, Any]], list[float]]
"""Configurations and their values, in the order in which they were tried."""


@dataclass(frozen=True)
class Library:
    """One library.

    Attributes:
        title: What it is called.
        package: What it is on PyPI.
        mixed: The mixed problem that it can express.
        evaluations: How many it is given; few where a suggestion takes long.
        seeds: How many seeds it is run with.
        arguments: What our searcher is given so that its settings are the library's defaults.
    """

    title: str
    package: str
    mixed: str = "conditional"
    evaluations: int = 60
    seeds: int = 20
    arguments: dict[str, Any] = field(default_factory=dict)

    @property
    def problems(self) -> list[str]:
        """The problems that it is given."""
        return ["branin", "hartmann6", self.mixed]


# By the name that `create_searcher` and the module in `direct/` have.
LIBRARIES = {
    "optuna": Library("Optuna", "optuna"),
    "hyperopt": Library("HyperOpt", "hyperopt"),
    "nevergrad": Library(
        "Nevergrad", "nevergrad", arguments={"optimizer_kwargs": {"num_workers": 1}}
    ),
    "bohb": Library("BOHB", "hpbandster", seeds=100),
    "zoopt": Library("ZOOpt", "zoopt", mixed="flat", seeds=100),
    "ax": Library("Ax", "ax-platform", mixed="flat", evaluations=14),
    "bayesopt": Library(
        "BayesOpt",
        "bayesian-optimization",
        mixed="numbers",
        evaluations=30,
        arguments={"random_search_steps": 5},
    ),
}


def directly(library: str, problem: str, seed: int, evaluations: int) -> Run:
    """Minimizes a problem as the library's documentation shows."""
    run: Run = importlib.import_module(f"direct.{library}").run(problem, seed, evaluations)
    return run


def through_ours(library: str, problem: str, seed: int, evaluations: int) -> Run:
    """Minimizes a problem by our searcher."""
    function = PROBLEMS[problem].function
    searcher = opened(library, problem, seed, evaluations)
    configs, values = [], []
    for number in range(evaluations):
        config = searcher.suggest(f"t{number}")
        assert isinstance(config, dict), config
        configs.append(config)
        values.append(function(config))
        searcher.on_trial_complete(f"t{number}", {"loss": values[-1]})
    return configs, values


def opened(library: str, problem: str, seed: int, evaluations: int) -> LibrarySearcher:
    """Our searcher, ready to be asked."""
    searcher = create_searcher(library, **LIBRARIES[library].arguments)
    assert isinstance(searcher, LibrarySearcher)
    space = PROBLEMS[problem].space
    searcher.set_search_properties("loss", "min", space, seed=seed, num_samples=evaluations)
    return searcher
