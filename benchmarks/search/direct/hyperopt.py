"""HyperOpt used directly: `fmin` with TPE.

As in https://hyperopt.github.io/hyperopt/getting-started/minimizing_functions/.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from hyperopt import fmin, hp, tpe
from hyperopt.pyll import scope
from problems import PROBLEMS


def run(problem: str, seed: int, evaluations: int) -> tuple[list[dict[str, Any]], list[float]]:
    """Configurations and their values, in the order in which they were tried."""
    configs, values = [], []

    def objective(config: dict[str, Any]) -> float:
        configs.append(config)
        values.append(PROBLEMS[problem].function(config))
        return values[-1]

    fmin(
        objective,
        _space(problem),
        algo=tpe.suggest,
        max_evals=evaluations,
        rstate=np.random.default_rng(seed),
        show_progressbar=False,
    )
    return configs, values


def _space(problem: str) -> dict[str, Any]:
    if problem == "branin":
        return {"x": hp.uniform("x", -5, 10), "y": hp.uniform("y", 0, 15)}
    if problem == "hartmann6":
        return {f"x{i}": hp.uniform(f"x{i}", 0, 1) for i in range(6)}
    sgd = {"optimizer": "sgd", "momentum": hp.uniform("optimizer/momentum", 0, 1)}
    adam = {
        "optimizer": "adam",
        "epsilon": hp.loguniform("optimizer/epsilon", np.log(1e-9), np.log(1e-1)),
        "warmup": _whole("optimizer/warmup", 0, 10),
    }
    return {
        "lr": hp.loguniform("lr", np.log(1e-5), np.log(1.0)),
        "dropout": hp.uniform("dropout", 0, 0.9),
        "layers": _whole("layers", 1, 8),
        "optimizer": hp.choice("optimizer", [adam, sgd, {"optimizer": "rmsprop"}]),
    }


def _whole(label: str, low: int, high: int) -> Any:
    """All numbers equally likely; `hp.uniformint` draws the outermost ones half as often."""
    return scope.int(hp.quniform(label, low - 0.5, high + 0.5, 1))
