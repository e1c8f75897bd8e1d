"""Configurations with the keys of any version of RLlib are translated to those of today."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tuner.errors import ConfigError
from tuner.integrations import rllib_keys
from tuner.integrations.rllib_config import check_space, space_of, translated
from tuner.search_space import choice, grid_search

registry = pytest.importorskip("ray.rllib.algorithms.registry")
DefaultModelConfig = pytest.importorskip(
    "ray.rllib.core.rl_module.default_model_config"
).DefaultModelConfig
DEPRECATED_VALUE = pytest.importorskip("ray._common.deprecation").DEPRECATED_VALUE

ALGORITHMS = sorted(registry.ALGORITHMS)
OLD_STACK = {"enable_rl_module_and_learner": False, "enable_env_runner_and_connector_v2": False}


def config_of(algorithm: str) -> Any:
    """RLlib's own default `AlgorithmConfig`."""
    return registry.ALGORITHMS[algorithm]()[1]


def today(config: dict[str, Any], algorithm: str = "PPO") -> dict[str, Any]:
    return translated(config, vars(config_of(algorithm)), algorithm)


def test_the_keys_of_the_sample():
    seed = {
        "env": "CartPole-v1",
        "kl_coeff": 1.0,
        "num_workers": 4,
        "num_cpus": 1,
        "num_gpus": 0,
        "model": {"free_log_std": True},
        "lambda": 0.95,
        "clip_param": 0.2,
        "lr": 1e-4,
        "num_sgd_iter": 10,
        "sgd_minibatch_size": 128,
        "train_batch_size": 10000,
    }
    assert today(seed) == {
        "env": "CartPole-v1",
        "kl_coeff": 1.0,
        "num_env_runners": 4,
        "num_cpus_for_main_process": 1,
        "_model_config": {"free_log_std": True},
        "lambda_": 0.95,
        "clip_param": 0.2,
        "lr": 1e-4,
        "num_epochs": 10,
        "minibatch_size": 128,
        "train_batch_size": 10000,
    }


def entries(table: Any) -> Iterator[str | rllib_keys.Gone]:
    """All that a table says, also of keys within others."""
    for entry in table.values():
        if isinstance(entry, str | rllib_keys.Gone):
            yield entry
        else:
            yield from entries(entry)


TABLES = [*map(entries, (rllib_keys.RENAMED, rllib_keys.GONE, rllib_keys.NEW_STACK))]
ENTRIES = [*itertools.chain(*TABLES)]
WITHIN = {
    "model_config": {field.name for field in dataclasses.fields(DefaultModelConfig)},
    "replay_buffer_config": {*config_of("DQN").replay_buffer_config},
}
ELSEWHERE = {
    "atari_wrappers",
    "env_to_module",
    "metrics_logger",
    "module_class",
    "object_store_memory",
    "on_train_result",
    "wrap_atari_for_new_api_stack",
}
"""Names in what to use instead that are no keys."""


@pytest.mark.parametrize("name", sorted({entry for entry in ENTRIES if isinstance(entry, str)}))
def test_every_successor_is_a_setting_of_today(name):
    name, _, part = name.partition("/")
    attribute = rllib_keys.ATTRIBUTES.get(name, name)
    assert any(attribute in vars(config_of(algorithm)) for algorithm in ALGORITHMS)
    assert not part or part in WITHIN[name]


@pytest.mark.parametrize(
    "instead", sorted({entry.instead for entry in ENTRIES if isinstance(entry, rllib_keys.Gone)})
)
def test_every_key_that_is_to_be_used_instead_is_accepted(instead):
    words = {word for word in re.findall(r"\w+", instead) if re.search("[a-z]_[a-z]", word)}
    for word in words - ELSEWHERE - WITHIN["model_config"]:
        entry = {**rllib_keys.GONE, **rllib_keys.NEW_STACK}.get(word)
        assert not isinstance(entry, rllib_keys.Gone), f"{word} means nothing itself"
        assert any(_is_known(word, algorithm) for algorithm in ALGORITHMS), word


def _is_known(name: str, algorithm: str) -> bool:
    try:
        check_space({name: grid_search([1])}, vars(config_of(algorithm)), algorithm)
    except ConfigError:
        return False
    return True


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_defaults_pass_and_ask_for_nothing_else(algorithm):
    default = config_of(algorithm)
    kept = today(default.to_dict(), algorithm)
    assert kept
    assert all(vars(default)[name] == value for name, value in kept.items() if name != "policies")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_deprecated_setting_of_rllib_is_known(algorithm):
    settings = vars(config_of(algorithm))
    deprecated = [name for name in settings if settings[name] is DEPRECATED_VALUE]
    assert deprecated
    kept = {name for name in deprecated if _is_kept(name, algorithm)}
    assert not kept, "they would have no effect"


