"""Nevergrad looks for neural networks that are both right and small.

    python examples/search_nevergrad.py               # less than a minute
    python examples/search_nevergrad.py --smoke-test  # fewer trials

The networks tell ten digits apart. The result is no single one but the Pareto front: the networks
than which no other is better in one objective without being worse in the other.
Needs: pip install "tuner[demo,nevergrad]"
"""

import argparse
import warnings

from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

import tuner as tune
from tuner.integrations.nevergrad import NevergradSearch

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--smoke-test", action="store_true", help="fewer trials")
smoke_test = parser.parse_args().smoke_test

images, digits = load_digits(return_X_y=True)
x_train, x_val, y_train, y_val = train_test_split(images / 16, digits, random_state=0)


def train_network(config):
    """Trains a network for some epochs, and returns its error and its number of weights."""
    network = MLPClassifier(
        (config["units"],) * config["layers"],
        learning_rate_init=config["lr"],
        max_iter=30,
        random_state=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # 30 epochs are meant to be few
        network.fit(x_train, y_train)
    weights = sum(part.size for part in [*network.coefs_, *network.intercepts_])
    return {"error": 1 - network.score(x_val, y_val), "weights": weights}


results = tune.Tuner(
    train_network,
    param_space={
        "units": tune.lograndint(2, 128),
        "layers": tune.randint(1, 4),
        "lr": tune.loguniform(1e-4, 1e-1),
    },
    tune_config=tune.TuneConfig(
        metric=["error", "weights"],
        mode=["min", "min"],
        num_samples=16 if smoke_test else 100,
        max_concurrent_trials=2,
        # Differential evolution is what Nevergrad recommends for several objectives.
        search_alg=NevergradSearch("TwoPointsDE", {"num_workers": 2}),
        seed=1,
    ),
).fit()

print("\nError   Weights  Configuration")
front = results.get_pareto_front()
for result in sorted(front, key=lambda each: (each.metrics["error"], each.metrics["weights"])):
    error, weights = result.metrics["error"], result.metrics["weights"]
    print(f" {error:.4f} {weights:7d}  {result.config}")
print(f"Files: {results.experiment_path}")
