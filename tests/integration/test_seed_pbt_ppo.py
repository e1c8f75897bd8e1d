"""The sample of PBT, PPO and MLflow, put together from its own snippets: only imports differ."""

from __future__ import annotations

import json
import sqlite3
import textwrap
from pathlib import Path

import pytest
from fit_helpers import run_script

pytest.importorskip("ray.rllib")
pytest.importorskip("mlflow")
pytest.importorskip("tuner.integrations.mlflow")

IMPORTS = """
    import random

    import mlflow
    import ray
    from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

    import tuner as air
    import tuner as tune
    from tuner.integrations.mlflow import MLflowLoggerCallback
    from tuner.schedulers import PopulationBasedTraining
"""

# Around the snippets. Their numbers are made small by what they are replaced with below.
BEFORE = """
    env_name, num_tune_samples = "CartPole-v1", 2
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    mlflow.set_tracking_uri("sqlite:///mlflow.db")
    mlflow.set_experiment("pbt_ppo")
    current_run = mlflow.start_run()

    def explore(config):
        if config["train_batch_size"] < config["sgd_minibatch_size"] * 2:
            config["train_batch_size"] = config["sgd_minibatch_size"] * 2
        if config["num_sgd_iter"] < 1:
            config["num_sgd_iter"] = 1
        return config
"""

SNIPPETS = """
    hyperparam_mutations = {
        "lambda": lambda: random.uniform(0.9, 1.0),
        "clip_param": lambda: random.uniform(0.01, 0.5),
        "lr": [1e-3, 5e-4, 1e-4, 5e-5, 1e-5],
        "num_sgd_iter": lambda: random.randint(1, 30),
        "sgd_minibatch_size": lambda: random.randint(128, 16384),
        "train_batch_size": lambda: random.randint(2000, 160000),
    }

    pbt = PopulationBasedTraining(
        time_attr="time_total_s",
        perturbation_interval=120,
        resample_probability=0.25,
        hyperparam_mutations=hyperparam_mutations,
        custom_explore_fn=explore,
    )

    stopping_criteria = {"training_iteration": 100, "episode_reward_mean": 300}

    tuner = tune.Tuner(
        # the algorithm/trainable to be tuned
        "PPO",
        tune_config=tune.TuneConfig(
            metric="episode_reward_mean",
            mode="max",
            scheduler=pbt,
            # the number of hyperparameters to sample
            num_samples=num_tune_samples,
        ),
        param_space={
            "env": env_name,
            "kl_coeff": 1.0,
            "num_workers": 4,
            "num_cpus": 1,  # number of CPUs to use per trial
            "num_gpus": 0,  # number of GPUs to use per trial
            # avoid this for non-continuous action spaces
            "model": {"free_log_std": True},
            # These params are tuned from a fixed starting value.
            "lambda": 0.95,
            "clip_param": 0.2,
            "lr": 1e-4,
            # These params start off randomly drawn from a set.
            "num_sgd_iter": tune.choice([10, 20, 30]),
            "sgd_minibatch_size": tune.choice([128, 512, 2048]),
            "train_batch_size": tune.choice([10000, 20000, 40000]),
        },
        # MLFlow callback uses parent_run_id and tracks all hyperparameter
        # runs as child jobs
        run_config=air.RunConfig(
            stop=stopping_criteria,
            callbacks=[
                MLflowLoggerCallback(
                    tags={MLFLOW_PARENT_RUN_ID: current_run.info.run_id},
                    experiment_name="pbt_ppo",
                    save_artifact=True,
                )
            ],
        ),
    )
"""

AFTER = """
    results = tuner.fit()
    mlflow.end_run()
    assert not results.errors, results.errors
    print(results.experiment_path)
    print(current_run.info.run_id)
"""

SMALL = {
    '"num_workers": 4': '"num_workers": 1',
    '"CartPole-v1"': '"Pendulum-v1"',  # its actions are continuous
    '"training_iteration": 100': '"training_iteration": 2',
    "[10, 20, 30]": "[1, 2]",
    "[128, 512, 2048]": "[128, 200]",
    "[10000, 20000, 40000]": "[401, 500]",
    "randint(1, 30)": "randint(1, 3)",
    "randint(128, 16384)": "randint(128, 300)",
    "randint(2000, 160000)": "randint(400, 600)",
}


def test_the_sample(tmp_path: Path) -> None:
    script = "".join(map(textwrap.dedent, (IMPORTS, BEFORE, SNIPPETS, AFTER)))
    for large, small in SMALL.items():
        assert large in script
        script = script.replace(large, small)
    *_, folder, parent = run_script(script, tmp_path).split()

    trials = sorted(Path(folder).glob("PPO_*"))
    assert len(trials) == 2
    for trial in trials:
        results = [json.loads(line) for line in (trial / "result.json").read_text().splitlines()]
        assert results[-1]["training_iteration"] == 2
        assert results[-1]["num_healthy_workers"] == 1
        assert results[0]["episode_reward_mean"] <= 0
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        children = database.execute(
            "SELECT runs.status FROM runs JOIN tags ON runs.run_uuid = tags.run_uuid "
            "WHERE tags.key = 'mlflow.parentRunId' AND tags.value = ?",
            [parent],
        ).fetchall()
    assert children == [("FINISHED",)] * 2
