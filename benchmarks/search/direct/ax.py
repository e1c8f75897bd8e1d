"""Ax used directly: a `Client`, asked for trials and told their values.

As in https://ax.dev/docs/tutorials/quickstart/.
"""

from __future__ import annotations

import logging
from typing import Any

from ax.api.client import Client
from ax.api.configs import ChoiceParameterConfig, RangeParameterConfig
from problems import PROBLEMS


def run(problem: str, seed: int, evaluations: int) -> tuple[list[dict[str, Any]], list[float]]:
    """Configurations and their values, in the order in which they were tried."""
    logging.getLogger("ax").setLevel(logging.ERROR)
    client = Client(random_seed=seed)
    client.configure_experiment(parameters=_parameters(problem))
    client.configure_optimization(objective="-loss")
    configs, values = [], []
    for _ in range(evaluations):
        ((index, config),) = client.get_next_trials(max_trials=1).items()
        configs.append(config)
        values.append(PROBLEMS[problem].function(config))
        client.complete_trial(trial_index=index, raw_data={"loss": values[-1]})
    return configs, values


def _parameters(problem: str) -> list[RangeParameterConfig | ChoiceParameterConfig]:
    if problem == "branin":
        return [_range("x", -5, 10), _range("y", 0, 15)]
    if problem == "hartmann6":
        return [_range(f"x{i}", 0, 1) for i in range(6)]
    names = ["adam", "sgd", "rmsprop"]
    return [
        _range("lr", 1e-5, 1.0, scaling="log"),
        _range("dropout", 0, 0.9),
        _range("layers", 1, 8, "int"),
        ChoiceParameterConfig(
            name="optimizer", values=names, parameter_type="str", is_ordered=False
        ),
        _range("momentum", 0, 1),
        _range("epsilon", 1e-9, 1e-1, scaling="log"),
        _range("warmup", 0, 10, "int"),
    ]


def _range(name: str, low: float, high: float, kind: Any = "float", scaling: Any = None) -> Any:
    return RangeParameterConfig(name=name, bounds=(low, high), parameter_type=kind, scaling=scaling)
