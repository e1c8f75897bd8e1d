"""Schedulers with the arguments of 0.5: `reward_attr` names what is to grow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tuner import schedulers as today
from tuner.legacy.reward_attr import objective
from tuner.schedulers.fifo import FIFOScheduler

__all__ = [
    "AsyncHyperBandScheduler",
    "FIFOScheduler",
    "HyperBandScheduler",
    "MedianStoppingRule",
    "PopulationBasedTraining",
]

_REWARD = "episode_reward_mean"


class AsyncHyperBandScheduler(today.AsyncHyperBandScheduler):
    """Today's, with the arguments and defaults of 0.5.

    Args:
        time_attr: The reported value that says how far a trial is; it must grow.
        reward_attr: The reported value that is to grow; `"episode_reward_mean"` without it.
        max_t: Time at which a trial is stopped, in units of `time_attr`.
        grace_period: Time before which no trial is stopped.
        reduction_factor: Of each rung's trials, one in so many goes on; more than 1.
        brackets: Number of brackets.
        metric: The metric, as 0.8 has it, in place of `reward_attr`.
        mode: Whether it is to grow (`"max"`, the default) or to fall (`"min"`).

    Raises:
        ConfigError: An argument has a value that cannot work.

    Example:
        >>> scheduler = AsyncHyperBandScheduler(reward_attr="mean_accuracy")
        >>> scheduler.metric, scheduler.mode
        ('mean_accuracy', 'max')
    """

    def __init__(
        self,
        time_attr: str = "training_iteration",
        reward_attr: str | None = None,
        max_t: float = 100,
        grace_period: float = 10,
        reduction_factor: float = 3,
        brackets: int = 3,
        *,
        metric: str | None = None,
        mode: str | None = None,
    ) -> None:
        super().__init__(
            time_attr,
            *_objective(self, reward_attr, metric, mode),
            max_t=max_t,
            grace_period=grace_period,
            reduction_factor=reduction_factor,
            brackets=brackets,
        )


class HyperBandScheduler(today.HyperBandScheduler):
    """Today's, with the arguments and defaults of 0.5.

    Args:
        time_attr: The reported value that says how far a trial is; it must grow.
        reward_attr: The reported value that is to grow; `"episode_reward_mean"` without it.
        max_t: Time at which a trial is stopped, in units of `time_attr`.
        metric: The metric, as 0.8 has it, in place of `reward_attr`.
        mode: Whether it is to grow (`"max"`, the default) or to fall (`"min"`).

    Raises:
        ConfigError: An argument has a value that cannot work.
    """

    def __init__(
        self,
        time_attr: str = "training_iteration",
        reward_attr: str | None = None,
        max_t: float = 81,
        *,
        metric: str | None = None,
        mode: str | None = None,
    ) -> None:
        super().__init__(time_attr, *_objective(self, reward_attr, metric, mode), max_t=max_t)


class MedianStoppingRule(today.MedianStoppingRule):
    """Today's, with the arguments and defaults of 0.5.

    Args:
        time_attr: The reported value that says how far a trial is; it must grow.
        reward_attr: The reported value that is to grow; `"episode_reward_mean"` without it.
        grace_period: Time before which no trial is stopped, in units of `time_attr`.
        min_samples_required: How many other trials a trial is compared with at least.
        hard_stop: Whether trials are stopped; otherwise they pause.
        verbose: Accepted for compatibility, without effect.
        metric: The metric, as 0.8 has it, in place of `reward_attr`.
        mode: Whether it is to grow (`"max"`, the default) or to fall (`"min"`).

    Raises:
        ConfigError: An argument has a value that cannot work.
    """

    def __init__(
        self,
        time_attr: str = "time_total_s",
        reward_attr: str | None = None,
        grace_period: float = 60.0,
        min_samples_required: int = 3,
        hard_stop: bool = True,
        verbose: Any = True,
        *,
        metric: str | None = None,
        mode: str | None = None,
    ) -> None:
        super().__init__(
            time_attr,
            *_objective(self, reward_attr, metric, mode),
            grace_period=grace_period,
            min_samples_required=min_samples_required,
            hard_stop=hard_stop,
        )


class PopulationBasedTraining(today.PopulationBasedTraining):
    """Today's, with the arguments and defaults of 0.5.

    Args:
        time_attr: The reported value that says how far a trial is; it must grow.
        reward_attr: The reported value that is to grow; `"episode_reward_mean"` without it.
        perturbation_interval: From one comparison of a trial to its next, in units of `time_attr`.
        hyperparam_mutations: What may change, by name: a list of values, or a function.
        resample_probability: How often a value is drawn anew.
        custom_explore_fn: Gets the changed configuration, and returns the one to go on with.
        verbose: Accepted for compatibility, without effect.
        metric: The metric, as 0.8 has it, in place of `reward_attr`.
        mode: Whether it is to grow (`"max"`, the default) or to fall (`"min"`).

    Raises:
        ConfigError: An argument has a value that cannot work.
    """

    def __init__(
        self,
        time_attr: str = "time_total_s",
        reward_attr: str | None = None,
        perturbation_interval: float = 60.0,
        hyperparam_mutations: Mapping[str, Any] | None = None,
        resample_probability: float = 0.25,
        custom_explore_fn: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
        verbose: Any = True,
        *,
        metric: str | None = None,
        mode: str | None = None,
    ) -> None:
        super().__init__(
            time_attr,
            *_objective(self, reward_attr, metric, mode),
            perturbation_interval=perturbation_interval,
            hyperparam_mutations=hyperparam_mutations,
            resample_probability=resample_probability,
            custom_explore_fn=custom_explore_fn,
        )


def _objective(
    scheduler: Any, reward_attr: str | None, metric: str | None, mode: str | None
) -> tuple[str, str]:
    """The metric and the mode, those of reinforcement learning if none is given."""
    metric, mode = objective(type(scheduler).__name__, reward_attr, metric, mode)
    return metric or _REWARD, mode or "max"
