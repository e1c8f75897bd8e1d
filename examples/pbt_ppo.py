"""Population based training of PPO, in which every trial is a child run in MLflow.

python examples/pbt_ppo.py                            # on the Ray cluster that this machine is of
python examples/pbt_ppo.py --test-local               # on this machine alone
python examples/pbt_ppo.py --test-local --smoke-test  # about a minute on two cores
"""

import argparse
import random
import sys

import gymnasium
import mlflow
import ray
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

import tuner as air
import tuner as tune
from tuner.integrations.mlflow import MLflowLoggerCallback
from tuner.schedulers import PopulationBasedTraining


def explore(config):
    """Keeps what was mutated within what PPO can do."""
    # Enough timesteps for an update.
    config["train_batch_size"] = max(config["train_batch_size"], 2 * config["sgd_minibatch_size"])
    config["num_sgd_iter"] = max(config["num_sgd_iter"], 1)
    # Beyond 1, estimates of the advantage diverge.
    config["lambda"] = min(config["lambda"], 1.0)
    return config


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--num-tune-samples", type=int, default=4, help="trials of the population")
    parser.add_argument("--env-name", default="CartPole-v1", help="an environment of gymnasium")
    parser.add_argument(
        "--perturbation-interval", type=float, default=120, help="seconds of training"
    )
    parser.add_argument("--num-workers", type=int, help="that sample, per trial")
    parser.add_argument("--batch-scale", type=float, default=1, help="for small environments: 0.1")
    parser.add_argument("--smoke-test", action="store_true", help="few and small iterations")
    parser.add_argument(
        "--test-local", action="store_true", help="on this machine, MLflow in a file"
    )
    args = parser.parse_args()
    if args.num_workers is None:
        args.num_workers = 1 if args.test_local else 4

    def scaled(size):
        return max(int(size * args.batch_scale), 32)

    hyperparam_mutations = {
        "lambda": lambda: random.uniform(0.9, 1.0),
        "clip_param": lambda: random.uniform(0.01, 0.5),
        "lr": [1e-3, 5e-4, 1e-4, 5e-5, 1e-5],
        "num_sgd_iter": lambda: random.randint(1, 30),
        "sgd_minibatch_size": lambda: random.randint(scaled(128), scaled(16384)),
        "train_batch_size": lambda: random.randint(scaled(2000), scaled(160000)),
    }
    # These params start off randomly drawn from a set.
    start = {
        "num_sgd_iter": tune.choice([10, 20, 30]),
        "sgd_minibatch_size": tune.choice([scaled(128), scaled(512), scaled(2048)]),
        "train_batch_size": tune.choice([scaled(10000), scaled(20000), scaled(40000)]),
    }
    stopping_criteria = {"training_iteration": 100, "episode_reward_mean": 300}
    perturbation_interval = args.perturbation_interval
    if args.smoke_test:
        hyperparam_mutations["num_sgd_iter"] = lambda: random.randint(1, 4)
        hyperparam_mutations["sgd_minibatch_size"] = lambda: random.randint(64, 256)
        hyperparam_mutations["train_batch_size"] = lambda: random.randint(300, 1000)
        start = {
            "num_sgd_iter": tune.choice([2, 4]),
            "sgd_minibatch_size": tune.choice([64, 128]),
            "train_batch_size": tune.choice([300, 600]),
        }
        stopping_criteria["training_iteration"] = 4
        perturbation_interval = 1

    if args.test_local:
        ray.init("local", include_dashboard=False, log_to_driver=False)
        mlflow.set_tracking_uri("sqlite:///mlflow.db")
        mlflow.set_experiment("pbt_ppo")
    else:
        ray.init("auto")

    pbt = PopulationBasedTraining(
        time_attr="time_total_s",
        perturbation_interval=perturbation_interval,
        resample_probability=0.25,
        hyperparam_mutations=hyperparam_mutations,
        custom_explore_fn=explore,
    )
    with mlflow.start_run() as current_run:
        tuner = tune.Tuner(
            "PPO",
            tune_config=tune.TuneConfig(
                metric="episode_reward_mean",
                mode="max",
                scheduler=pbt,
                num_samples=args.num_tune_samples,
                # Members that take turns find a process that has RLlib imported already.
                reuse_actors=True,
            ),
            param_space={
                "env": args.env_name,
                "kl_coeff": 1.0,
                # Each trial takes num_cpus + num_workers CPUs. Without room for all trials at
                # once, PBT trains them in turns.
                "num_workers": args.num_workers,
                "num_cpus": 1,
                "num_gpus": 0,
                # Floating bias variables as the second half of the outputs, in place of
                # state-dependent ones: for continuous actions only.
                "model": {"free_log_std": has_continuous_actions(args.env_name)},
                # These params are tuned from a fixed starting value.
                "lambda": 0.95,
                "clip_param": 0.2,
                "lr": 1e-4,
                **start,
            },
            run_config=air.RunConfig(
                stop=stopping_criteria,
                # Saved at each step, as a step may take longer than a job that is cancelled waits.
                checkpoint_config=air.CheckpointConfig(checkpoint_frequency=1, num_to_keep=2),
                callbacks=[
                    MLflowLoggerCallback(
                        tags={MLFLOW_PARENT_RUN_ID: current_run.info.run_id},
                        experiment_name="pbt_ppo",
                        save_artifact=True,
                    )
                ],
            ),
        )
        results = tuner.fit()
        ended = results.num_terminated + results.num_errors
        if ended < len(results):  # by Ctrl-C or SIGTERM; fit() has said how to go on
            mlflow.end_run("KILLED")
            sys.exit(f"Interrupted: {ended} of {len(results)} trials ended")

    best = results.get_best_result()
    print(f"\nBest episode reward: {best.metrics['episode_reward_mean']:.1f}")
    print("With", {name: best.config[name] for name in hyperparam_mutations})
    print(f"All results are in {results.experiment_path}")
    print(f"MLflow: run {current_run.info.run_id} in {mlflow.get_tracking_uri()}")


def has_continuous_actions(env_name):
    env = gymnasium.make(env_name)
    env.close()
    return isinstance(env.action_space, gymnasium.spaces.Box)


if __name__ == "__main__":
    main()
