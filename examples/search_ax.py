"""Ax looks for forests of decision trees that are both right and small.

    python examples/search_ax.py               # about a minute
    python examples/search_ax.py --smoke-test

The forests tell three kinds of wine apart. There are two objectives, so the answer is not one
forest: it is those that no other one beats in both. Needs: pip install "tuner[ax]"
"""

import argparse

from sklearn.datasets import load_wine
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import cross_val_score

import tuner as tune
from tuner.integrations.ax import AxSearch


def train_forest(config):
    """The share of wines told rightly, in five parts that were each left out, and the leaves."""
    x, y = load_wine(return_X_y=True)
    forest = RandomForestClassifier(
        n_estimators=config["trees"],
        max_leaf_nodes=config["leaves"],
        max_features=config["features"],
        random_state=0,
    )
    accuracy = cross_val_score(forest, x, y, cv=5).mean()
    return {"accuracy": accuracy, "size": config["trees"] * config["leaves"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke-test", action="store_true", help="fewer trials")
    smoke_test = parser.parse_args().smoke_test

    results = tune.Tuner(
        train_forest,
        param_space={
            "trees": tune.lograndint(1, 65),
            "leaves": tune.randint(2, 17),
            "features": tune.uniform(0.1, 1.0),
        },
        tune_config=tune.TuneConfig(
            metric=["accuracy", "size"],
            mode=["max", "min"],
            num_samples=7 if smoke_test else 25,
            search_alg=AxSearch(),
            max_concurrent_trials=1,
            seed=1,
        ),
    ).fit()

    front = sorted(results.get_pareto_front(), key=lambda result: result.metrics["size"])
    print("\nForests that no other one beats in both:")
    for result in front:
        print(f"{result.metrics['size']:5d} leaves: accuracy {result.metrics['accuracy']:.4f}")
    print(f"Files: {results.experiment_path}")


if __name__ == "__main__":
    main()
