"""Population based training of a function: it reports a checkpoint at each interval.

python examples/pbt_function.py               # about ten seconds
python examples/pbt_function.py --smoke-test
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import tuner as tune
from tuner.schedulers import PopulationBasedTraining

HIDDEN = 32


def train(config):
    """A network of one hidden layer, trained by stochastic gradient descent with momentum."""
    images, digits = load_digits(return_X_y=True)
    x, x_val, y, y_val = train_test_split(images / 16, digits, test_size=0.3, random_state=0)
    rng = np.random.default_rng()  # a trial that goes on sees other batches
    state = {
        "w1": np.random.default_rng(0).normal(0, 0.1, (64, HIDDEN)),
        "w2": np.random.default_rng(1).normal(0, 0.1, (HIDDEN, 10)),
        "v1": np.zeros((64, HIDDEN)),
        "v2": np.zeros((HIDDEN, 10)),
        "epoch": np.array(0),
    }
    checkpoint = tune.get_checkpoint()
    if checkpoint is not None:
        with checkpoint.as_directory() as folder, np.load(Path(folder, "state.npz")) as saved:
            state = dict(saved)

    while state["epoch"] < config["epochs"]:
        for batch in np.array_split(rng.permutation(len(x)), 20):
            descend(state, x[batch], y[batch], config)
        state["epoch"] = state["epoch"] + 1
        metrics = {"loss": loss(state, x_val, y_val), "lr_now": config["lr"]}
        if state["epoch"] % config["interval"]:
            tune.report(metrics)
            continue
        with tempfile.TemporaryDirectory() as folder:
            np.savez(Path(folder, "state.npz"), **state)
            tune.report(metrics, checkpoint=tune.Checkpoint.from_directory(folder))


def descend(state, x, y, config):
    hidden, p = forward(state, x)
    p[np.arange(len(y)), y] -= 1
    p /= len(y)
    back = p @ state["w2"].T * (hidden > 0)
    for weight, speed, gradient in (("w1", "v1", x.T @ back), ("w2", "v2", hidden.T @ p)):
        state[speed] = config["momentum"] * state[speed] - config["lr"] * gradient
        state[weight] = state[weight] + state[speed]


def forward(state, x):
    hidden = np.maximum(x @ state["w1"], 0)
    scores = hidden @ state["w2"]
    p = np.exp(scores - scores.max(axis=1, keepdims=True))
    return hidden, p / p.sum(axis=1, keepdims=True)


def loss(state, x, y):
    _, p = forward(state, x)
    return float(-np.log(p[np.arange(len(y)), y] + 1e-12).mean())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke-test", action="store_true", help="fewer trials and epochs")
    smoke_test = parser.parse_args().smoke_test
    trials, epochs, interval = (4, 24, 3) if smoke_test else (8, 40, 4)

    results = tune.Tuner(
        train,
        param_space={"epochs": epochs, "interval": interval, "momentum": 0.5},
        tune_config=tune.TuneConfig(
            metric="loss",
            mode="min",
            num_samples=trials,
            seed=0,
            scheduler=PopulationBasedTraining(
                time_attr="training_iteration",
                perturbation_interval=interval,
                hyperparam_mutations={
                    "lr": tune.loguniform(1e-3, 1),
                    "momentum": [0.0, 0.5, 0.9, 0.99],
                },
            ),
        ),
        run_config=tune.RunConfig(stop={"training_iteration": epochs}),
    ).fit()

    best = results.get_best_result()
    policies = sorted(Path(results.experiment_path).glob("pbt_policy_*.txt"))
    print(f"\nBest loss: {best.metrics['loss']:.4f}")
    print(f"Schedules for examples/pbt_replay.py: {len(policies)}")
    for policy in policies:
        print(policy)
    print(f"All results are in {results.experiment_path}")


if __name__ == "__main__":
    main()