def _is_kept(name: str, algorithm: str) -> bool:
    try:
        return name in today({name: "what nobody has asked for"}, algorithm)
    except ConfigError:
        return False


@pytest.mark.parametrize("key", [*rllib_keys.RENAMED, *rllib_keys.GONE])
def test_a_deprecated_key_with_its_neutral_value_is_left_out(key):
    assert today({key: -1}) == {}


@pytest.mark.parametrize(
    ("key", "value", "instead"),
    [
        ("horizon", 200, "gymnasium.wrappers.TimeLimit"),
        ("observation_filter", "MeanStdFilter", "MeanStdFilter"),
        ("sample_async", True, "IMPALA or APPO"),
        ("framework", "tf2", 'framework="torch"'),
        ("num_gpus", 1.5, "num_learners"),
        ("policy_map_cache", "/tmp", "leave it out: it has no successor"),
        ("exploration_config", {"type": "Curiosity"}, "rl_module_spec"),
    ],
)
def test_a_key_that_means_nothing_today_says_what_to_use(key, value, instead):
    with pytest.raises(ConfigError, match="means nothing in RLlib today") as refused:
        today({key: value})
    assert repr(key) in str(refused.value)
    assert instead in str(refused.value)


def test_a_typo_names_what_was_meant():
    with pytest.raises(ConfigError, match="PPO has no such setting; did you mean 'num_workers'"):
        today({"num_workrs": 4})
    with pytest.raises(ConfigError, match="did you mean 'fcnet_hiddens'"):
        today({"model": {"fcnet_hidden": [64]}})


def test_a_setting_of_another_algorithm_is_refused():
    with pytest.raises(ConfigError, match=r"\['buffer_size'\]=1000: PPO has no such setting"):
        today({"buffer_size": 1000})
    with pytest.raises(ConfigError, match=r"\['clip_param'\]=0.2: DQN has no such setting"):
        today({"clip_param": 0.2}, "DQN")


@pytest.mark.parametrize(
    "config",
    [
        {"num_sgd_iter": 10, "num_epochs": 20},
        {"num_workers": 1, "num_env_runners": 1},
        {"lambda": 0.9, "lambda_": 0.9},
        {"train_batch_size": 1000, "train_batch_size_per_learner": 500},
    ],
)
def test_two_keys_for_one_setting_are_refused(config):
    with pytest.raises(ConfigError, match="are the same setting") as refused:
        today(config)
    assert all(repr(key) in str(refused.value) for key in config)


def test_models():
    old = {
        "fcnet_hiddens": [64, 64],
        "post_fcnet_hiddens": [32],
        "fcnet_weights_initializer": "xavier_uniform_",
        "fcnet_weights_initializer_config": {"gain": 2},
        "use_attention": False,
    }
    assert today({"model": old, "vf_share_layers": True})["_model_config"] == {
        "fcnet_hiddens": [64, 64],
        "head_fcnet_hiddens": [32],
        "fcnet_kernel_initializer": "xavier_uniform_",
        "fcnet_kernel_initializer_kwargs": {"gain": 2},
        "vf_share_layers": True,
    }
    with pytest.raises(ConfigError, match=r"'model\.use_attention'\]=True means nothing"):
        today({"model": {"use_attention": True}})


def test_a_model_of_today_and_one_of_old_keys_go_together():
    both = {"model_config": {"use_lstm": True}, "model": {"fcnet_hiddens": [64]}}
    assert today(both) == {"_model_config": {"use_lstm": True, "fcnet_hiddens": [64]}}


def test_replay_buffers():
    old = {
        "replay_buffer_config": {
            "type": "MultiAgentPrioritizedReplayBuffer",
            "capacity": 5000,
            "prioritized_replay_alpha": 0.5,
            "prioritized_replay_eps": 1e-6,
            "learning_starts": 300,
        }
    }
    assert today(old, "DQN") == {
        "replay_buffer_config": {
            "type": "PrioritizedEpisodeReplayBuffer",
            "capacity": 5000,
            "alpha": 0.5,
        },
        "num_steps_sampled_before_learning_starts": 300,
    }


