"""Four neural networks are trained as one population; PB2 finds their learning rates meanwhile.

    python examples/pb2.py               # about half a minute
    python examples/pb2.py --smoke-test

The networks tell ten digits apart. Every two epochs the worst one goes on from the best one's
weights, with the learning rate and the momentum that promise the most by what all have gained.
Needs scikit-learn: pip install "tuner[pb2]"
"""

import argparse
from pathlib import Path

import joblib
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

import tuner as tune
from tuner.schedulers import PB2


class Network(tune.Trainable):
    """One step is one epoch."""

    def setup(self, config):
        images, digits = load_digits(return_X_y=True)
        self.x, self.x_val, self.y, self.y_val = train_test_split(
            images / 16, digits, test_size=0.3, random_state=0
        )
        self.network = MLPClassifier((32,), solver="sgd", random_state=0)

    def step(self):
        self.network.set_params(
            learning_rate_init=self.config["lr"], momentum=self.config["momentum"]
        )
        if hasattr(self.network, "_optimizer"):  # it has begun, and keeps what it began with
            self.network._optimizer.learning_rate = self.config["lr"]
            self.network._optimizer.momentum = self.config["momentum"]
        self.network.partial_fit(self.x, self.y, classes=range(10))
        chances = self.network.predict_proba(self.x_val)[np.arange(len(self.y_val)), self.y_val]
        return {
            "loss": float(-np.log(np.maximum(chances, 1e-12)).mean()),
            "accuracy": self.network.score(self.x_val, self.y_val),
        }

    def save_checkpoint(self, checkpoint_dir):
        joblib.dump(self.network, Path(checkpoint_dir, "network.joblib"))

    def load_checkpoint(self, checkpoint_dir):
        self.network = joblib.load(Path(checkpoint_dir, "network.joblib"))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke-test", action="store_true", help="fewer epochs")
    smoke_test = parser.parse_args().smoke_test

    results = tune.Tuner(
        Network,
        param_space={"lr": tune.loguniform(1e-4, 1e-2)},  # the momentum is drawn from the bounds
        tune_config=tune.TuneConfig(
            metric="loss",
            mode="min",
            num_samples=4,
            seed=1,
            scheduler=PB2(
                time_attr="training_iteration",
                perturbation_interval=2,
                hyperparam_bounds={"lr": tune.loguniform(1e-4, 1.0), "momentum": [0.0, 0.99]},
                synch=True,
            ),
        ),
        run_config=tune.RunConfig(
            stop={"training_iteration": 8 if smoke_test else 40},
            checkpoint_config=tune.CheckpointConfig(num_to_keep=2),
        ),
    ).fit()

    best = results.get_best_result()
    print("\nThe learning rates of the best network, epoch by epoch:")
    print("  " + ", ".join(f"{row['config']['lr']:.2g}" for row in best.history()))
    print(f"Its loss: {best.metrics['loss']:.4f}, its accuracy: {best.metrics['accuracy']:.4f}")
    print(f"Files: {results.experiment_path}")


if __name__ == "__main__":
    main()
