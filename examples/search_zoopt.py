"""ZOOpt: a support vector machine that reads digits, tuned without gradients and without a model.

python examples/search_zoopt.py               # some seconds
python examples/search_zoopt.py --smoke-test  # a few trials

It needs `pip install 'tuner[zoopt]'`.
"""

import argparse

from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_score
from sklearn.svm import SVC

import tuner as tune
from tuner.integrations.zoopt import ZOOptSearch

images, digits = load_digits(return_X_y=True)


def train(config):
    """Reports how well a machine reads the digits that it has not seen, in three parts."""
    model = SVC(C=config["C"], gamma=config["gamma"], kernel=config["kernel"])
    scores = cross_val_score(model, images[:600] / 16, digits[:600], cv=3)
    return {"accuracy": scores.mean()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke-test", action="store_true", help="a few trials")
    is_small = parser.parse_args().smoke_test

    results = tune.Tuner(
        train,
        param_space={
            "C": tune.loguniform(1e-3, 1e3),
            "gamma": tune.loguniform(1e-5, 10),
            "kernel": tune.choice(["rbf", "sigmoid"]),
        },
        tune_config=tune.TuneConfig(
            metric="accuracy",
            mode="max",
            num_samples=8 if is_small else 60,
            search_alg=ZOOptSearch(parallel_num=2),
            seed=1,
        ),
    ).fit()

    accuracies = [result.metrics["accuracy"] for result in results]
    print(f"\nBest of the first, random ones: {max(accuracies[:4]):.4f}")
    best = results.get_best_result()
    print(f"Best accuracy: {best.metrics['accuracy']:.4f} with {best.config}")
    print(f"Files: {results.experiment_path}")


if __name__ == "__main__":
    main()
