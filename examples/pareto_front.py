"""Two objectives: networks that read handwritten digits well, and that are small.

    python examples/pareto_front.py               # half a minute on two cores
    python examples/pareto_front.py --smoke-test  # a few trials, a few seconds

No single network is best: each one on the Pareto front is the most accurate one of its size.
"""

import argparse

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

import tuner as tune
from tuner.integrations.optuna import OptunaSearch

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--smoke-test", action="store_true", help="a few trials only")
smoke_test = parser.parse_args().smoke_test
num_trials, epochs = (8, 3) if smoke_test else (150, 30)

# 1797 images of 8 x 8 pixels, two thirds of them to train on.
images, digits = load_digits(return_X_y=True)
x_train, x_val, y_train, y_val = train_test_split(
    images / 16, digits, test_size=1 / 3, random_state=0
)


def train_digits(config):
    """Trains one network; its size is the number of its weights."""
    model = MLPClassifier(
        hidden_layer_sizes=[*config["layers"].values()],
        learning_rate_init=config["lr"],
        alpha=config["alpha"],
        random_state=0,
    )
    for _ in range(epochs):
        model.partial_fit(x_train, y_train, classes=range(10))
    weights = sum(part.size for part in [*model.coefs_, *model.intercepts_])
    return {"accuracy": model.score(x_val, y_val), "weights": weights}


results = tune.Tuner(
    train_digits,
    param_space={
        "lr": tune.loguniform(1e-3, 1e-1),
        "alpha": tune.loguniform(1e-6, 1e-1),
        "layers": tune.choice(
            [
                {"first": tune.lograndint(2, 129)},
                {"first": tune.lograndint(2, 129), "second": tune.lograndint(2, 65)},
            ]
        ),
    },
    tune_config=tune.TuneConfig(
        metric=["accuracy", "weights"],
        mode=["max", "min"],
        search_alg=OptunaSearch(),  # NSGA-II, if there are several objectives
        num_samples=num_trials,
        seed=1,
    ),
).fit()

front = sorted(results.get_pareto_front(), key=lambda result: result.metrics["weights"])
print(f"\n{len(front)} of {len(results)} networks are on the Pareto front:")
print("weights  accuracy  hidden layers")
for result in front:
    sizes = " + ".join(str(size) for size in result.config["layers"].values())
    print(f"{result.metrics['weights']:7d}  {result.metrics['accuracy']:8.4f}  {sizes}")
print(f"The most accurate: {results.get_best_result('accuracy').config}")
print(f"All results are in {results.experiment_path}")
