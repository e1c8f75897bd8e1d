"""The class API with checkpoints: one trial fails on its way, and goes on where it was saved.

python examples/class_trainable.py               # a few seconds
python examples/class_trainable.py --smoke-test
"""

import argparse
from pathlib import Path

import joblib
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import train_test_split

import tuner as tune


class DigitClassifier(tune.Trainable):
    """A linear classifier that can be saved after each pass over the data."""

    def setup(self, config):
        images, digits = load_digits(return_X_y=True)
        self.x, self.x_val, self.y, self.y_val = train_test_split(
            images / 16, digits, test_size=0.3, random_state=0
        )
        self.model = SGDClassifier(loss=config["loss"], alpha=config["alpha"], random_state=0)
        self.resumed_at = 0

    def step(self):
        if self.config["alpha"] == 1e-3 and self.iteration == 5 and not self.resumed_at:
            raise RuntimeError("this example wants one trial to fail once")
        self.model.partial_fit(self.x, self.y, classes=range(10))
        return {
            "accuracy": self.model.score(self.x_val, self.y_val),
            "resumed_at": self.resumed_at,
        }

    def save_checkpoint(self, checkpoint_dir):
        joblib.dump((self.model, self.iteration), Path(checkpoint_dir, "model.joblib"))

    def load_checkpoint(self, checkpoint_dir):
        self.model, self.resumed_at = joblib.load(Path(checkpoint_dir, "model.joblib"))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke-test", action="store_true", help="fewer trials and iterations")
    smoke_test = parser.parse_args().smoke_test
    iterations = 7 if smoke_test else 25

    results = tune.Tuner(
        DigitClassifier,
        param_space={
            "alpha": tune.grid_search([1e-3, 1e-4] if smoke_test else [1e-2, 1e-3, 1e-4, 1e-5]),
            "loss": tune.choice(["hinge", "log_loss"]),
        },
        tune_config=tune.TuneConfig(metric="accuracy", mode="max", seed=0),
        run_config=tune.RunConfig(
            stop={"training_iteration": iterations},
            failure_config=tune.FailureConfig(max_failures=1),
            checkpoint_config=tune.CheckpointConfig(
                checkpoint_frequency=2,
                checkpoint_at_end=True,
                num_to_keep=3,
                checkpoint_score_attribute="accuracy",
            ),
        ),
    ).fit()

    print("\nTrials that failed once, and where they went on:")
    for result in results:
        metrics = result.metrics
        if metrics["resumed_at"]:
            print(
                f"  trial {metrics['trial_id']}: resumed after iteration {metrics['resumed_at']}, "
                f"ended after iteration {metrics['training_iteration']}"
            )

    best = results.get_best_result(scope="all")
    print(f"\nKept checkpoints of the best trial, {best.config}:")
    for checkpoint, metrics in best.best_checkpoints:
        print(
            f"  {Path(checkpoint.path).name}: iteration {metrics['training_iteration']}, "
            f"accuracy {metrics['accuracy']:.4f}"
        )

    # A class trainable can be used outside of an experiment, too.
    trained = DigitClassifier(best.config)
    trained.restore(best.get_best_checkpoint("accuracy", "max"))
    accuracy = trained.model.score(trained.x_val, trained.y_val)
    print(f"The best of them, loaded again: accuracy {accuracy:.4f}")
    print(f"Files: {results.experiment_path}")


if __name__ == "__main__":
    main()