def test_a_buffer_without_priorities():
    old = {
        "prioritized_replay": False,
        "prioritized_replay_alpha": 0.6,
        "prioritized_replay_beta_annealing_timesteps": 20000,
    }
    assert today(old, "DQN") == {
        "replay_buffer_config": {"type": "EpisodeReplayBuffer", "capacity": 50000}
    }
    assert today({"prioritized_replay": True, "buffer_size": 10}, "DQN") == {
        "replay_buffer_config": {"type": "PrioritizedEpisodeReplayBuffer", "capacity": 10}
    }


def test_timesteps_per_iteration():
    old = {"timesteps_per_iteration": 500}
    assert today(old, "DQN") == {"min_sample_timesteps_per_iteration": 500}
    assert today(old, "CQL") == {"min_train_timesteps_per_iteration": 500}


def test_common_keys_of_1_0_with_what_they_were_by_default():
    old = {
        "horizon": None,
        "soft_horizon": False,
        "record_env": False,
        "input_evaluation": ["is", "wis"],
        "memory": 0,
        "object_store_memory_per_worker": 0,
        "min_iter_time_s": 0,
        "timesteps_per_iteration": 0,
        "sample_async": False,
        "_use_trajectory_view_api": True,
        "observation_filter": "NoFilter",
        "remote_worker_envs": False,
        "exploration_config": {"type": "StochasticSampling"},
        "evaluation_config": {},
        "multiagent": {"policies": {}, "policy_mapping_fn": None, "replay_mode": "independent"},
        "logger_config": None,
        "simple_optimizer": False,
        "eager_tracing": False,
        "optimizer": {},
        "sample_batch_size": 100,
        "num_cpus_for_driver": 1,
    }
    assert today(old) == {
        "min_time_s_per_iteration": 0,
        "min_sample_timesteps_per_iteration": 0,
        "evaluation_config": {},
        "rollout_fragment_length": 100,
        "num_cpus_for_main_process": 1,
    }


def test_exploration_of_dqn():
    old = {"type": "EpsilonGreedy", "initial_epsilon": 0.9, "final_epsilon": 0.1}
    assert today({"exploration_config": {**old, "epsilon_timesteps": 500}}, "DQN") == {
        "epsilon": [(0, 0.9), (500, 0.1)]
    }
    assert today({"exploration_config": {"final_epsilon": 0.2}}, "DQN") == {
        "epsilon": [(0, 1.0), (10000, 0.2)]
    }
    warm = {**old, "epsilon_timesteps": 500, "warmup_timesteps": 100}
    assert today({"exploration_config": warm}, "DQN") == {
        "epsilon": [(0, 0.9), (100, 0.9), (600, 0.1)]
    }


@pytest.mark.parametrize("key", ["Q_model", "policy_model", "q_model_config"])
def test_models_of_sac(key):
    neutral = {"fcnet_hiddens": [256, 256], "fcnet_activation": "relu", "custom_model": None}
    for value in (None, {}, neutral):
        assert today({key: value}, "SAC") == {}
    with pytest.raises(ConfigError, match=rf"'{key}.fcnet_hiddens'\]=\[32\] means nothing"):
        today({key: {"fcnet_hiddens": [32]}}, "SAC")
    if key == "Q_model":
        old = {**OLD_STACK, key: {"fcnet_hiddens": [32]}}
        assert today(old, "SAC")["q_model_config"] == {"fcnet_hiddens": [32]}


def test_settings_of_impala():
    old = {
        "num_data_loader_buffers": 1,
        "max_sample_requests_in_flight_per_worker": 2,
        "after_train_step": None,
    }
    assert today(old, "IMPALA") == {"max_requests_in_flight_per_env_runner": 2}
    with pytest.raises(
        ConfigError, match=r"'after_train_step'\].* use a callback, on_train_result"
    ):
        today({"after_train_step": print}, "IMPALA")


@pytest.mark.parametrize("stack", [{}, OLD_STACK])
def test_callbacks(stack):
    assert today({**stack, "callbacks": dict}) == {**stack, "callbacks_class": dict}
    for value in (None, {}):
        assert today({**stack, "callbacks": value}) == stack
    with pytest.raises(ConfigError, match=r"RLlibCallback .* callbacks_on_episode_end=function"):
        today({**stack, "callbacks": {"on_episode_end": print}})
    assert "callbacks_on_episode_end" in vars(config_of("PPO"))


