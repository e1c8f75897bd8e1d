"""The functions that the search libraries are compared on, and their search spaces of ours.

Branin and Hartmann6 are those of https://www.sfu.ca/~ssurjano/optimization.html. `mixed` is made
like the tuning of a network: its parameters are on linear and logarithmic scales, whole numbers and
a choice, and each optimizer has parameters of its own. Libraries without conditions get all of
them at once (`flat`), those without categories the best optimizer (`numbers`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import tuner as tune

_ALPHA = np.array([1.0, 1.2, 3.0, 3.2])
_A = np.array(
    [
        [10, 3, 17, 3.5, 1.7, 8],
        [0.05, 10, 17, 0.1, 8, 14],
        [3, 3.5, 1.7, 10, 17, 8],
        [17, 8, 0.05, 10, 0.1, 14],
    ]
)
_P = 1e-4 * np.array(
    [
        [1312, 1696, 5569, 124, 8283, 5886],
        [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650],
        [4047, 8828, 8732, 5743, 1091, 381],
    ]
)


@dataclass(frozen=True)
class Problem:
    """A function to minimize.

    Attributes:
        function: Takes a configuration of `space`.
        space: Its search space.
        least: Its minimum over the space.
    """

    function: Callable[[dict[str, Any]], float]
    space: dict[str, Any]
    least: float


def branin(x: float, y: float) -> float:
    b, c, t = 5.1 / (4 * math.pi**2), 5 / math.pi, 1 / (8 * math.pi)
    return (y - b * x**2 + c * x - 6) ** 2 + 10 * (1 - t) * math.cos(x) + 10


def hartmann6(x: list[float]) -> float:
    return -float(_ALPHA @ np.exp(-(_A * (np.array(x) - _P) ** 2).sum(axis=1)))


def mixed(
    lr: float,
    dropout: float,
    layers: int,
    optimizer: str,
    momentum: float = 0.0,
    epsilon: float = 1.0,
    warmup: int = 0,
) -> float:
    """Of `momentum`, `epsilon` and `warmup` only those of the optimizer matter."""
    size = math.log10(lr)
    common = 2 * (dropout - 0.3) ** 2 + 0.1 * (layers - 4) ** 2
    if optimizer == "sgd":
        return common + 0.3 + (size + 1) ** 2 + 3 * (momentum - 0.9) ** 2
    if optimizer == "adam":
        rest = 0.1 * (math.log10(epsilon) + 6) ** 2 + 0.02 * (warmup - 5) ** 2
        return common + (size + 3) ** 2 + rest
    return common + 0.6 + (size + 2) ** 2


BRANIN = Problem(
    lambda config: branin(**config),
    {"x": tune.uniform(-5, 10), "y": tune.uniform(0, 15)},
    0.39788735772973816,
)
HARTMANN6 = Problem(
    lambda config: hartmann6([config[f"x{i}"] for i in range(6)]),
    {f"x{i}": tune.uniform(0, 1) for i in range(6)},
    -3.322368011415512,
)
_COMMON = {
    "lr": tune.loguniform(1e-5, 1.0),
    "dropout": tune.uniform(0, 0.9),
    "layers": tune.randint(1, 9),
}
_MOMENTUM = tune.uniform(0, 1)
_EPSILON = tune.loguniform(1e-9, 1e-1)
_WARMUP = tune.randint(0, 11)
CONDITIONAL = Problem(
    lambda config: mixed(**{**config, **config["optimizer"]}),
    {
        **_COMMON,
        "optimizer": tune.choice(
            [
                {"optimizer": "adam", "epsilon": _EPSILON, "warmup": _WARMUP},
                {"optimizer": "sgd", "momentum": _MOMENTUM},
                {"optimizer": "rmsprop"},
            ]
        ),
    },
    0.0,
)
FLAT = Problem(
    lambda config: mixed(**config),
    {
        **_COMMON,
        "optimizer": tune.choice(["adam", "sgd", "rmsprop"]),
        "momentum": _MOMENTUM,
        "epsilon": _EPSILON,
        "warmup": _WARMUP,
    },
    0.0,
)
NUMBERS = Problem(
    lambda config: mixed(**config, optimizer="adam"),
    {**_COMMON, "epsilon": _EPSILON, "warmup": _WARMUP},
    0.0,
)
PROBLEMS = {
    "branin": BRANIN,
    "hartmann6": HARTMANN6,
    "conditional": CONDITIONAL,
    "flat": FLAT,
    "numbers": NUMBERS,
}
