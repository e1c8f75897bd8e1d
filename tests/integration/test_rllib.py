"""Algorithms of RLlib train within trials, on a Ray of this machine."""

from __future__ import annotations

import random
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fit_helpers import run_script

import tuner as tune
from tuner.errors import TrainableError
from tuner.integrations.rllib import register_env
from tuner.schedulers import PopulationBasedTraining
from tuner.trainable.registry import get_trainable

ray = pytest.importorskip("ray")
ppo = pytest.importorskip("ray.rllib.algorithms.ppo")
torch = pytest.importorskip("torch")

SMALL = {
    "env": "CartPole-v1",
    "num_workers": 0,
    "num_sgd_iter": 2,
    "sgd_minibatch_size": 100,
    "train_batch_size": 300,
    "lr": 1e-3,
    "seed": 1,
    "model": {"fcnet_hiddens": [16]},
}
BANDIT = {
    **SMALL,
    "env": "bandit",
    "train_batch_size": 200,
    "num_sgd_iter": 10,
    "gamma": 0.0,  # every action has its own reward
    "use_kl_loss": False,
    "clip_param": 1.0,
    "metrics_smoothing_episodes": 10,  # so that a result tells of the last policy alone
}
EPISODE = 10


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    register_env("bandit", make_bandit())
    yield
    ray.shutdown()
    torch.set_num_threads(threads)


def make_faulty(max_steps: int, message: str) -> Any:
    """An environment that breaks at a step, in whichever process."""

    def create(env_config: Any) -> Any:
        import gymnasium

        class Faulty(gymnasium.Wrapper):
            num_steps = 0

            def step(self, action):
                self.num_steps += 1
                if self.num_steps > max_steps:
                    raise RuntimeError(message)
                return super().step(action)

        if not max_steps:
            raise RuntimeError(message)
        return Faulty(gymnasium.make("CartPole-v1"))

    return create


def make_bandit() -> Any:
    """An environment of which no other process has the module: one of two actions is the good one.

    The highest reward of an episode is `EPISODE`, that of a random policy half of it.
    """

    def create(env_config: Any) -> Any:
        import gymnasium
        import numpy

        class Bandit(gymnasium.Env):
            observation_space = gymnasium.spaces.Box(-1, 1, (1,), numpy.float32)
            action_space = gymnasium.spaces.Discrete(2)

            def reset(self, *, seed=None, options=None):
                self.num_steps = 0
                return numpy.ones(1, numpy.float32), {}

            def step(self, action):
                self.num_steps += 1
                ended = self.num_steps == 10
                return numpy.ones(1, numpy.float32), float(action), ended, False, {}

        return Bandit()

    return create


@pytest.fixture
def build() -> Iterator[Any]:
    """Makes training objects, which are cleaned up."""
    made = []

    def make(name: str = "PPO", /, **config: Any) -> Any:
        made.append(get_trainable(name)(config))
        return made[-1]

    yield make
    for each in made:
        each.stop()


def learner(trainable: Any, function: Any) -> Any:
    """What a function says of the learner of a training object."""
    return next(iter(trainable.algo.learner_group.foreach_learner(function))).get()


def weights(trainable: Any) -> dict[str, np.ndarray[Any, Any]]:
    return trainable.algo.learner_group.get_weights()["default_policy"]


def rates(trainable: Any) -> list[float]:
    return learner(
        trainable,
        lambda learner: [
            group["lr"]
            for _, optimizer in learner.get_optimizers_for_module("default_policy")
            for group in optimizer.param_groups
        ],
    )


def kl_coefficient(trainable: Any) -> float:
    return learner(trainable, lambda each: float(each.curr_kl_coeffs_per_module["default_policy"]))


def assert_same(some: dict[str, Any], others: dict[str, Any]) -> None:
    """What both have is the same; env runners have no value function."""
    shared = some.keys() & others.keys()
    assert shared
    for name in shared:
        np.testing.assert_array_equal(some[name], others[name])


def run(folder: Path, trainable: Any = "PPO", **config: Any) -> tune.ResultGrid:
    options = {"stop": {"training_iteration": 1}, **config.pop("run", {})}
    tune_options = {"metric": "episode_reward_mean", "mode": "max", **config.pop("tune", {})}
    return tune.Tuner(
        trainable,
        param_space=config["space"],
        tune_config=tune.TuneConfig(**tune_options),
        run_config=tune.RunConfig(
            name="run", storage_path=str(folder), executor="inline", verbose=0, **options
        ),
    ).fit()


