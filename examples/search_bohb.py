"""BOHB: HyperBand stops bad networks early, and a model of what was good proposes the next ones.

python examples/search_bohb.py               # half a minute
python examples/search_bohb.py --smoke-test  # the smallest band

It needs `pip install 'tuner[bohb]'`, for which a C compiler must be there.
"""

import argparse
from pathlib import Path
from statistics import median

import joblib
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

import tuner as tune
from tuner.integrations.bohb import TuneBOHB
from tuner.schedulers import HyperBandForBOHB


class DigitNetwork(tune.Trainable):
    """A network that reads digits; it is saved when it pauses at a rung, and goes on from there."""

    def setup(self, config):
        images, digits = load_digits(return_X_y=True)
        self.x, self.x_val, self.y, self.y_val = train_test_split(
            images / 16, digits, test_size=0.3, random_state=0
        )
        self.model = MLPClassifier(
            hidden_layer_sizes=[config["units"]],
            solver=config["solver"]["name"],
            momentum=config["solver"].get("momentum", 0.9),
            learning_rate_init=config["lr"],
            random_state=0,
        )

    def step(self):
        self.model.partial_fit(self.x, self.y, classes=range(10))
        return {"accuracy": self.model.score(self.x_val, self.y_val)}

    def save_checkpoint(self, checkpoint_dir):
        joblib.dump(self.model, Path(checkpoint_dir, "model.joblib"))

    def load_checkpoint(self, checkpoint_dir):
        self.model = joblib.load(Path(checkpoint_dir, "model.joblib"))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke-test", action="store_true", help="a small band")
    is_small = parser.parse_args().smoke_test

    results = tune.Tuner(
        DigitNetwork,
        param_space={
            "lr": tune.loguniform(1e-5, 1),
            "units": tune.qlograndint(8, 128, 8),
            "solver": tune.choice(
                [{"name": "adam"}, {"name": "sgd", "momentum": tune.uniform(0, 0.99)}]
            ),
        },
        tune_config=tune.TuneConfig(
            metric="accuracy",
            mode="max",
            num_samples=14 if is_small else 100,
            search_alg=TuneBOHB(),
            scheduler=HyperBandForBOHB(max_t=3 if is_small else 27),
            seed=3,
        ),
        run_config=tune.RunConfig(checkpoint_config=tune.CheckpointConfig(num_to_keep=1)),
    ).fit()

    epochs = [result.metrics["training_iteration"] for result in results]
    rates = [result.config["lr"] for result in results]
    part = len(rates) // 4
    print(f"\nEpochs trained: {sum(epochs)}; at most {max(epochs)} for one network")
    print(f"Median lr of the first {part} trials: {median(rates[:part]):.4g}")
    print(f"Median lr of the last {part} trials: {median(rates[-part:]):.4g}")
    best = results.get_best_result()
    print(f"Best accuracy: {best.metrics['accuracy']:.4f} with {best.config}")
    print(f"Files: {results.experiment_path}")


if __name__ == "__main__":
    main()
