"""Tunes a neural network that reads handwritten digits: 100 trials, most of them stopped early.

    python examples/quickstart.py               # some seconds on two cores
    python examples/quickstart.py --smoke-test  # a few trials, a few seconds

There is no `if __name__ == "__main__"` below: none is needed.
"""

import argparse
import pickle
import tempfile
from collections import Counter
from pathlib import Path

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

import tuner as tune
from tuner.schedulers import ASHAScheduler

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--smoke-test", action="store_true", help="a few trials only")
smoke_test = parser.parse_args().smoke_test
num_trials, max_epochs = (4, 4) if smoke_test else (100, 81)

# 1797 images of 8 x 8 pixels: 60 % to train on, 20 % to choose the model by, 20 % to test it.
images, digits = load_digits(return_X_y=True)
images = images / 16
x_train, x_rest, y_train, y_rest = train_test_split(images, digits, test_size=0.4, random_state=0)
x_val, x_test, y_val, y_test = train_test_split(x_rest, y_rest, test_size=0.5, random_state=0)


def train_digits(config):
    """Trains one network; after each epoch, reports its accuracy and a copy of it."""
    model = MLPClassifier(
        hidden_layer_sizes=[config["units"]] * config["layers"],
        learning_rate_init=config["lr"],
        alpha=config["alpha"],
        batch_size=config["batch_size"],
    )
    for _ in range(max_epochs):
        model.partial_fit(x_train, y_train, classes=range(10))
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "model.pkl").write_bytes(pickle.dumps(model))
            tune.report(
                {"accuracy": model.score(x_val, y_val), "loss": model.loss_},
                checkpoint=tune.Checkpoint.from_directory(folder),
            )


results = tune.Tuner(
    train_digits,
    param_space={
        "lr": tune.loguniform(1e-4, 1e-1),
        "alpha": tune.loguniform(1e-6, 1e-1),
        "layers": tune.choice([1, 2]),
        "units": tune.qlograndint(8, 128, 8),
        "batch_size": tune.choice([16, 32, 64]),
    },
    tune_config=tune.TuneConfig(
        metric="accuracy",
        mode="max",
        num_samples=num_trials,
        scheduler=ASHAScheduler(max_t=max_epochs, grace_period=1, reduction_factor=3),
        seed=1,
    ),
    run_config=tune.RunConfig(checkpoint_config=tune.CheckpointConfig(num_to_keep=1)),
).fit()

best = results.get_best_result()
with best.checkpoint.as_directory() as folder:
    model = pickle.loads(Path(folder, "model.pkl").read_bytes())

epochs = [result.metrics["training_iteration"] for result in results]
ends = ", ".join(f"{n} after {epoch}" for epoch, n in sorted(Counter(epochs).items()))
print(f"\nTrials by the epoch they ended at: {ends}")
print(f"Epochs trained: {sum(epochs)}; without early stopping: {num_trials * max_epochs}")
print(f"Best configuration: {best.config}")
print(f"Accuracy on the validation part: {best.metrics['accuracy']:.4f}")
print(f"Accuracy on the test part, never seen before: {model.score(x_test, y_test):.4f}")
print(f"Files: {results.experiment_path}")
print(f"Look at them: tensorboard --logdir {results.experiment_path}")
