"""HyperOpt chooses between three kinds of models, each with parameters of its own.

    python examples/search_hyperopt.py               # about a minute
    python examples/search_hyperopt.py --smoke-test  # fewer trials

The models tell ten handwritten digits apart. Needs: pip install "tuner[demo,hyperopt]"
"""

import argparse
from collections import Counter

from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import tuner as tune
from tuner.integrations.hyperopt import HyperOptSearch

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--smoke-test", action="store_true", help="fewer trials")
smoke_test = parser.parse_args().smoke_test

images, digits = load_digits(return_X_y=True)


def make_model(model):
    if model["kind"] == "nearest":
        return KNeighborsClassifier(model["neighbours"])
    if model["kind"] == "logistic":
        return LogisticRegression(C=model["C"])
    return SVC(C=model["C"], gamma=model["gamma"])


def cross_validate(config):
    """Returns the mean accuracy over three folds."""
    pipeline = make_pipeline(StandardScaler(), make_model(config["model"]))
    return {"accuracy": cross_val_score(pipeline, images, digits, cv=3).mean()}


results = tune.Tuner(
    cross_validate,
    param_space={
        # A category may hold domains: only the configurations that choose it have them.
        "model": tune.choice(
            [
                {"kind": "nearest", "neighbours": tune.randint(1, 40)},
                {"kind": "logistic", "C": tune.loguniform(1e-4, 1e2)},
                {
                    "kind": "svm",
                    "C": tune.loguniform(1e-2, 1e3),
                    "gamma": tune.loguniform(1e-5, 1e-1),
                },
            ]
        )
    },
    tune_config=tune.TuneConfig(
        metric="accuracy",
        mode="max",
        num_samples=12 if smoke_test else 60,
        max_concurrent_trials=2,
        search_alg=HyperOptSearch(
            points_to_evaluate=[{"model": {"kind": "logistic", "C": 1.0}}],  # sklearn's default
            n_initial_points=8 if smoke_test else 20,
        ),
        seed=1,
    ),
).fit()

print("\nTrials of each kind:")
for kind, count in Counter(result.config["model"]["kind"] for result in results).items():
    print(f"  {kind}: {count}")
best = results.get_best_result()
print(f"Best accuracy: {best.metrics['accuracy']:.4f} with {best.config['model']}")
print(f"Files: {results.experiment_path}")