def test_old_and_new_names_of_metrics(build):
    result = build(**SMALL).train()
    sampled = result["env_runners"]
    assert result["episode_reward_mean"] == sampled["episode_return_mean"] > 0
    assert result["episode_len_mean"] == sampled["episode_len_mean"]
    assert result["timesteps_total"] == result["num_env_steps_sampled_lifetime"] == 300
    assert result["episodes_total"] == result["episodes_this_iter"] > 0
    assert result["num_healthy_workers"] == 0
    assert result["info"]["learner"]["default_policy"]["learner_stats"]["cur_lr"] == 1e-3
    assert result["training_iteration"] == 1


def test_an_heir_has_the_weights_of_its_donor_and_settings_of_its_own(build, tmp_path):
    donor = build(**SMALL)
    for _ in range(2):
        last = donor.train()
    changed = {
        "lr": 0.0,
        "lambda": 0.9,
        "clip_param": 0.11,
        "gamma": 0.8,
        "entropy_coeff": 0.02,
        "num_sgd_iter": 3,
        "sgd_minibatch_size": 50,
        "train_batch_size": 200,
    }
    heir = build(**{**SMALL, **changed})
    checkpoint = donor.save(str(tmp_path))
    heir.restore(checkpoint)

    assert_same(weights(donor), weights(heir))
    assert_same(weights(donor), heir.algo.env_runner.module.get_state())
    assert rates(heir) == [0.0]
    settings = learner(heir, lambda learner: vars(learner.config))
    assert settings["clip_param"] == 0.11
    assert settings["entropy_coeff"] == 0.02
    gae = learner(heir, lambda each: each._learner_connector[-1])
    assert (gae.gamma, gae.lambda_) == (0.8, 0.9)

    result = heir.train()
    assert_same(weights(donor), weights(heir))  # as a rate of 0 has it; Adam's state is the donor's
    assert result["timesteps_this_iter"] == 200
    assert result["timesteps_total"] == last["timesteps_total"] + 200
    trained = result["learners"]["default_policy"]
    assert 3 * 200 <= trained["num_module_steps_trained"] < 4 * 200
    assert trained["module_train_batch_size_mean"] == 50

    alone = ppo.PPO.from_checkpoint(checkpoint.path)  # RLlib reads it by itself as well
    assert_same(weights(donor), alone.get_module().get_state())
    alone.stop()


def test_a_schedule_goes_on_where_the_checkpoint_is(build, tmp_path):
    config = {**SMALL, "lr_schedule": [[0, 1e-3], [1200, 0.0]]}
    donor = build(**config)
    for _ in range(2):
        donor.train()
    heir = build(**config)
    assert rates(heir) == [pytest.approx(1e-3)]
    heir.restore(donor.save(str(tmp_path)))
    assert rates(heir) == [pytest.approx(5e-4)]


def test_an_adapted_kl_coefficient_goes_on_unless_the_configuration_changes_it(build, tmp_path):
    config = {**SMALL, "kl_coeff": 1.0, "lr": 1e-6}
    donor = build(**config)
    for _ in range(3):
        donor.train()
    adapted = kl_coefficient(donor)
    assert adapted < 1.0
    checkpoint = donor.save(str(tmp_path))
    for kl_coeff, expected in ((1.0, adapted), (0.7, 0.7)):
        heir = build(**{**config, "kl_coeff": kl_coeff})
        heir.restore(checkpoint)
        assert kl_coefficient(heir) == pytest.approx(expected)


def test_workers_have_the_environment_and_the_weights(build, tmp_path):
    donor = build(**BANDIT)
    donor.train()
    heir = build(**{**BANDIT, "num_workers": 1, "train_batch_size": 101})
    heir.restore(donor.save(str(tmp_path)))
    (state,) = heir.algo.env_runner_group.foreach_env_runner(
        lambda runner: runner.module.get_state(), local_env_runner=False
    )
    assert_same(weights(donor), state)
    result = heir.train()
    assert result["num_healthy_workers"] == 1
    assert result["timesteps_this_iter"] == 101


