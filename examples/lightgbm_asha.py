"""Boosted trees of LightGBM under ASHA: a trial reports each round, and most trials end early.

python examples/lightgbm_asha.py               # less than half a minute
python examples/lightgbm_asha.py --smoke-test
"""

import argparse

import lightgbm
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

import tuner as tune
from tuner.integrations.lightgbm import TuneReportCheckpointCallback
from tuner.schedulers import ASHAScheduler


def load_data():
    """Measurements of tumours, malignant or benign, in three parts."""
    x, y = load_breast_cancer(return_X_y=True)
    x_train, x_rest, y_train, y_rest = train_test_split(x, y, test_size=0.4, random_state=0)
    x_val, x_test, y_val, y_test = train_test_split(x_rest, y_rest, test_size=0.5, random_state=0)
    return {"train": (x_train, y_train), "val": (x_val, y_val), "test": (x_test, y_test)}


def train(config):
    """Boosts trees; a trial that goes on begins with those that it has."""
    params = {**config, "objective": "binary", "verbosity": -1}
    params["metric"] = ["binary_logloss", "binary_error"]
    rounds = params.pop("rounds")
    model, checkpoint = None, tune.get_checkpoint()
    if checkpoint is not None:
        model = TuneReportCheckpointCallback.get_model(checkpoint)
        rounds -= model.current_iteration()
        if rounds == 0:  # it was killed just before it ended
            return
    data = load_data()
    train_set = lightgbm.Dataset(*data["train"])
    metrics = {"loss": "val-binary_logloss", "error": "val-binary_error"}
    lightgbm.train(
        params,
        train_set,
        rounds,
        valid_sets=lightgbm.Dataset(*data["val"], reference=train_set),
        valid_names="val",
        init_model=model,
        callbacks=[TuneReportCheckpointCallback(metrics, frequency=1)],
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke-test", action="store_true", help="fewer trials and rounds")
    trials, rounds = (4, 8) if parser.parse_args().smoke_test else (50, 81)

    results = tune.Tuner(
        train,
        param_space={
            "rounds": rounds,
            "boosting": tune.choice(["gbdt", "goss"]),
            "learning_rate": tune.loguniform(1e-3, 1),
            "num_leaves": tune.lograndint(4, 64),
            "min_data_in_leaf": tune.randint(2, 30),
        },
        tune_config=tune.TuneConfig(
            metric="loss",
            mode="min",
            num_samples=trials,
            scheduler=ASHAScheduler(max_t=rounds, grace_period=1, reduction_factor=3),
            seed=0,
        ),
        run_config=tune.RunConfig(checkpoint_config=tune.CheckpointConfig(num_to_keep=1)),
    ).fit()

    best = results.get_best_result()
    model = TuneReportCheckpointCallback.get_model(best.checkpoint)
    x, y = load_data()["test"]
    accuracy = np.mean((model.predict(x) > 0.5) == y)
    trained = sum(result.metrics["training_iteration"] for result in results)
    print(f"\nRounds trained: {trained}; without early stopping: {trials * rounds}")
    print(f"Best loss: {best.metrics['loss']:.4f} with {best.config}")
    print(f"Accuracy of its {model.current_iteration()} trees on the test part: {accuracy:.4f}")
    print(f"Files: {results.experiment_path}")


if __name__ == "__main__":
    main()
