"""A network in plain numpy; the data is loaded once and shared with all workers.

python examples/numpy_mlp.py
python examples/numpy_mlp.py --smoke-test
"""

import argparse

import numpy as np
from sklearn.datasets import load_wine

import tuner as tune
from tuner.schedulers import ASHAScheduler


def train_network(config, data):
    """Full-batch gradient descent on one hidden layer; reports after every epoch."""
    (x_train, y_train), (x_val, y_val) = data
    rng = np.random.default_rng(0)
    hidden = config["hidden"]
    w1 = rng.normal(0, 1 / np.sqrt(x_train.shape[1]), (x_train.shape[1], hidden))
    w2 = rng.normal(0, 1 / np.sqrt(hidden), (hidden, 3))
    targets = np.eye(3)[y_train]
    for _ in range(config["epochs"]):
        activity = np.tanh(x_train @ w1)
        probabilities = softmax(activity @ w2)
        slope = (probabilities - targets) / len(x_train)
        back = (slope @ w2.T) * (1 - activity**2)
        w2 -= config["lr"] * (activity.T @ slope + config["decay"] * w2)
        w1 -= config["lr"] * (x_train.T @ back + config["decay"] * w1)
        predicted = softmax(np.tanh(x_val @ w1) @ w2)
        tune.report(
            {
                "loss": -np.log(predicted[np.arange(len(y_val)), y_val] + 1e-12).mean(),
                "accuracy": (predicted.argmax(axis=1) == y_val).mean(),
            }
        )


def softmax(scores):
    shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def load_data():
    x, y = load_wine(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    x, y = ((x - x.mean(axis=0)) / x.std(axis=0))[order], y[order]
    return (x[:120], y[:120]), (x[120:], y[120:])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--smoke-test", action="store_true", help="a few trials only")
    trials, epochs = (4, 9) if parser.parse_args().smoke_test else (40, 243)

    results = tune.Tuner(
        tune.with_parameters(train_network, data=load_data()),
        param_space={
            "lr": tune.loguniform(1e-3, 3),
            "decay": tune.loguniform(1e-5, 1e-1),
            "hidden": tune.lograndint(2, 64),
            "epochs": epochs,
        },
        tune_config=tune.TuneConfig(
            metric="loss",
            mode="min",
            num_samples=trials,
            scheduler=ASHAScheduler(max_t=epochs, grace_period=3, reduction_factor=3),
            reuse_actors=True,
            seed=0,
        ),
    ).fit()

    best = results.get_best_result()
    epochs_trained = sum(result.metrics["training_iteration"] for result in results)
    print(f"Epochs trained: {epochs_trained} of {trials * epochs}")
    print(f"Best: loss {best.metrics['loss']:.4f}, accuracy {best.metrics['accuracy']:.3f}")
    print(f"Configuration: {best.config}")


if __name__ == "__main__":
    main()
