"""Algorithms of RLlib as trainables; nothing here starts Ray."""

from __future__ import annotations

import pickle
import subprocess
import sys

import cloudpickle
import pytest

import tuner as tune
from tuner.errors import ConfigError, TrainableError
from tuner.placement import PlacementGroupFactory
from tuner.trainable.registry import get_trainable
from tuner.trainable.wrappers import resources_for, resources_vary, trainable_name

ppo = pytest.importorskip("ray.rllib.algorithms.ppo")


class MyPPO(ppo.PPO):
    """An algorithm of the user's."""


def run(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_name_and_its_class_are_the_same_trainable():
    trainable = get_trainable("PPO")
    assert trainable is get_trainable(ppo.PPO)
    assert trainable.algorithm is ppo.PPO
    assert trainable_name(trainable) == "PPO"
    assert trainable.uses_ray
    assert not tune.Trainable.uses_ray


def test_a_class_of_the_users():
    assert trainable_name(get_trainable(MyPPO)) == "MyPPO"
    tune.register_trainable("mine", MyPPO)
    assert get_trainable("mine").algorithm is MyPPO


@pytest.mark.parametrize("name", ["APPO", "BC", "DQN", "IMPALA", "SAC"])
def test_any_algorithm(name):
    assert issubclass(get_trainable(name), tune.Trainable)


def test_an_algorithm_that_is_gone_says_what_there_is():
    with pytest.raises(
        TrainableError, match=r"no algorithm 'PG' any more; it has APPO, .*PPO, SAC"
    ):
        get_trainable("PG")


def test_a_wrong_name_says_what_is_near():
    with pytest.raises(TrainableError, match=r"registered as 'PP0' .*did you mean 'PPO'"):
        get_trainable("PP0")


def test_a_config_is_no_trainable():
    with pytest.raises(TrainableError, match="is no algorithm of RLlib; give a name such as 'PPO'"):
        get_trainable(ppo.PPOConfig())


def test_a_pickle_of_it_refers_to_the_algorithm_by_name():
    content = cloudpickle.dumps(get_trainable("PPO"))
    assert b"ray.rllib.algorithms.ppo" in content
    assert b"training_step" not in content  # nor any other code of it
    loaded = pickle.loads(content)
    assert loaded.algorithm is ppo.PPO


def test_environments_travel_with_it(tmp_path):
    """To a process that knows nothing of them."""
    tune.register_env("corridor-for-pickling", lambda env_config: ("corridor", env_config))
    file = tmp_path / "trainable.pkl"
    file.write_bytes(cloudpickle.dumps(get_trainable("PPO")))
    code = f"""
import pickle
pickle.load(open({str(file)!r}, "rb"))
from ray.tune.registry import ENV_CREATOR, _global_registry
print(_global_registry.get(ENV_CREATOR, "corridor-for-pickling")(3))
"""
    assert run(code) == "('corridor', 3)\n"


def test_the_name_alone_imports_ray():
    code = """
import sys
import tuner as tune, tuner.integrations.rllib
tune.register_env
tune.Tuner(lambda config: None)
assert "ray" not in sys.modules
"""
    run(code)


def test_without_rllib_the_error_names_the_extra():
    code = """
import sys
sys.modules["ray"] = None
import tuner as tune
from tuner.errors import MissingDependencyError
try:
    tune.Tuner("PPO")
except MissingDependencyError as error:
    print(error)
"""
    assert "pip install 'tuner[rllib]'" in run(code)


def test_resources_are_those_that_the_algorithm_asks_for():
    trainable = get_trainable("PPO")
    assert resources_vary(trainable)
    asked = resources_for(trainable, {"num_workers": 4, "num_cpus": 2, "num_gpus_per_worker": 0.5})
    env_runner = {"CPU": 1.0, "GPU": 0.5}
    assert asked == PlacementGroupFactory([{"CPU": 2.0}, *[env_runner] * 4])
    assert resources_for(trainable, {"num_workers": 0, "num_gpus": 1}).bundles == [
        {"CPU": 1.0, "GPU": 1.0}
    ]


def test_resources_of_learners_and_of_a_process_that_needs_none():
    config = {"num_workers": 1, "num_learners": 2, "num_cpus": 0, "placement_strategy": "SPREAD"}
    assert resources_for(get_trainable("PPO"), config) == PlacementGroupFactory(
        [{}, {"CPU": 1}, {"CPU": 1}, {"CPU": 1}], strategy="SPREAD"
    )


def test_resources_of_the_users_win():
    trainable = tune.with_resources(ppo.PPO, {"cpu": 3})
    assert resources_for(trainable, {"num_workers": 4}).required_resources == {"CPU": 3.0}


def test_env_runners_are_waited_for_unless_told_otherwise():
    ppo = get_trainable("PPO")
    assert ppo.settings_for({}).sample_timeout_s is None
    assert ppo.settings_for({"sample_timeout_s": 5.0}).sample_timeout_s == 5.0
    assert ppo.settings_for({}).delay_between_env_runner_restarts_s == 1.0
    delayed = ppo.settings_for({"delay_between_worker_restarts_s": 60.0})
    assert delayed.delay_between_env_runner_restarts_s == 60.0


@pytest.mark.parametrize(
    "config",
    [
        {"sgd_minibatch_size": 500, "train_batch_size": 100},
        {"num_workers": "two"},
        {"horizon": 20},
        {"num_gpus": 2.5},
        {"callbacks": {"on_episode_end": len}},
    ],
)
def test_values_that_make_no_algorithm_are_left_to_the_trial(config):
    assert resources_for(get_trainable("PPO"), config).bundles == [{"CPU": 1.0}]


def test_a_wrong_key_is_found_before_anything_runs():
    with pytest.raises(ConfigError, match="did you mean 'num_workers'"):
        tune.Tuner("PPO", param_space={"num_workrs": tune.choice([1, 2])})


def test_a_constant_that_means_nothing_today_is_found_before_anything_runs():
    lr = tune.loguniform(1e-5, 1e-3)
    with pytest.raises(ConfigError, match=r"'framework'\]='tf' means nothing"):
        tune.Tuner("PPO", param_space={"lr": lr, "framework": "tf"})
    for space in ({"callbacks": {"on_episode_end": len}}, {"multiagent": {"policiez": {}}}):
        with pytest.raises(ConfigError, match=f"param_space.'{next(iter(space))}'"):
            tune.Tuner("PPO", param_space={"lr": lr, **space})
    stack = tune.choice([True, False])
    tune.Tuner("PPO", param_space={"enable_rl_module_and_learner": stack, "framework": "tf"})


def test_an_algorithm_config_of_another_algorithm_is_refused():
    with pytest.raises(ConfigError, match="PPO has no such setting"):
        tune.Tuner("PPO", param_space=tune_of("DQN"))


def test_what_is_neither_config_nor_dictionary_is_refused():
    with pytest.raises(ConfigError, match="param_space=3 must be a dictionary"):
        tune.Tuner("PPO", param_space=3)


def tune_of(name):
    """The `AlgorithmConfig` of an algorithm, with a setting that only that one has."""
    return get_trainable(name).algorithm.get_default_config().training(n_step=3)
