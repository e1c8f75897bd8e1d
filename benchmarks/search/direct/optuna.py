"""Optuna used directly: a study with a TPE sampler, and an objective that suggests its parameters.

As in https://optuna.readthedocs.io/en/stable/tutorial/10_key_features/002_configurations.html.
"""

from __future__ import annotations

from typing import Any

import optuna
from problems import PROBLEMS


def run(problem: str, seed: int, evaluations: int) -> tuple[list[dict[str, Any]], list[float]]:
    """Configurations and their values, in the order in which they were tried."""
    configs = []

    def objective(trial: optuna.Trial) -> float:
        configs.append(_SPACES[problem](trial))
        return PROBLEMS[problem].function(configs[-1])

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    study.optimize(objective, n_trials=evaluations)
    return configs, [trial.value for trial in study.trials]


def _branin(trial: optuna.Trial) -> dict[str, Any]:
    return {"x": trial.suggest_float("x", -5, 10), "y": trial.suggest_float("y", 0, 15)}


def _hartmann6(trial: optuna.Trial) -> dict[str, Any]:
    return {f"x{i}": trial.suggest_float(f"x{i}", 0, 1) for i in range(6)}


def _conditional(trial: optuna.Trial) -> dict[str, Any]:
    config = {
        "lr": trial.suggest_float("lr", 1e-5, 1.0, log=True),
        "dropout": trial.suggest_float("dropout", 0, 0.9),
        "layers": trial.suggest_int("layers", 1, 8),
    }
    name = trial.suggest_categorical("optimizer", ["adam", "sgd", "rmsprop"])
    optimizer: dict[str, Any] = {"optimizer": name}
    if name == "sgd":
        optimizer["momentum"] = trial.suggest_float("momentum", 0, 1)
    if name == "adam":
        optimizer["epsilon"] = trial.suggest_float("epsilon", 1e-9, 1e-1, log=True)
        optimizer["warmup"] = trial.suggest_int("warmup", 0, 10)
    return {**config, "optimizer": optimizer}


_SPACES = {"branin": _branin, "hartmann6": _hartmann6, "conditional": _conditional}
