"""Nevergrad used directly: its meta-optimizer, told the budget, asked and told.

As in https://facebookresearch.github.io/nevergrad/optimization.html. `NGOptBase` is what our
searcher takes unless told otherwise.
"""

from __future__ import annotations

from typing import Any

import nevergrad as ng
from problems import PROBLEMS


def run(problem: str, seed: int, evaluations: int) -> tuple[list[dict[str, Any]], list[float]]:
    """Configurations and their values, in the order in which they were tried."""
    space = _space(problem)
    space.random_state.seed(seed)
    optimizer = ng.optimizers.NGOptBase(parametrization=space, budget=evaluations)
    configs, values = [], []
    for _ in range(evaluations):
        candidate = optimizer.ask()
        configs.append(candidate.value)
        values.append(PROBLEMS[problem].function(candidate.value))
        optimizer.tell(candidate, values[-1])
    return configs, values


def _space(problem: str) -> ng.p.Dict:
    if problem == "branin":
        return ng.p.Dict(x=ng.p.Scalar(lower=-5, upper=10), y=ng.p.Scalar(lower=0, upper=15))
    if problem == "hartmann6":
        return ng.p.Dict(**{f"x{i}": ng.p.Scalar(lower=0, upper=1) for i in range(6)})
    adam = ng.p.Dict(
        optimizer="adam",
        epsilon=ng.p.Log(lower=1e-9, upper=1e-1),
        warmup=ng.p.Scalar(lower=-0.5, upper=10.5).set_integer_casting(),
    )
    sgd = ng.p.Dict(optimizer="sgd", momentum=ng.p.Scalar(lower=0, upper=1))
    return ng.p.Dict(
        lr=ng.p.Log(lower=1e-5, upper=1.0),
        dropout=ng.p.Scalar(lower=0, upper=0.9),
        layers=ng.p.Scalar(lower=0.5, upper=8.5).set_integer_casting(),
        optimizer=ng.p.Choice([adam, sgd, ng.p.Dict(optimizer="rmsprop")]),
    )
