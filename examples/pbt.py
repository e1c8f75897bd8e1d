"""Population based training of a class: the learning rate and the penalty change while it trains.

python examples/pbt.py               # half a minute
python examples/pbt.py --smoke-test
"""

import argparse
from pathlib import Path

import joblib
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

import tuner as tune
from tuner.schedulers import PopulationBasedTraining


class DigitClassifier(tune.Trainable):
    """A linear classifier; the model travels from trial to trial, hyperparameters are set anew."""

    def setup(self, config):
        images, digits = load_digits(return_X_y=True)
        self.x, self.x_val, self.y, self.y_val = train_test_split(
            images / 16, digits, test_size=0.3, random_state=0
        )
        self.model = SGDClassifier(loss="log_loss", learning_rate="constant", random_state=0)

    def step(self):
        self.model.set_params(eta0=self.config["eta0"], alpha=self.config["alpha"])
        self.model.partial_fit(self.x, self.y, classes=range(10))
        return {
            "loss": log_loss(self.y_val, self.model.predict_proba(self.x_val)),
            "eta0": self.config["eta0"],
        }

    def save_checkpoint(self, checkpoint_dir):
        joblib.dump(self.model, Path(checkpoint_dir, "model.joblib"))

    def load_checkpoint(self, checkpoint_dir):
        self.model = joblib.load(Path(checkpoint_dir, "model.joblib"))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke-test", action="store_true", help="fewer trials and iterations")
    smoke_test = parser.parse_args().smoke_test
    trials, iterations, interval = (4, 12, 3) if smoke_test else (8, 60, 5)

    results = tune.Tuner(
        DigitClassifier,
        # What the param_space leaves out is drawn from the mutations.
        tune_config=tune.TuneConfig(
            metric="loss",
            mode="min",
            num_samples=trials,
            seed=0,
            scheduler=PopulationBasedTraining(
                time_attr="training_iteration",
                perturbation_interval=interval,
                hyperparam_mutations={
                    "eta0": tune.loguniform(1e-4, 1),
                    "alpha": [1e-6, 1e-5, 1e-4, 1e-3],
                },
                quantile_fraction=0.5,
                synch=True,
            ),
        ),
        run_config=tune.RunConfig(
            stop={"training_iteration": iterations},
            checkpoint_config=tune.CheckpointConfig(num_to_keep=2),
        ),
    ).fit()

    best = results.get_best_result()
    exploits = Path(results.experiment_path, "pbt_global.txt").read_text().splitlines()
    print(f"\nTrials that went on from a better one: {len(exploits)} times")
    print("Learning rates of the best trial:")
    print(" ".join(f"{row['eta0']:.3g}" for row in best.history()[::interval]))
    print(f"Best loss: {best.metrics['loss']:.4f}")
    print(f"All results are in {results.experiment_path}")


if __name__ == "__main__":
    main()
