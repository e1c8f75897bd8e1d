"""What an experiment is to do: the part of the user's configs that decides its course."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tuner.bundles import Bundles
from tuner.experiment.trial import Trial
from tuner.search_space.variants import SearchSpace


@dataclass(frozen=True, slots=True)
class ExperimentSpec:
    """Everything that the state machine needs to know beside its policies.

    Attributes:
        path: The experiment's folder.
        trainable_name: What is trained.
        param_space: The search space, to tell chosen values from constant ones.
        id_prefix: What every trial id begins with.
        seed: From which every random choice derives.
        num_trials: How many trials the searcher will be asked for, None for no limit.
        max_running: How many trials may run at once, None for no limit but the resources.
        max_failures: How often a trial is tried again; -1 for always.
        fail_fast: Whether the first trial that fails for good ends the experiment.
        checkpoint_at_end: Whether a trial is saved once more when it is told to stop.
        saves_when_told: Whether a trial can be saved at any result: classes with
            `save_checkpoint` can, functions report their checkpoints themselves.
        bundles_for: The resources of a trial with a given configuration.
        bundles_vary: Whether they depend on the configuration.
        name_creator: Makes the name of a trial, None for the default.
        dirname_creator: Makes the name of a trial's folder, None for the default.
        taken_dirnames: What lies in the experiment's folder from earlier runs.
        strategy_for: How the bundles of a configuration are laid out over nodes.
        most_running: The part of `max_running` that cannot be changed while the experiment runs.
    """

    path: str
    trainable_name: str
    param_space: SearchSpace
    id_prefix: str
    seed: int
    num_trials: int | None
    max_running: int | None
    max_failures: int
    fail_fast: bool
    bundles_for: Callable[[dict[str, Any]], Bundles]
    bundles_vary: bool = False
    checkpoint_at_end: bool = False
    saves_when_told: bool = False
    name_creator: Callable[[Trial], str] | None = None
    dirname_creator: Callable[[Trial], str] | None = None
    taken_dirnames: frozenset[str] = frozenset()
    strategy_for: Callable[[dict[str, Any]], str] = lambda config: "PACK"
    most_running: int | None = None


def least_limit(*limits: int | None) -> int | None:
    """The least of limits of which None and 0 are none; None without any.

    Example:
        >>> least_limit(None, 4, 0, 2)
        2
    """
    return min((limit for limit in limits if limit), default=None)
