"""`tune.run` and `run_experiments` on Ray, from inside a cluster and from outside."""

import pytest
from fit_helpers import run_script

pytest.importorskip("ray")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::FutureWarning")]

SEVERAL = """
import os
import ray
import tuner as tune

def meet(config):
    open(os.path.join(config["folder"], str(os.getpid())), "w").close()
    while len(os.listdir(config["folder"])) < 2:
        tune.report({"met": False})
    return {"met": True}

if __name__ == "__main__":
    ray.init("local", num_cpus=2, include_dashboard=False)
    folder = os.path.abspath("meeting")
    os.mkdir(folder)
    spec = {"run": meet, "config": {"folder": folder}}
    trials = tune.run_experiments({"a": spec, "b": spec}, verbose=0)
    print([trial.last_result["met"] for trial in trials])
"""


def test_several_experiments_share_a_cluster(tmp_path):
    assert "[True, True]" in run_script(SEVERAL, tmp_path)


PG = """
import ray
import tuner as tune

if __name__ == "__main__":
    ray.init("local", num_cpus=4, include_dashboard=False)
    space = {"env": "CartPole-v1", "num_env_runners": 0}
    (first,) = tune.run(
        "PG", name="Original", stop={"training_iteration": 1}, checkpoint_freq=1, config=space
    ).trials
    (again,) = tune.run(
        "PG",
        name="RestoredExp",
        stop={"training_iteration": 2},
        restore=first.path + "/checkpoint_000000/checkpoint-1",
        config=space,
    ).trials
    print(again.trainable_name, again.num_results, again.last_result["training_iteration"])
    print(again.last_result["timesteps_total"] == 2 * first.last_result["timesteps_total"])
"""


def test_an_algorithm_that_rllib_no_longer_has_and_a_restore_of_it(tmp_path):
    pytest.importorskip("gymnasium")
    output = run_script(PG, tmp_path)
    assert "PPO 1 2\nTrue\n" in output
