"""A study that Optuna keeps in a storage of its own, when the experiment is killed and restored."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from fit_helpers import start_script, wait_until

optuna = pytest.importorskip("optuna")

SCRIPT = """
import os, threading
import tuner as tune
from tuner.experiment import snapshots
from tuner.integrations.optuna import OptunaSearch

def train(config):
    with open("../started", "a") as file:
        file.write("started\\n")
    if "HOLD" in os.environ and len(open("../started").readlines()) == 5:
        threading.Event().wait()
    return {"loss": config["x"] ** 2}

if os.environ.get("SNAPSHOTS"):
    snapshots.MIN_GROWTH_BYTES, snapshots.MIN_PERIOD_S, snapshots._COST_SHARE = 1, 0.0, 1.0
if tune.Tuner.can_restore("run"):
    tuner = tune.Tuner.restore("run")
else:
    known = [{"x": 0.5}, {"x": 1.5}, {"x": 2.5}]
    searcher = OptunaSearch(
        storage="sqlite:///optuna.db", points_to_evaluate=known, evaluated_rewards=[0.25, 2.25]
    )
    tuner = tune.Tuner(
        train,
        param_space={"x": tune.uniform(-5, 5)},
        tune_config=tune.TuneConfig(
            metric="loss", mode="min", search_alg=searcher, num_samples=9, seed=5,
            max_concurrent_trials=1,
        ),
        run_config=tune.RunConfig(name="run", storage_path=os.getcwd(), verbose=0),
    )
print("tried", [result.config["x"] for result in tuner.fit()])
"""


def num_started(folder: Path) -> int:
    path = folder / "run" / "started"
    return len(path.read_text().splitlines()) if path.exists() else 0


@pytest.mark.parametrize("snapshots", [False, True], ids=["replay", "snapshot"])
def test_a_restore_goes_on_in_the_study(tmp_path: Path, snapshots: bool) -> None:
    """Nothing is written twice, nothing is tried twice, and nothing is left unfinished."""
    often = {"SNAPSHOTS": "1"} if snapshots else {}
    process = start_script(SCRIPT, tmp_path, "stored", HOLD="1", **often)
    wait_until(lambda: num_started(tmp_path) == 5 or process.poll() is not None)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    process = start_script(SCRIPT, tmp_path, "stored")
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    assert "Skipped telling" not in output
    tried = json.loads(output[output.index("tried") + 5 :])
    assert len(set(tried)) == 9
    assert tried[0] == 2.5

    url = f"sqlite:///{tmp_path}/optuna.db"
    (name,) = optuna.get_all_study_names(url)
    assert name.startswith("tuner ")
    trials = optuna.load_study(study_name=name, storage=url).trials
    assert [trial.params["x"] for trial in trials][:2] == [0.5, 1.5]
    assert sorted(trial.params["x"] for trial in trials) == sorted([0.5, 1.5, *tried])
    assert {trial.state.name for trial in trials} == {"COMPLETE"}
    assert all(trial.value == trial.params["x"] ** 2 for trial in trials)
