"""The keys of RLlib's configurations, of all versions since 1.0, and what they are called today.

Nothing here needs Ray. The names are those of `AlgorithmConfig` in Ray 2.60; a key that is in no
table and that RLlib knows today passes as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

DEPRECATED = -1
"""What RLlib's own default dictionaries have where a key is not to be used any more."""


@dataclass(frozen=True, slots=True)
class Gone:
    """A key that nothing reads any more.

    Attributes:
        instead: What to write instead.
        neutral: Values that asked for nothing, and are left out.
    """

    instead: str
    neutral: tuple[Any, ...] = (None,)


Table = Mapping[str, "str | Gone | Table"]
"""By old key: today's name, `/` between the levels; or why there is none; or a table of the keys in
the dictionary under it."""

_ANY = (True, False, None)

ATTRIBUTES: dict[str, str] = {
    # What people write, and the attribute of `AlgorithmConfig` that holds it.
    "callbacks": "callbacks_class",
    "create_env_on_driver": "create_env_on_local_worker",
    "custom_eval_function": "custom_evaluation_function",
    "env_to_module_connector": "_env_to_module_connector",
    "framework": "framework_str",
    "input": "input_",
    "is_atari": "_is_atari",
    "lambda": "lambda_",
    "learner_class": "_learner_class",
    "learner_connector": "_learner_connector",
    "model_config": "_model_config",
    "module_to_env_connector": "_module_to_env_connector",
    "rl_module_spec": "_rl_module_spec",
    "train_batch_size_per_learner": "_train_batch_size_per_learner",
}

RENAMED: dict[str, str] = {
    # Rollout workers are env runners since 2.9, and so are their settings.
    "num_workers": "num_env_runners",
    "num_rollout_workers": "num_env_runners",
    "num_envs_per_worker": "num_envs_per_env_runner",
    "num_cpus_per_worker": "num_cpus_per_env_runner",
    "num_gpus_per_worker": "num_gpus_per_env_runner",
    "custom_resources_per_worker": "custom_resources_per_env_runner",
    "evaluation_num_workers": "evaluation_num_env_runners",
    "validate_workers_after_construction": "validate_env_runners_after_construction",
    "max_requests_in_flight_per_sampler_worker": "max_requests_in_flight_per_env_runner",
    "ignore_worker_failures": "ignore_env_runner_failures",
    "recreate_failed_workers": "restart_failed_env_runners",
    "recreate_failed_env_runners": "restart_failed_env_runners",
    "max_num_worker_restarts": "max_num_env_runner_restarts",
    "delay_between_worker_restarts_s": "delay_between_env_runner_restarts_s",
    "num_consecutive_worker_failures_tolerance": "num_consecutive_env_runner_failures_tolerance",
    "worker_health_probe_timeout_s": "env_runner_health_probe_timeout_s",
    "worker_restore_timeout_s": "env_runner_restore_timeout_s",
    "synchronize_filters": "update_worker_filter_stats",
    # The process that trains. `num_cpus` is what `tune.run` called it per trial.
    "num_cpus": "num_cpus_for_main_process",
    "num_cpus_for_driver": "num_cpus_for_main_process",
    "num_cpus_for_local_worker": "num_cpus_for_main_process",
    "num_learner_workers": "num_learners",
    "num_cpus_per_learner_worker": "num_cpus_per_learner",
    "num_gpus_per_learner_worker": "num_gpus_per_learner",
    # PPO's names for what all algorithms have now.
    "num_sgd_iter": "num_epochs",
    "sgd_minibatch_size": "minibatch_size",
    "shuffle_sequences": "shuffle_batch_per_epoch",
    # How often there is a result.
    "min_iter_time_s": "min_time_s_per_iteration",
    "min_time_s_per_reporting": "min_time_s_per_iteration",
    "min_train_timesteps_per_reporting": "min_train_timesteps_per_iteration",
    "min_sample_timesteps_per_reporting": "min_sample_timesteps_per_iteration",
    "sample_batch_size": "rollout_fragment_length",
    "metrics_smoothing_episodes": "metrics_num_episodes_for_smoothing",
    "collect_metrics_timeout": "metrics_episode_collection_timeout_s",
    "evaluation_num_episodes": "evaluation_duration",
    "learning_starts": "num_steps_sampled_before_learning_starts",
    "target_update_frequency": "target_network_update_freq",
    "grad_norm_clipping": "grad_clip",
    "max_sample_requests_in_flight_per_worker": "max_requests_in_flight_per_env_runner",
    "Q_model": "q_model_config",
    "policy_model": "policy_model_config",
    "model_config_dict": "model_config",
}

