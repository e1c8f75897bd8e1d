"""One script on this machine, or on a Ray cluster: only `ray.init` differs.

    python examples/local_to_ray.py                         # processes of this machine
    python examples/local_to_ray.py --ray                   # a Ray that is started here
    python examples/local_to_ray.py --address 10.0.0.1:6379 # a cluster; "auto": the one here
    python examples/local_to_ray.py --smoke-test

With the same seed all three find the same results.
"""

import argparse
import tempfile
from pathlib import Path

import joblib
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import train_test_split

import tuner as tune


def train_digits(config, data, epochs):
    """Trains a linear classifier that reads handwritten digits."""
    x, x_val, y, y_val = data
    model = SGDClassifier(loss=config["loss"], alpha=config["alpha"])
    for _ in range(epochs):
        model.partial_fit(x, y, classes=range(10))
        with tempfile.TemporaryDirectory() as folder:
            joblib.dump(model, Path(folder, "model.joblib"))
            tune.report(
                {"accuracy": model.score(x_val, y_val)},
                checkpoint=tune.Checkpoint.from_directory(folder),
            )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ray", action="store_true", help="start Ray on this machine")
    parser.add_argument("--address", help="the Ray cluster to run on")
    parser.add_argument("--smoke-test", action="store_true", help="fewer trials and epochs")
    args = parser.parse_args()

    if args.ray or args.address:
        import ray

        ray.init(args.address or "local")  # trials run there from now on

    images, digits = load_digits(return_X_y=True)
    data = train_test_split(images / 16, digits, test_size=0.3, random_state=0)
    results = tune.Tuner(
        tune.with_parameters(train_digits, data=data, epochs=3 if args.smoke_test else 20),
        param_space={
            "alpha": tune.loguniform(1e-6, 1e-1),
            "loss": tune.choice(["hinge", "log_loss"]),
        },
        tune_config=tune.TuneConfig(
            metric="accuracy", mode="max", num_samples=4 if args.smoke_test else 50, seed=3
        ),
        run_config=tune.RunConfig(checkpoint_config=tune.CheckpointConfig(num_to_keep=1)),
    ).fit()

    best = results.get_best_result()
    with best.checkpoint.as_directory() as folder:
        model = joblib.load(Path(folder, "model.joblib"))
    print(f"\nBest configuration: {best.config}")
    print(f"Accuracy of its checkpoint: {model.score(data[1], data[3]):.4f}")
    print(f"Files: {results.experiment_path}")


if __name__ == "__main__":
    main()