@pytest.mark.parametrize("reuse_actors", [False, True])
def test_an_exploit_brings_the_policy(tmp_path, reuse_actors):
    """One trial learns, the other has a learning rate of 0 until it is exploited."""
    scheduler = PopulationBasedTraining(
        time_attr="training_iteration",
        perturbation_interval=3,
        hyperparam_mutations={"lambda": lambda: random.uniform(0.5, 1.0)},
        quantile_fraction=0.5,
        synch=True,
    )
    grid = run(
        tmp_path,
        space={**BANDIT, "lr": tune.grid_search([0.0, 0.05])},
        tune={"scheduler": scheduler, "seed": 0, "reuse_actors": reuse_actors},
        run={"stop": {"training_iteration": 5}},
    )
    assert not grid.errors
    loser, donor = (result.metrics_dataframe for result in grid)
    rewards = loser["episode_reward_mean"]
    assert rewards[:3].max() < 0.8 * EPISODE
    assert donor["episode_reward_mean"][2] > 0.95 * EPISODE
    assert rewards[3] > 0.95 * EPISODE
    column = "info/learner/default_policy/learner_stats/cur_lr"
    assert list(loser[column]) == [0.0] * 3 + [0.05] * 2
    assert grid[0].config["lr"] == 0.05
    assert grid[0].config["lambda"] != grid[1].config["lambda"]


def test_an_algorithm_config_with_domains(tmp_path):
    space = (
        ppo.PPOConfig()
        .environment("CartPole-v1")
        .env_runners(num_env_runners=0)
        .training(lr=tune.grid_search([1e-3, 1e-4]), train_batch_size_per_learner=200)
        .training(minibatch_size=tune.choice([50, 100]), num_epochs=1)
        .rl_module(model_config={"fcnet_hiddens": [16]})
    )
    grids = [run(tmp_path / str(i), ppo.PPO, space=space, tune={"seed": 3}) for i in range(2)]
    for result in grids[0]:
        stats = result.metrics["info"]["learner"]["default_policy"]["learner_stats"]
        assert stats["cur_lr"] == pytest.approx(result.config["lr"])
        assert result.metrics["timesteps_total"] == 200
        assert result.config["minibatch_size"] in (50, 100)
    assert [result.config["lr"] for result in grids[0]] == [1e-3, 1e-4]
    restored = tune.Tuner.restore(str(tmp_path / "0" / "run"), param_space=space)
    assert len(restored.get_results()) == 2
    first, again = ([result.metrics["episode_reward_mean"] for result in grid] for grid in grids)
    assert first == again  # the seed of the experiment reaches algorithm and environment


def test_values_that_rllib_refuses_are_an_error_of_their_trial(tmp_path):
    grid = run(tmp_path, space={**SMALL, "sgd_minibatch_size": tune.grid_search([5000, 100])})
    assert [result.error is None for result in grid] == [False, True]
    assert "`minibatch_size` (5000) must be <=" in str(grid[0].error)


@pytest.mark.parametrize(
    ("key", "values", "error"),
    [
        ("horizon", [None, 20, None], "'horizon']=20 means nothing in RLlib today; use gymnasium"),
        ("num_gpus", [0, 2.5, None], "'num_gpus']=2.5 means nothing in RLlib today; use num_lear"),
    ],
)
def test_a_bad_value_is_an_error_of_its_trial_alone(tmp_path, key, values, error):
    grid = run(tmp_path, space={**SMALL, key: tune.grid_search(values)})
    assert [result.error is None for result in grid] == [True, False, True]
    assert error in str(grid[1].error)


@pytest.mark.parametrize(
    ("config", "error"),
    [
        ({"model": {"free_log_std": True}}, "free_log_std is only supported for DiagGaussian"),
        ({"env": "closed"}, "no licence for the simulator"),
    ],
)
def test_what_keeps_an_env_runner_from_being_made_is_the_error(build, config, error):
    register_env("closed", make_faulty(0, "no licence for the simulator"))
    with pytest.raises(Exception, match=error):
        build(**{**SMALL, "num_workers": 1, **config})


