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
