"""BOHB used directly: the configuration generator of HpBandSter, with one budget.

It is what its `Master` asks: https://automl.github.io/HpBandSter/build/html/optimizers/bohb.html.
"""

from __future__ import annotations

import logging
import random
from typing import Any

import ConfigSpace as CS
import numpy as np
from hpbandster.core.dispatcher import Job
from hpbandster.optimizers.config_generators.bohb import BOHB
from problems import PROBLEMS


def run(problem: str, seed: int, evaluations: int) -> tuple[list[dict[str, Any]], list[float]]:
    """Configurations and their values, in the order in which they were tried."""
    random.seed(seed)
    np.random.seed(seed)
    generator = BOHB(_space(problem, seed), logger=logging.getLogger("bohb"))
    configs, values = [], []
    for number in range(evaluations):
        params, _ = generator.get_config(1.0)
        configs.append(_nested(params) if problem == "conditional" else dict(params))
        values.append(PROBLEMS[problem].function(configs[-1]))
        job = Job(number, config=params, budget=1.0)
        job.result = {"loss": values[-1]}
        generator.new_result(job)
    return configs, values


def _nested(params: dict[str, Any]) -> dict[str, Any]:
    """The parameters of the optimizer within it; their names begin with its name."""
    config: dict[str, Any] = {"optimizer": {"optimizer": params["optimizer"]}}
    for name, value in params.items():
        choice, _, inner = name.partition(":")
        if inner:
            config["optimizer"][inner] = value
        elif choice != "optimizer":
            config[name] = value
    return config


def _space(problem: str, seed: int) -> CS.ConfigurationSpace:
    space = CS.ConfigurationSpace(seed=seed)
    if problem == "branin":
        space.add(CS.Float("x", (-5, 10)), CS.Float("y", (0, 15)))
        return space
    if problem == "hartmann6":
        space.add(*(CS.Float(f"x{i}", (0, 1)) for i in range(6)))
        return space
    optimizer = CS.Categorical("optimizer", ["adam", "sgd", "rmsprop"])
    momentum = CS.Float("sgd:momentum", (0, 1))
    epsilon = CS.Float("adam:epsilon", (1e-9, 1e-1), log=True)
    warmup = CS.Integer("adam:warmup", (0, 10))
    space.add(
        CS.Float("lr", (1e-5, 1.0), log=True),
        CS.Float("dropout", (0, 0.9)),
        CS.Integer("layers", (1, 8)),
        *(optimizer, momentum, epsilon, warmup),
        CS.EqualsCondition(momentum, optimizer, "sgd"),
        CS.EqualsCondition(epsilon, optimizer, "adam"),
        CS.EqualsCondition(warmup, optimizer, "adam"),
    )
    return space
