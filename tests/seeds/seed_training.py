"""What scripts of the seeds train where they only say `my_trainable`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

import tuner as tune

_RNG = np.random.default_rng(0)
LABELS = _RNG.integers(0, 2, 300)
POINTS = _RNG.normal(size=(300, 5)) + 0.8 * LABELS[:, None]


class Model:
    """Logistic regression by gradient descent with momentum, on two clouds of points."""

    def __init__(self, lr: float = 0.1, momentum: float = 0.0) -> None:
        self.lr, self.momentum = lr, momentum
        self.weights, self.velocity = np.zeros(6), np.zeros(6)
        self.points = np.column_stack([POINTS, np.ones(len(POINTS))])

    def step(self) -> dict[str, float]:
        """Goes one step, and says how good the model is then."""
        gradient = self.points.T @ (self._predictions() - LABELS) / len(LABELS)
        self.velocity = self.momentum * self.velocity - self.lr * gradient
        self.weights = self.weights + self.velocity
        predictions = self._predictions()
        chances = np.where(LABELS == 1, predictions, 1 - predictions)
        return {
            "mean_accuracy": float(np.mean((predictions > 0.5) == LABELS)),
            "mean_loss": float(-np.mean(np.log(chances))),
        }

    def _predictions(self) -> Any:
        return 1 / (1 + np.exp(-self.points @ self.weights))


class MyTrainableClass(tune.Trainable):
    """Trains the model, with the hooks that classes had in 0.8."""

    def _setup(self, config: dict[str, Any]) -> None:
        self.model = Model(config.get("lr", 0.1), config.get("momentum", 0.0))

    def _train(self) -> dict[str, Any]:
        return dict(self.model.step())

    def _save(self, checkpoint_dir: str) -> str:
        path = os.path.join(checkpoint_dir, "model.npz")
        np.savez(path, weights=self.model.weights, velocity=self.model.velocity)
        return path

    def _restore(self, path: str) -> None:
        with np.load(path) as saved:
            self.model.weights, self.model.velocity = saved["weights"], saved["velocity"]


def reported(folder: Path | str) -> list[dict[str, Any]]:
    """What a trial has reported, as `result.json` in its folder says."""
    return [json.loads(line) for line in Path(folder, "result.json").read_text().splitlines()]