GONE: dict[str, Gone] = {
    "horizon": Gone("gymnasium.wrappers.TimeLimit around the environment"),
    "soft_horizon": Gone("an environment that goes on after a TimeLimit", (None, False)),
    "no_done_at_end": Gone("an environment that says so by `truncated`", (None, False)),
    "monitor": Gone("gymnasium.wrappers.RecordVideo around the environment", (None, False)),
    "record_env": Gone("gymnasium.wrappers.RecordVideo around the environment", (None, False)),
    "env_task_fn": Gone("a callback, on_train_result, that sets the environments' task"),
    "sample_async": Gone("an asynchronous algorithm: IMPALA or APPO", (None, False)),
    "logger_creator": Gone("RunConfig(callbacks=[...])"),
    "logger_config": Gone("RunConfig(callbacks=[...])"),
    "worker_cls": Gone("env_runner_cls"),
    "rollout_worker_class": Gone("env_runner_cls"),
    "rl_module_class": Gone("rl_module_spec=RLModuleSpec(module_class=...)"),
    "enable_async_evaluation": Gone("evaluation_parallel_to_training", (None, False)),
    "custom_async_evaluation_function": Gone("custom_evaluation_function"),
    "input_evaluation": Gone("off_policy_estimation_methods", (None, [], ["is", "wis"])),
    "microbatch_size": Gone("minibatch_size"),
    "replay_batch_size": Gone("train_batch_size"),
    "replay_mode": Gone("nothing: every module replays its own", (None, "independent")),
    "policy_map_cache": Gone("nothing"),
    "always_attach_evaluation_results": Gone("nothing", _ANY),
    "auto_wrap_old_gym_envs": Gone("an environment of gymnasium", _ANY),
    "enable_connectors": Gone("nothing: there always are connectors", _ANY),
    "simple_optimizer": Gone("nothing: RLlib chooses", _ANY),
    "use_state_preprocessor": Gone("a connector", (None, False)),
    "worker_side_prioritization": Gone("nothing", (None, False)),
    "num_data_loader_buffers": Gone("num_learners", (None, 1)),
    "after_train_step": Gone("a callback, on_train_result"),
    "multi_gpu": Gone("nothing: RLlib chooses", (None, False)),
    "use_huber": Gone('td_error_loss_fn="huber"', (None, True)),
    "parameter_noise": Gone("noisy=True, of DQN", (None, False)),
    "softmax_temp": Gone("an RLModule of your own, by rl_module_spec", (None, 1.0)),
    "soft_q": Gone("an RLModule of your own, by rl_module_spec", (None, False)),
    "per_worker_exploration": Gone("nothing: every env runner explores alike", (None, False)),
    **dict.fromkeys(
        (
            "schedule_max_timesteps",
            "exploration_fraction",
            "exploration_initial_eps",
            "exploration_final_eps",
        ),
        Gone("epsilon=[(0, 1.0), (10000, 0.05)], of DQN, or exploration_config"),
    ),
    "replay_buffer_size": Gone("nothing: offline data is read as it is", (None, 0, 10000)),
    "uses_new_env_runners": Gone("enable_env_runner_and_connector_v2", _ANY),
    "use_exec_api": Gone("nothing", _ANY),
    "_run_training_always_in_thread": Gone("nothing", _ANY),
    "_evaluation_parallel_to_training_wo_thread": Gone("nothing", _ANY),
    "beta_annealing_fraction": Gone("prioritized_replay_beta, which is constant"),
    "vtrace_drop_last_ts": Gone("nothing", _ANY),
    **dict.fromkeys(
        ("memory", "memory_per_worker", "object_store_memory", "object_store_memory_per_worker"),
        Gone("custom_resources_per_env_runner, or ray.init(object_store_memory=...)", (None, 0)),
    ),
    "use_pytorch": Gone('framework="torch"', (None, True)),
    "eager": Gone('framework="torch"', (None, False)),
    "no_eager_on_workers": Gone("nothing", _ANY),
    "_use_trajectory_view_api": Gone("nothing", _ANY),
    "_disable_execution_plan_api": Gone("nothing", _ANY),
    "_enable_learner_api": Gone("enable_rl_module_and_learner", _ANY),
    "_enable_rl_module_api": Gone("enable_rl_module_and_learner", _ANY),
    "_enable_new_api_stack": Gone("enable_rl_module_and_learner", _ANY),
}

_NO_OLD_MODEL = Gone("an RLModule of your own, by rl_module_spec", (None, {}, False))
_NO_ATARI = Gone("wrap_atari_for_new_api_stack of ray.rllib.env.wrappers.atari_wrappers")
_NO_ATTENTION = Gone("an RLModule of your own, by rl_module_spec", (False, 0, 1, 2.0, 32, 50, 64))
MULTI_AGENT = (
    "policies",
    "policy_mapping_fn",
    "policies_to_train",
    "count_steps_by",
    "observation_fn",
    "policy_map_cache",
    "policy_map_capacity",
    "replay_mode",
)
"""What there is under `multiagent`."""

