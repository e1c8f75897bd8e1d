"""The results of RLlib, with the names that metrics had before its new API stack."""

from __future__ import annotations

import math
from typing import Any

from tuner.result_fields import AUTOFILLED

_EPISODES = {
    "episode_reward_mean": "episode_return_mean",
    "episode_reward_min": "episode_return_min",
    "episode_reward_max": "episode_return_max",
    "episode_len_mean": "episode_len_mean",
    "episodes_this_iter": "num_episodes",
    "episodes_total": "num_episodes_lifetime",
}
_STEPS = {
    "timesteps_total": "num_env_steps_sampled_lifetime",
    "timesteps_this_iter": "num_env_steps_sampled",
    "num_env_steps_sampled": "num_env_steps_sampled_lifetime",
    "num_env_steps_sampled_this_iter": "num_env_steps_sampled",
}
_AGENTS = {
    "num_agent_steps_sampled": "num_agent_steps_sampled_lifetime",
    "num_agent_steps_sampled_this_iter": "num_agent_steps_sampled",
    "agent_timesteps_total": "num_agent_steps_sampled_lifetime",
}
_LEARNER = {
    "cur_lr": "default_optimizer_learning_rate",
    "cur_kl_coeff": "curr_kl_coeff",
    "entropy_coeff": "curr_entropy_coeff",
    "kl": "mean_kl_loss",
    "entropy": "entropy",
    "policy_loss": "policy_loss",
    "total_loss": "total_loss",
    "vf_loss": "vf_loss",
    "vf_explained_var": "vf_explained_var",
}
_OF_POLICIES = ("policy_reward_mean", "policy_reward_min", "policy_reward_max", "hist_stats")
"""What the old API stack has, and the new one no more but for the mean."""
_KEPT = {"timesteps_total", "episodes_total"}  # of what is autofilled, what RLlib counts itself
_ALL_MODULES = "__all_modules__"


def with_old_names(result: dict[str, Any]) -> dict[str, Any]:
    """A result of `Algorithm.train()` as metrics, under today's names and under the old ones.

    Left out are the configuration, which the trial has, and what Ray fills in by itself. Means of
    episodes are NaN until one has ended, as they have always been. `num_env_steps_trained` is not
    among the old names, as RLlib now counts a step once per epoch.

    Args:
        result: What `train` has returned.

    Example:
        >>> metrics = with_old_names({"env_runners": {"episode_return_mean": 9.5}})
        >>> metrics["episode_reward_mean"], metrics["env_runners"]["episode_return_mean"]
        (9.5, 9.5)
    """
    metrics = {
        name: _plain(value)
        for name, value in result.items()
        if name != "config" and (name not in AUTOFILLED or name in _KEPT)
    }
    if result.get("done"):
        metrics["done"] = True
    evaluation = metrics.get("evaluation")
    if isinstance(evaluation, dict):
        metrics["evaluation"] = {**_of_episodes(evaluation), **evaluation}
    return {**_old_names(metrics), **metrics}


def _old_names(metrics: dict[str, Any]) -> dict[str, Any]:
    old = _of_episodes(metrics)
    sampled = {**metrics, **metrics.get("env_runners", {})}  # a count of 0 is in the first alone
    for name, today in _STEPS.items():
        if _is_count(sampled.get(today)):
            old[name] = int(sampled[today])
    for name, today in _AGENTS.items():
        counts = sampled.get(today)
        if isinstance(counts, dict) and all(map(_is_count, counts.values())):
            old[name] = int(sum(counts.values()))
    faults = metrics.get("fault_tolerance", {})
    for name in ("num_healthy_workers", "num_remote_worker_restarts"):
        if name in faults:
            old[name] = faults[name]
    learners = metrics.get("learners", {})
    modules = {
        module: {"learner_stats": {old: part[new] for old, new in _LEARNER.items() if new in part}}
        for module, part in learners.items()
        if module != _ALL_MODULES and isinstance(part, dict)
    }
    if modules:
        old["info"] = {"learner": modules}
    return old


def _of_episodes(metrics: dict[str, Any]) -> dict[str, Any]:
    sampled = metrics.get("env_runners")
    if not isinstance(sampled, dict):
        return {}
    old = {}
    for name, today in _EPISODES.items():
        if not name.startswith("episodes_"):
            old[name] = sampled.get(today, math.nan)
        elif _is_count(sampled.get(today)):
            old[name] = int(sampled[today])
    if "module_episode_returns_mean" in sampled:  # of several agents
        old["policy_reward_mean"] = sampled["module_episode_returns_mean"]
    return old | {name: sampled[name] for name in _OF_POLICIES if name in sampled}


def _is_count(value: Any) -> bool:
    """Whether it is a number: RLlib counts NaN where an iteration has sampled nothing."""
    return value is not None and math.isfinite(value)


def _plain(value: Any) -> Any:
    """Numbers of numpy as those of Python, also in dictionaries."""
    import numpy as np

    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    return value.item() if isinstance(value, np.generic) else value
