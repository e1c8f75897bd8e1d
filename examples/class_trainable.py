"""A class trainable that is saved, fails once, and goes on from its last checkpoint.

python examples/class_trainable.py
python examples/class_trainable.py --smoke-test
"""

import argparse
import json
from pathlib import Path

from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

import tuner as tune


class LogisticRegression(tune.Trainable):
    """Trains a linear classifier, one pass over the data per step."""

    def setup(self, config):
        x, y = load_breast_cancer(return_X_y=True)
        x = StandardScaler().fit_transform(x)
        split = train_test_split(x, y, test_size=0.3, random_state=0)
        self.x_train, self.x_val, self.y_train, self.y_val = split
        self.model = SGDClassifier(loss="log_loss", alpha=config["alpha"], random_state=0)

    def step(self):
        if self.config["fails"] and self.iteration == 5 and not Path("has_failed").exists():
            Path("has_failed").touch()
            raise RuntimeError("the machine was taken away")
        self.model.partial_fit(self.x_train, self.y_train, classes=[0, 1])
        return {"accuracy": self.model.score(self.x_val, self.y_val)}

    def save_checkpoint(self, checkpoint_dir):
        weights = {"coef": self.model.coef_.tolist(), "intercept": self.model.intercept_.tolist()}
        Path(checkpoint_dir, "weights.json").write_text(json.dumps(weights))

    def load_checkpoint(self, checkpoint_dir):
        weights = json.loads(Path(checkpoint_dir, "weights.json").read_text())
        self.model.partial_fit(self.x_train[:2], self.y_train[:2], classes=[0, 1])
        self.model.coef_[:] = weights["coef"]
        self.model.intercept_[:] = weights["intercept"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--smoke-test", action="store_true", help="fewer iterations")
    iterations = 8 if parser.parse_args().smoke_test else 30

    results = tune.Tuner(
        LogisticRegression,
        param_space={
            "alpha": tune.grid_search([1e-4, 1e-2, 1.0]),
            "fails": tune.sample_from(lambda spec: spec.config.alpha == 1e-2),
        },
        tune_config=tune.TuneConfig(metric="accuracy", mode="max"),
        run_config=tune.RunConfig(
            stop={"training_iteration": iterations},
            failure_config=tune.FailureConfig(max_failures=1),
            checkpoint_config=tune.CheckpointConfig(
                checkpoint_frequency=2, checkpoint_at_end=True, num_to_keep=2
            ),
        ),
    ).fit()

    for result in results:
        kept = [Path(checkpoint.path).name for checkpoint, _ in result.best_checkpoints]
        failed = " after one failure" if Path(result.path, "error.txt").exists() else ""
        print(
            f"alpha={result.config['alpha']:g}: accuracy {result.metrics['accuracy']:.3f} at "
            f"iteration {result.metrics['training_iteration']}{failed}, kept {kept}"
        )
    print(f"Best: alpha={results.get_best_result().config['alpha']:g}")


if __name__ == "__main__":
    main()
