"""A neural network in plain numpy that tells malignant from benign tumours by 30 measurements.

    python examples/numpy_mlp.py               # some seconds
    python examples/numpy_mlp.py --smoke-test

The data are loaded once and given to all trials by `with_parameters`.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from sklearn.datasets import load_breast_cancer

import tuner as tune


def forward(params, x):
    """The hidden layer's values and the probability of class 1 for each row of x."""
    hidden = np.maximum(x @ params["w1"] + params["b1"], 0)
    logits = hidden @ params["w2"] + params["b2"]
    return hidden, 1 / (1 + np.exp(-np.clip(logits, -30, 30)))


def evaluate(params, x, y):
    """Cross-entropy and accuracy."""
    p = np.clip(forward(params, x)[1], 1e-9, 1 - 1e-9)
    loss = -np.mean(y * np.log(p) + (1 - y) * np.log(1 - p))
    return {"loss": loss, "accuracy": np.mean((p > 0.5) == y)}


def gradients(params, x, y, weight_decay):
    """Backpropagation of the mean cross-entropy over a batch."""
    hidden, p = forward(params, x)
    error = (p - y) / len(x)
    error_hidden = np.outer(error, params["w2"]) * (hidden > 0)
    return {
        "w1": x.T @ error_hidden + weight_decay * params["w1"],
        "b1": error_hidden.sum(axis=0),
        "w2": hidden.T @ error + weight_decay * params["w2"],
        "b2": error.sum(),
    }


def train_mlp(config, data, epochs):
    """Trains by stochastic gradient descent; goes on from a checkpoint if there is one."""
    x, y = data["train"]
    units = config["units"]
    params = {
        "w1": np.random.randn(x.shape[1], units) * np.sqrt(2 / x.shape[1]),
        "b1": np.zeros(units),
        "w2": np.random.randn(units) * np.sqrt(1 / units),
        "b2": np.zeros(()),
    }
    first_epoch = 0
    checkpoint = tune.get_checkpoint()
    if checkpoint:
        with checkpoint.as_directory() as folder:
            params = dict(np.load(Path(folder, "params.npz")))
        first_epoch = checkpoint.get_metadata()["epoch"] + 1

    optimizer = config["optimizer"]
    for epoch in range(first_epoch, epochs):
        for batch in np.array_split(np.random.permutation(len(x)), len(x) // optimizer["batch"]):
            slopes = gradients(params, x[batch], y[batch], optimizer["weight_decay"])
            for name, slope in slopes.items():
                params[name] = params[name] - optimizer["lr"] * slope
        with tempfile.TemporaryDirectory() as folder:
            np.savez(Path(folder, "params.npz"), **params)
            checkpoint = tune.Checkpoint.from_directory(folder)
            checkpoint.set_metadata({"epoch": epoch})
            tune.report(evaluate(params, *data["validation"]), checkpoint=checkpoint)


def load_data():
    """Standardized measurements and labels, in three parts."""
    x, y = load_breast_cancer(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    parts = np.split(order, [int(0.6 * len(x)), int(0.8 * len(x))])
    mean, std = x[parts[0]].mean(axis=0), x[parts[0]].std(axis=0)
    names = ("train", "validation", "test")
    return {
        name: ((x[rows] - mean) / std, y[rows]) for name, rows in zip(names, parts, strict=True)
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke-test", action="store_true", help="fewer trials and epochs")
    smoke_test = parser.parse_args().smoke_test

    data = load_data()
    results = tune.Tuner(
        tune.with_parameters(train_mlp, data=data, epochs=5 if smoke_test else 30),
        param_space={
            "units": tune.grid_search([4, 16, 64]),
            "optimizer": {
                "lr": tune.loguniform(1e-3, 1),
                "batch": tune.choice([8, 16, 32]),
                "weight_decay": tune.sample_from(
                    lambda spec: spec.config.optimizer.lr * np.random.uniform(0, 0.1)
                ),
            },
        },
        tune_config=tune.TuneConfig(
            metric="loss", mode="min", num_samples=1 if smoke_test else 8, seed=0
        ),
        run_config=tune.RunConfig(
            checkpoint_config=tune.CheckpointConfig(
                num_to_keep=1, checkpoint_score_attribute="loss", checkpoint_score_order="min"
            )
        ),
    ).fit()

    # The epoch with the smallest loss of each trial, as a pandas frame.
    frame = results.get_dataframe(filter_metric="loss", filter_mode="min")
    print("\nSmallest validation loss by number of units:")
    print(frame.groupby("config/units")["loss"].agg(["count", "min", "median"]).round(4))

    best = results.get_best_result(scope="all")
    checkpoint = best.get_best_checkpoint("loss", "min")
    with checkpoint.as_directory() as folder:
        params = dict(np.load(Path(folder, "params.npz")))
    scores = evaluate(params, *data["test"])
    print(f"\nBest configuration: {best.config}")
    print(f"Its best epoch: {checkpoint.get_metadata()['epoch'] + 1}")
    print(f"On the test part: loss {scores['loss']:.4f}, accuracy {scores['accuracy']:.4f}")
    print(f"Files: {results.experiment_path}")


if __name__ == "__main__":
    main()
