"""What a bandit chooses: hyperparameters to train with from some time on."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Arm:
    """Hyperparameters that are trained with from some time on.

    Attributes:
        time: When that begins, in rounds.
        reward: The reward then.
        point: The hyperparameters, each from 0 to 1.
    """

    time: float
    reward: float
    point: tuple[float, ...]
