"""A Gaussian process finds the two numbers that a support vector machine needs.

    python examples/search_bayesopt.py               # half a minute
    python examples/search_bayesopt.py --smoke-test

The machine tells ten digits apart. Ten pairs are tried at random, then bayesian-optimization
proposes those of which it expects the most: pip install "tuner[bayesopt]"
"""

import argparse

from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_score
from sklearn.svm import SVC

import tuner as tune
from tuner.integrations.bayesopt import BayesOptSearch


def cross_validate(config):
    """The share of digits told wrongly, in five parts that were each left out once."""
    images, digits = load_digits(return_X_y=True)
    model = SVC(C=config["C"], gamma=config["gamma"])
    return {"error": 1 - cross_val_score(model, images / 16, digits, cv=5).mean()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke-test", action="store_true", help="fewer trials")
    smoke_test = parser.parse_args().smoke_test
    random_steps, num_samples = (3, 6) if smoke_test else (10, 30)

    results = tune.Tuner(
        cross_validate,
        param_space={"C": tune.loguniform(1e-3, 1e3), "gamma": tune.loguniform(1e-5, 10)},
        tune_config=tune.TuneConfig(
            metric="error",
            mode="min",
            num_samples=num_samples,
            search_alg=BayesOptSearch(random_search_steps=random_steps),
            max_concurrent_trials=2,
            seed=1,
        ),
    ).fit()

    errors = [result.metrics["error"] for result in results]
    best = results.get_best_result()
    print(f"\nSmallest error of the first {random_steps}: {min(errors[:random_steps]):.4f}")
    print(f"Smallest error of the others: {min(errors[random_steps:]):.4f}")
    print(f"Best: C={best.config['C']:.3g}, gamma={best.config['gamma']:.3g}")
    print(f"Files: {results.experiment_path}")


if __name__ == "__main__":
    main()