def test_a_trial_of_which_all_env_runners_have_failed_fails(build):
    register_env("faulty", make_faulty(150, "env broke"))
    config = {**SMALL, "env": "faulty", "num_workers": 1, "train_batch_size": 100}
    trainable = build(**config)
    assert trainable.train()["num_healthy_workers"] == 1
    with pytest.raises(TrainableError, match=r"all env runners have failed \(num_workers=1\)"):
        trainable.train()


def test_a_trial_that_is_to_wait_for_its_env_runners_goes_on(build):
    register_env("faulty", make_faulty(150, "env broke"))
    config = {**SMALL, "env": "faulty", "num_workers": 1, "train_batch_size": 100}
    trainable = build(**config, recreate_failed_workers=True)
    healthy = [trainable.train()["num_healthy_workers"] for _ in range(2)]
    assert healthy == [1, 0]


def test_nothing_is_left_in_the_folder_of_ray(tmp_path, monkeypatch):
    monkeypatch.setattr("ray.tune.trainable.trainable.DEFAULT_STORAGE_PATH", str(tmp_path / "ray"))
    lr = tune.grid_search([1e-3, "none"])
    grid = run(tmp_path, space={**SMALL, "lr": lr})
    assert [result.error is None for result in grid] == [True, False]
    assert not (tmp_path / "ray").exists()


def test_what_is_sampled_can_be_kept_in_the_folder_of_the_trial(build, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recorded = {"output": "logdir", "batch_mode": "complete_episodes", "num_workers": 1}
    env_runners = build(**{**SMALL, **recorded}).algo.env_runner_group
    assert env_runners.foreach_env_runner(lambda each: each.output_path) == [str(tmp_path)] * 2


def test_a_restore_in_another_process_knows_the_environment(tmp_path):
    grid = run(tmp_path, space={**BANDIT, "lambda": tune.grid_search([0.9, 1.0])})
    assert [result.metrics["timesteps_total"] for result in grid] == [200, 200]
    script = f"""
        import ray
        import tuner as tune

        ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False)
        stop = {{"training_iteration": 2}}
        grid = tune.Tuner.restore({str(tmp_path / "run")!r}, stop=stop).fit()
        print([result.metrics["timesteps_total"] for result in grid])
    """
    assert run_script(textwrap.dedent(script), tmp_path).endswith("[400, 400]\n")


def test_dqn_with_old_keys(build):
    dqn = build(
        "DQN",
        env="CartPole-v1",
        num_workers=0,
        buffer_size=500,
        learning_starts=50,
        min_sample_timesteps_per_reporting=100,
        exploration_config={"type": "EpsilonGreedy", "epsilon_timesteps": 100},
        hiddens=[16],
    )
    assert dqn.train()["timesteps_this_iter"] >= 1
    assert dqn.algo.local_replay_buffer.capacity == 500
    assert dqn.algo.config.epsilon == [(0, 1.0), (100, 0.05)]


def test_rewards_of_each_policy(build):
    environments = pytest.importorskip("ray.rllib.examples.envs.classes.multi_agent")
    register_env("two", environments.MultiAgentCartPole)
    policies = {
        "policies": {"p0": (None, None, None, {}), "p1": (None, None, None, {})},
        "policy_mapping_fn": lambda agent_id, *args, **kwargs: f"p{agent_id}",
        "policy_map_cache": None,
    }
    config = {**SMALL, "env": "two", "env_config": {"num_agents": 2}, "multiagent": policies}
    result = build(**config).train()
    rewards = result["policy_reward_mean"]
    assert rewards.keys() == {"p0", "p1"}
    assert sum(rewards.values()) == pytest.approx(result["episode_reward_mean"])


def test_the_old_api_stack(build, tmp_path):
    stack = {"enable_rl_module_and_learner": False, "enable_env_runner_and_connector_v2": False}
    donor = build(**{**SMALL, **stack})
    result = donor.train()
    assert result["episodes_total"] > 0
    assert len(result["hist_stats"]["episode_reward"]) == result["episodes_this_iter"]
    heir = build(**{**SMALL, **stack, "lr": 1e-4})
    heir.restore(donor.save(str(tmp_path)))
    assert_same(donor.algo.get_policy().get_weights(), heir.algo.get_policy().get_weights())
    (optimizer,) = heir.algo.get_policy()._optimizers
    assert [group["lr"] for group in optimizer.param_groups] == [1e-4]
