"""bayesian-optimization used directly: `maximize` with its default acquisition.

As in https://bayesian-optimization.github.io/BayesianOptimization/3.0.0/basic-tour.html. It has
numbers only, so the objective rounds, and is given logarithms.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

from bayes_opt import BayesianOptimization
from problems import PROBLEMS

_RANDOM = 5


def run(problem: str, seed: int, evaluations: int) -> tuple[list[dict[str, Any]], list[float]]:
    """Configurations and their values, in the order in which they were tried."""
    configs, values = [], []

    def objective(**params: float) -> float:
        configs.append(_config(problem, params))
        values.append(PROBLEMS[problem].function(configs[-1]))
        return -values[-1]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        BayesianOptimization(
            objective,
            _bounds(problem),
            random_state=seed,
            verbose=0,
            allow_duplicate_points=True,
        ).maximize(init_points=_RANDOM, n_iter=evaluations - _RANDOM)
    return configs, values


def _bounds(problem: str) -> dict[str, tuple[float, float]]:
    if problem == "branin":
        return {"x": (-5, 10), "y": (0, 15)}
    if problem == "hartmann6":
        return {f"x{i}": (0, 1) for i in range(6)}
    return {
        "lr": (math.log(1e-5), math.log(1.0)),
        "dropout": (0, 0.9),
        "layers": (0.5, 8.5),
        "epsilon": (math.log(1e-9), math.log(1e-1)),
        "warmup": (-0.5, 10.5),
    }


def _config(problem: str, params: dict[str, float]) -> dict[str, Any]:
    if problem != "numbers":
        return params
    return {
        **params,
        "lr": math.exp(params["lr"]),
        "layers": round(params["layers"]),
        "epsilon": math.exp(params["epsilon"]),
        "warmup": round(params["warmup"]),
    }
