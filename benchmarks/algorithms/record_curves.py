"""Records real learning curves, for `saved_compute.py` to try schedulers on.

    python benchmarks/algorithms/record_curves.py   # some minutes; writes curves/*.parquet

Each of two data sets that come with scikit-learn is learned by 81 random configurations, each for
81 epochs to its end, whatever comes of it. After every epoch the accuracy on the validation part
is recorded.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

import tuner as tune

CURVES = Path(__file__).parent / "curves"
NUM_TRIALS = NUM_EPOCHS = 81


def digits(config: dict[str, Any]) -> MLPClassifier:
    """A network for handwritten digits."""
    return MLPClassifier(
        hidden_layer_sizes=[config["units"]] * config["layers"],
        learning_rate_init=config["lr"],
        alpha=config["alpha"],
        batch_size=config["batch_size"],
        random_state=config["seed"],
    )


def breast_cancer(config: dict[str, Any]) -> SGDClassifier:
    """A linear model for tumours."""
    return SGDClassifier(
        loss=config["loss"],
        penalty="elasticnet",
        alpha=config["alpha"],
        l1_ratio=config["l1_ratio"],
        learning_rate="constant",
        eta0=config["eta0"],
        random_state=config["seed"],
    )


# For each data set: how to load it, its model, and the space of configurations.
TASKS: dict[str, Any] = {
    "digits": (
        load_digits,
        digits,
        {
            "lr": tune.loguniform(1e-5, 1e-1),
            "alpha": tune.loguniform(1e-6, 1e1),
            "layers": tune.choice([1, 2, 3]),
            "units": tune.qlograndint(4, 64, 4),
            "batch_size": tune.choice([16, 32, 64, 128]),
            "seed": tune.randint(0, 1000),
        },
    ),
    "breast_cancer": (
        load_breast_cancer,
        breast_cancer,
        {
            "loss": tune.choice(["log_loss", "hinge", "modified_huber"]),
            "alpha": tune.loguniform(1e-6, 1e1),
            "l1_ratio": tune.uniform(0, 1),
            "eta0": tune.loguniform(1e-6, 1e1),
            "seed": tune.randint(0, 1000),
        },
    ),
}


def record(task: str, folder: str) -> None:
    """Trains all configurations of a data set and keeps what `LearningCurves` reads."""
    load, model_of, space = TASKS[task]
    data, labels = load(return_X_y=True)
    x_train, x_val, y_train, y_val = train_test_split(
        data, labels, test_size=0.5, random_state=0, stratify=labels
    )
    scaler = StandardScaler().fit(x_train)
    x_train, x_val = scaler.transform(x_train), scaler.transform(x_val)

    def train(config: dict[str, Any]) -> None:
        model = model_of(config)
        for _ in range(NUM_EPOCHS):
            model.partial_fit(x_train, y_train, classes=sorted(set(labels)))
            tune.report({"accuracy": model.score(x_val, y_val), "num_validation": len(y_val)})

    results = tune.Tuner(
        train,
        param_space=space,
        tune_config=tune.TuneConfig(num_samples=NUM_TRIALS, seed=1),
        run_config=tune.RunConfig(name=task, storage_path=folder),
    ).fit()
    table = pq.read_table(Path(results.experiment_path) / "results.parquet")
    own = ["trial_id", "training_iteration", "time_this_iter_s", "accuracy", "num_validation"]
    configs = [name for name in table.column_names if name.startswith("config/")]
    CURVES.mkdir(exist_ok=True)
    pq.write_table(table.select(own + configs), CURVES / f"{task}.parquet", compression="zstd")


def main() -> None:
    """Records the data sets that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tasks", nargs="*", default=list(TASKS), help="which data sets")
    with tempfile.TemporaryDirectory() as folder:
        for task in parser.parse_args().tasks:
            record(task, folder)


if __name__ == "__main__":
    main()