@pytest.mark.parametrize("stack", [{}, OLD_STACK])
def test_multiagent(stack):
    policies = {"policies": {"a"}, "replay_mode": "independent"}
    assert today({**stack, "multiagent": policies}) == {**stack, "policies": {"a"}}
    typo = r"^param_space\['multiagent'\]\['policiez'\]=.* did you mean 'policies'\?$"
    with pytest.raises(ConfigError, match=typo):
        today({**stack, "multiagent": {"policiez": {"a"}}})


def test_learning_rates_of_sac():
    old = {"optimization": {"actor_learning_rate": 1e-3, "entropy_learning_rate": 1e-4}}
    assert today(old, "SAC") == {"actor_lr": 1e-3, "alpha_lr": 1e-4}


def test_the_batch_size_wins_over_a_default_per_learner():
    assert today({"train_batch_size": 512, "num_learners": 2}, "SAC") == {
        "train_batch_size": 512,
        "num_learners": 2,
        "_train_batch_size_per_learner": 256,
    }


def test_a_schedule_wins_over_the_constant_beside_it():
    schedule = [[0, 1e-3], [1000, 1e-4]]
    assert today({"lr": 1e-5, "lr_schedule": schedule}) == {"lr": schedule}
    assert today({"lr": 1e-5, "lr_schedule": None}) == {"lr": 1e-5}


def test_gpus():
    assert today({"num_gpus": 0.5}) == {"num_gpus_per_learner": 0.5}
    assert today({"num_gpus": 2}) == {"num_gpus_per_learner": 1, "num_learners": 2}


@pytest.mark.parametrize(
    ("key", "value"),
    [("num_gpus", "1"), ("num_gpus", -1), ("num_gpus", float("nan")), ("multiagent", 3)],
)
def test_values_of_another_kind_are_named(key, value):
    with pytest.raises(ConfigError, match=rf"param_space\['{key}'\]=.* must be a"):
        today({key: value})


def test_settings_within_others_are_translated():
    old = {"multiagent": {"policies": {"a", "b"}, "policy_map_cache": None}}
    assert today(old) == {"policies": {"a", "b"}}
    evaluation = {"evaluation_config": {"explore": False, "num_envs_per_worker": 2}}
    assert today(evaluation) == {
        "evaluation_config": {"explore": False, "num_envs_per_env_runner": 2}
    }
    with pytest.raises(ConfigError, match=r"param_space\['evaluation_config'\]\['explor'\]"):
        today({"evaluation_config": {"explor": False}})
    with pytest.raises(ConfigError, match=r"\['evaluation_config'\]\['framework'\]='tf' means"):
        today({"evaluation_config": {"framework": "tf"}})


def test_the_old_api_stack_keeps_its_settings():
    old = {**OLD_STACK, "num_workers": 1, "model": {"use_attention": True}, "num_gpus": 1}
    assert today(old) == {
        **OLD_STACK,
        "num_env_runners": 1,
        "model": {"use_attention": True},
        "num_gpus": 1,
    }


def test_values_are_left_as_they_are():
    schedule = [[0, 1e-3], [10, 1e-4]]
    config = {"lr": schedule, "env_config": {"sizes": [1, 2]}}
    result = today(config)
    result["env_config"]["sizes"].append(3)
    assert config == {"lr": [[0, 1e-3], [10, 1e-4]], "env_config": {"sizes": [1, 2]}}


def test_an_algorithm_config_becomes_what_it_sets():
    rates, sizes = grid_search([1e-3, 1e-4]), choice([100, 200])
    config = (
        config_of("PPO")
        .environment("CartPole-v1", env_config={"a": 1})
        .env_runners(num_env_runners=0)
        .training(lr=rates, minibatch_size=sizes, lambda_=0.9, train_batch_size_per_learner=400)
        .rl_module(model_config={"fcnet_hiddens": [64]})
    )
    space = space_of(vars(config), vars(config_of("PPO")))
    assert space == {
        "env": "CartPole-v1",
        "env_config": {"a": 1},
        "num_env_runners": 0,
        "lr": rates,
        "minibatch_size": sizes,
        "lambda": 0.9,
        "train_batch_size_per_learner": 400,
        "model_config": {"fcnet_hiddens": [64]},
    }
    assert space["minibatch_size"] is sizes


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_default_algorithm_config_sets_nothing(algorithm):
    assert space_of(vars(config_of(algorithm)), vars(config_of(algorithm))) == {}