_PREFIXES = {"fcnet": "fcnet", "post_fcnet": "head_fcnet", "lstm": "lstm"}

_MODEL: Table = {
    "fcnet_hiddens": "model_config/fcnet_hiddens",
    "fcnet_activation": "model_config/fcnet_activation",
    "post_fcnet_hiddens": "model_config/head_fcnet_hiddens",
    "post_fcnet_activation": "model_config/head_fcnet_activation",
    **{
        f"{old}_{part}_initializer{end}": f"model_config/{new}_{today}_initializer{today_end}"
        for old, new in _PREFIXES.items()
        for part, today in (("weights", "kernel"), ("bias", "bias"))
        for end, today_end in (("", ""), ("_config", "_kwargs"))
    },
    **{
        f"conv_{part}_initializer{end}": f"model_config/conv_{part}_initializer{today_end}"
        for part in ("kernel", "bias")
        for end, today_end in (("", ""), ("_config", "_kwargs"))
    },
    **{
        name: f"model_config/{name}"
        for name in (
            "conv_filters",
            "conv_activation",
            "free_log_std",
            "log_std_clip_param",
            "vf_share_layers",
            "use_lstm",
            "max_seq_len",
            "lstm_cell_size",
            "lstm_use_prev_action",
            "lstm_use_prev_reward",
        )
    },
    **{
        f"conv_transpose_{part}_initializer{end}": _NO_OLD_MODEL
        for part in ("kernel", "bias")
        for end in ("", "_config")
    },
    "custom_model": _NO_OLD_MODEL,
    "custom_model_config": _NO_OLD_MODEL,
    "custom_action_dist": _NO_OLD_MODEL,
    "no_final_linear": _NO_OLD_MODEL,
    "encoder_latent_dim": _NO_OLD_MODEL,
    "custom_preprocessor": Gone("a wrapper around the environment, or env_to_module_connector"),
    "framestack": Gone("FrameStackingEnvToModule, by env_to_module_connector", _ANY),
    "dim": Gone(_NO_ATARI.instead, (None, 84)),
    "grayscale": Gone(_NO_ATARI.instead, (None, False)),
    "zero_mean": Gone(_NO_ATARI.instead, _ANY),
    "lstm_use_prev_action_reward": Gone("lstm_use_prev_action and lstm_use_prev_reward", (False,)),
    **dict.fromkeys(
        (
            "attention_num_transformer_units",
            "attention_dim",
            "attention_num_heads",
            "attention_head_dim",
            "attention_memory_inference",
            "attention_memory_training",
            "attention_position_wise_mlp_dim",
            "attention_init_gru_gate_bias",
            "attention_use_n_prev_actions",
            "attention_use_n_prev_rewards",
        ),
        _NO_ATTENTION,
    ),
    "use_attention": Gone(_NO_ATTENTION.instead, (False,)),
    "_time_major": Gone("nothing", (False,)),
    "always_check_shapes": Gone("nothing", _ANY),
    "_use_default_native_models": Gone("nothing", _ANY),
    "_disable_preprocessor_api": Gone("nothing", _ANY),
    "_disable_action_flattening": Gone("nothing", _ANY),
}

_REPLAY_BUFFER: Table = {
    "type": "replay_buffer_config/type",
    "capacity": "replay_buffer_config/capacity",
    "alpha": "replay_buffer_config/alpha",
    "beta": "replay_buffer_config/beta",
    "prioritized_replay_alpha": "replay_buffer_config/alpha",
    "prioritized_replay_beta": "replay_buffer_config/beta",
    "prioritized_replay_eps": Gone("nothing", (None, 0.0, 1e-6)),
    "prioritized_replay": Gone('"type": "EpisodeReplayBuffer"', (None, True)),
    "learning_starts": "num_steps_sampled_before_learning_starts",
    "replay_sequence_length": Gone("nothing", (None, 1)),
    "replay_burn_in": Gone("burn_in_len", (None, 0)),
    "replay_zero_init_states": Gone("nothing", _ANY),
    "storage_unit": Gone("nothing", (None, "timesteps")),
    "worker_side_prioritization": Gone("nothing", (None, False)),
    "_enable_replay_buffer_api": Gone("nothing", _ANY),
}

EPISODE_BUFFERS = {
    "ReplayBuffer": "EpisodeReplayBuffer",
    "PrioritizedReplayBuffer": "PrioritizedEpisodeReplayBuffer",
    # Of one agent, which is what an environment of gymnasium has.
    "MultiAgentReplayBuffer": "EpisodeReplayBuffer",
    "MultiAgentPrioritizedReplayBuffer": "PrioritizedEpisodeReplayBuffer",
}

