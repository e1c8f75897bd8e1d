"""A trainable that remembers with which learning rates it was trained, and how to check that."""

from __future__ import annotations

from typing import Any

import tuner as tune


class Walk(tune.Trainable):
    """Its weights are the learning rates of all steps that it was trained with."""

    def setup(self, config: dict[str, Any]) -> None:
        self.path: list[float] = []

    def step(self) -> dict[str, Any]:
        self.path.append(self.config["lr"])
        return {"path": list(self.path), "score": sum(self.path)}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        return {"path": self.path, "owner": self.trial_id}

    def load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.path = list(checkpoint["path"])


def learning_rates(policy: list[Any], length: int) -> list[float]:
    """What the lines of a policy file tell of, one learning rate for each of so many steps."""
    steps: list[float] = []
    for _, _, _, iteration, before, _ in policy:
        steps += [before["lr"]] * (iteration - len(steps))
    return steps + [policy[-1][-1]["lr"]] * (length - len(steps))
