"""HyperBand: brackets of trials pause at rungs, the best third goes on from its checkpoint.

python examples/hyperband.py               # a few seconds
python examples/hyperband.py --smoke-test  # the smallest band
"""

import argparse
from collections import Counter
from pathlib import Path

import joblib
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

import tuner as tune
from tuner.schedulers import HyperBandScheduler


class DigitNetwork(tune.Trainable):
    """A network that reads digits; it is saved when it pauses, and goes on from there."""

    def setup(self, config):
        images, digits = load_digits(return_X_y=True)
        self.x, self.x_val, self.y, self.y_val = train_test_split(
            images / 16, digits, test_size=0.3, random_state=0
        )
        self.model = MLPClassifier(
            hidden_layer_sizes=[config["units"]],
            learning_rate_init=config["lr"],
            batch_size=32,
            alpha=config["alpha"],
            random_state=0,
        )

    def step(self):
        self.model.partial_fit(self.x, self.y, classes=range(10))
        return {
            "accuracy": self.model.score(self.x_val, self.y_val),
            "epochs_of_model": self.model.t_ // len(self.x),
        }

    def save_checkpoint(self, checkpoint_dir):
        joblib.dump(self.model, Path(checkpoint_dir, "model.joblib"))

    def load_checkpoint(self, checkpoint_dir):
        self.model = joblib.load(Path(checkpoint_dir, "model.joblib"))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke-test", action="store_true", help="a small band")
    max_t = 3 if parser.parse_args().smoke_test else 27

    brackets = HyperBandScheduler.bracket_table(max_t, reduction_factor=3)
    results = tune.Tuner(
        DigitNetwork,
        param_space={
            "lr": tune.loguniform(1e-4, 1e-1),
            "alpha": tune.loguniform(1e-6, 1),
            "units": tune.qlograndint(8, 128, 8),
        },
        tune_config=tune.TuneConfig(
            metric="accuracy",
            mode="max",
            num_samples=sum(bracket[0][0] for bracket in brackets),  # one band of brackets
            scheduler=HyperBandScheduler(max_t=max_t, reduction_factor=3),
            seed=3,
        ),
        run_config=tune.RunConfig(checkpoint_config=tune.CheckpointConfig(num_to_keep=1)),
    ).fit()

    epochs = [result.metrics["training_iteration"] for result in results]
    first = 0
    print()
    for number, bracket in enumerate(brackets):
        last = first + bracket[0][0]
        ends = ", ".join(f"{n} at {t}" for t, n in sorted(Counter(epochs[first:last]).items()))
        print(f"Bracket {number}, trials {first} to {last - 1}: ended {ends} epochs")
        first = last
    print(f"Epochs trained: {sum(epochs)}; without early stopping: {len(epochs) * max_t}")
    best = results.get_best_result()
    print(f"Best accuracy: {best.metrics['accuracy']:.4f} with {best.config}")
    print(f"Files: {results.experiment_path}")


if __name__ == "__main__":
    main()