_NO_TENSORFLOW = "nothing: it is TensorFlow's"
_OLD_MODELS_OF_SAC = 'model_config, such as {"head_fcnet_hiddens": [256, 256]}'
_MODEL_OF_SAC: Table = {
    "fcnet_hiddens": Gone(_OLD_MODELS_OF_SAC, (None, [256, 256], (256, 256))),
    "fcnet_activation": Gone(_OLD_MODELS_OF_SAC, (None, "relu")),
    "post_fcnet_hiddens": Gone(_OLD_MODELS_OF_SAC, (None, [])),
    "post_fcnet_activation": Gone(_OLD_MODELS_OF_SAC),
    "custom_model": _NO_OLD_MODEL,
    "custom_model_config": _NO_OLD_MODEL,
}

# What only the old API stack reads. A value that is today's default passes.
NEW_STACK: dict[str, str | Gone | Table] = {
    "model": _MODEL,
    "replay_buffer_config": _REPLAY_BUFFER,
    "optimization": {
        "actor_learning_rate": "actor_lr",
        "critic_learning_rate": "critic_lr",
        "entropy_learning_rate": "alpha_lr",
    },
    "vf_share_layers": "model_config/vf_share_layers",
    "hiddens": "model_config/head_fcnet_hiddens",
    "buffer_size": "replay_buffer_config/capacity",
    "prioritized_replay_alpha": "replay_buffer_config/alpha",
    "prioritized_replay_beta": "replay_buffer_config/beta",
    "prioritized_replay_eps": Gone("nothing", (None, 0.0, 1e-6)),
    **dict.fromkeys(
        ("final_prioritized_replay_beta", "prioritized_replay_beta_annealing_timesteps"),
        Gone("prioritized_replay_beta, which is constant", (None, 0.0, 0.4, 20000)),
    ),
    "num_aggregation_workers": "num_aggregator_actors_per_learner",
    "max_requests_in_flight_per_aggregator_worker": "max_requests_in_flight_per_aggregator_actor",
    "lr_schedule": "lr",
    "entropy_coeff_schedule": "entropy_coeff",
    "observation_filter": Gone(
        "env_to_module_connector=lambda *args, **kwargs: MeanStdFilter(), of "
        "ray.rllib.connectors.env_to_module",
        (None, "NoFilter"),
    ),
    "preprocessor_pref": Gone("env_to_module_connector", (None, "deepmind")),
    "clip_rewards": Gone("a wrapper around the environment", (None, False)),
    "compress_observations": Gone("nothing", (None, False)),
    "remote_worker_envs": Gone('gym_env_vectorize_mode="async"', (None, False)),
    "remote_env_batch_wait_ms": Gone("nothing", (None, 0)),
    "render_env": Gone("gymnasium.wrappers.RecordVideo around the environment", (None, False)),
    "sample_collector": Gone("learner_connector"),
    "observation_fn": Gone("env_to_module_connector"),
    "optimizer": Gone("a learner_class of your own, for other optimizers", (None, {})),
    "policy_map_capacity": Gone("nothing", (None, 100)),
    "policy_states_are_swappable": Gone("nothing", (None, False)),
    "sampler_perf_stats_ema_coef": Gone("nothing"),
    "keep_per_episode_custom_metrics": Gone("a callback with a metrics_logger", (None, False)),
    "fake_sampler": Gone("nothing", (None, False)),
    "_fake_gpus": Gone("nothing", (None, False)),
    "shuffle_buffer_size": Gone("map_batches_kwargs and iter_batches_kwargs", (None, 0)),
    "before_learn_on_batch": Gone("learner_connector"),
    "Q_model": _MODEL_OF_SAC,
    "policy_model": _MODEL_OF_SAC,
    "q_model_config": _MODEL_OF_SAC,
    "policy_model_config": _MODEL_OF_SAC,
    "num_multi_gpu_tower_stacks": Gone("num_learners", (None, 1)),
    "minibatch_buffer_size": Gone("nothing", (None, 1)),
    "replay_proportion": Gone("nothing", (None, 0.0)),
    "replay_buffer_num_slots": Gone("nothing", (None, 0)),
    "learner_queue_timeout": Gone("nothing", (None, 300)),
    "opt_type": Gone("a learner_class of your own, for other optimizers", (None, "adam")),
    "decay": Gone("a learner_class of your own, for other optimizers", (None, 0.99)),
    "momentum": Gone("a learner_class of your own, for other optimizers", (None, 0.0)),
    "eager_tracing": Gone(_NO_TENSORFLOW, _ANY),
    "enable_tf1_exec_eagerly": Gone(_NO_TENSORFLOW, _ANY),
}
