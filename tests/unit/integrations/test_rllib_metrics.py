"""The results of RLlib have the names that they had before as well."""

import math

import numpy as np

from tuner import codec
from tuner.integrations.rllib_metrics import with_old_names

RESULT = {
    "env_runners": {
        "episode_return_mean": np.float64(20.5),
        "episode_return_min": np.float64(9.0),
        "episode_return_max": np.float64(31.0),
        "episode_len_mean": np.float64(20.5),
        "num_episodes": 40,
        "num_episodes_lifetime": 90.0,
        "num_env_steps_sampled": 1000,
        "num_env_steps_sampled_lifetime": 2000.0,
        "num_agent_steps_sampled": {"one": 600, "two": 400},
    },
    "learners": {
        "__all_modules__": {"num_env_steps_trained": 5000},
        "default_policy": {"default_optimizer_learning_rate": 1e-4, "total_loss": 3.0},
    },
    "fault_tolerance": {"num_healthy_workers": 2, "num_remote_worker_restarts": 0},
    "evaluation": {"env_runners": {"episode_return_mean": 50.0}},
    "config": {"lr": 1e-4},
    "training_iteration": 7,
    "time_total_s": 1.0,
    "done": False,
}


def test_old_names():
    metrics = with_old_names(RESULT)
    assert {name: metrics[name] for name in metrics if not isinstance(metrics[name], dict)} == {
        "episode_reward_mean": 20.5,
        "episode_reward_min": 9.0,
        "episode_reward_max": 31.0,
        "episode_len_mean": 20.5,
        "episodes_this_iter": 40,
        "episodes_total": 90,
        "timesteps_total": 2000,
        "timesteps_this_iter": 1000,
        "num_env_steps_sampled": 2000,
        "num_env_steps_sampled_this_iter": 1000,
        "num_agent_steps_sampled_this_iter": 1000,
        "num_healthy_workers": 2,
        "num_remote_worker_restarts": 0,
    }
    assert metrics["info"]["learner"] == {
        "default_policy": {"learner_stats": {"cur_lr": 1e-4, "total_loss": 3.0}}
    }
    assert metrics["evaluation"]["episode_reward_mean"] == 50.0


def test_rewards_of_policies():
    sampled = {"module_episode_returns_mean": {"p0": np.float64(20.5), "p1": 18.5}}
    metrics = with_old_names({"env_runners": sampled, "evaluation": {"env_runners": sampled}})
    assert metrics["policy_reward_mean"] == {"p0": 20.5, "p1": 18.5}
    assert metrics["evaluation"]["policy_reward_mean"] == {"p0": 20.5, "p1": 18.5}
    assert "policy_reward_mean" not in with_old_names(RESULT)


def test_what_the_old_api_stack_has_of_policies_and_episodes():
    sampled = {
        "policy_reward_mean": {"p0": 1.5},
        "policy_reward_min": {"p0": 1.0},
        "policy_reward_max": {"p0": 2.0},
        "hist_stats": {"episode_reward": [1.0, 2.0], "episode_lengths": [10, 20]},
    }
    metrics = with_old_names({"env_runners": sampled})
    assert {name: metrics[name] for name in sampled} == sampled


def test_todays_names_stay_and_numbers_are_plain():
    metrics = with_old_names(RESULT)
    assert metrics["env_runners"]["episode_return_mean"] == 20.5
    assert type(metrics["episode_reward_mean"]) is float
    assert b"repr" not in codec.encode_metrics(metrics)


def test_what_ray_fills_in_and_the_configuration_are_left_out():
    assert not {"config", "training_iteration", "time_total_s", "done"} & set(
        with_old_names(RESULT)
    )
    assert with_old_names({**RESULT, "done": True})["done"] is True


def test_before_the_first_episode_has_ended_means_are_nan():
    metrics = with_old_names({"env_runners": {"num_env_steps_sampled": 10}})
    assert math.isnan(metrics["episode_reward_mean"])
    assert "episodes_total" not in metrics


def test_an_iteration_that_has_sampled_nothing_counts_nothing():
    nan = math.nan
    sampled = {
        "num_env_steps_sampled": nan,
        "num_episodes": nan,
        "num_agent_steps_sampled": {"default_agent": nan},
        "num_env_steps_sampled_lifetime": 200.0,
    }
    metrics = with_old_names({"env_runners": sampled})
    assert metrics["timesteps_total"] == 200
    assert {"timesteps_this_iter", "episodes_this_iter", "num_agent_steps_sampled"}.isdisjoint(
        metrics
    )


def test_before_the_first_step_there_are_none():
    """An asynchronous algorithm has nothing to say of its env runners at first."""
    assert with_old_names({"num_env_steps_sampled_lifetime": 0})["timesteps_total"] == 0


def test_an_algorithm_without_environment_has_no_episodes():
    assert with_old_names({"learners": {}}) == {"learners": {}}


def test_what_rllib_reports_under_an_old_name_wins():
    metrics = with_old_names({"env_runners": {}, "episode_reward_mean": 3.0})
    assert metrics["episode_reward_mean"] == 3.0
