"""ZOOpt used directly: `Opt.min` with its default algorithm, SRacos.

As in https://zoopt.readthedocs.io/en/latest/Tutorial%20of%20Dimension2.html. It has no logarithmic
scales, so the objective is given logarithms.
"""

from __future__ import annotations

import contextlib
import io
import math
from typing import Any

from problems import PROBLEMS
from zoopt import Dimension2, Objective, Opt, Parameter, Solution, ValueType

PRECISION = 1e-10
_LOGARITHMS = {"lr", "epsilon"}


def run(problem: str, seed: int, evaluations: int) -> tuple[list[dict[str, Any]], list[float]]:
    """Configurations and their values, in the order in which they were tried."""
    space = _space(problem)
    configs, values = [], []

    def objective(solution: Solution) -> float:
        values_of = dict(zip(space, solution.get_x(), strict=True))
        configs.append(
            {name: math.exp(x) if name in _LOGARITHMS else x for name, x in values_of.items()}
        )
        values.append(PROBLEMS[problem].function(configs[-1]))
        return values[-1]

    with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress
        Opt.min(
            Objective(objective, Dimension2([*space.values()])),
            Parameter(budget=evaluations, seed=seed),
        )
    return configs, values


def _space(problem: str) -> dict[str, tuple[Any, ...]]:
    if problem == "branin":
        return {"x": _continuous(-5, 10), "y": _continuous(0, 15)}
    if problem == "hartmann6":
        return {f"x{i}": _continuous(0, 1) for i in range(6)}
    return {
        "lr": _continuous(math.log(1e-5), math.log(1.0)),
        "dropout": _continuous(0, 0.9),
        "layers": (ValueType.DISCRETE, [1, 8], True),
        "optimizer": (ValueType.GRID, ["adam", "sgd", "rmsprop"]),
        "momentum": _continuous(0, 1),
        "epsilon": _continuous(math.log(1e-9), math.log(1e-1)),
        "warmup": (ValueType.DISCRETE, [0, 10], True),
    }


def _continuous(low: float, high: float) -> tuple[Any, ...]:
    return (ValueType.CONTINUOUS, [low, high], PRECISION)
