"""Optuna designs a network layer by layer, in a search space that a function defines.

    python examples/search_optuna.py               # half a minute
    python examples/search_optuna.py --smoke-test  # fewer trials

The network tells ten handwritten digits apart. How many layers there are decides how many widths
are asked for: no list of parameters could say that. Needs: pip install "tuner[demo,optuna]"
"""

import argparse

import optuna
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

import tuner as tune
from tuner.integrations.optuna import OptunaSearch
from tuner.schedulers import ASHAScheduler

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--smoke-test", action="store_true", help="fewer trials")
smoke_test = parser.parse_args().smoke_test
num_trials, max_epochs = (10, 4) if smoke_test else (80, 27)

images, digits = load_digits(return_X_y=True)
x_train, x_val, y_train, y_val = train_test_split(
    images / 16, digits, test_size=1 / 3, random_state=0
)


def define_by_run(trial):
    """Asks for the parameters of one network; what it returns are constants."""
    for layer in range(trial.suggest_int("num_layers", 1, 3)):
        trial.suggest_int(f"widths/{layer}", 4, 128, log=True)
    trial.suggest_float("lr", 1e-4, 1e-1, log=True)
    return {"epochs": max_epochs}


def train_digits(config):
    model = MLPClassifier(
        hidden_layer_sizes=[*config["widths"].values()], learning_rate_init=config["lr"]
    )
    for _ in range(config["epochs"]):
        model.partial_fit(x_train, y_train, classes=range(10))
        tune.report({"accuracy": model.score(x_val, y_val)})


results = tune.Tuner(
    train_digits,
    tune_config=tune.TuneConfig(
        metric="accuracy",
        mode="max",
        num_samples=num_trials,
        search_alg=OptunaSearch(
            define_by_run,
            sampler=optuna.samplers.TPESampler(seed=1, n_startup_trials=5 if smoke_test else 20),
            points_to_evaluate=[{"num_layers": 1, "widths/0": 100, "lr": 1e-3}],  # sklearn's
        ),
        scheduler=ASHAScheduler(max_t=max_epochs, reduction_factor=3),
        seed=1,
    ),
).fit()

best = results.get_best_result()
epochs = sum(result.metrics["training_iteration"] for result in results)
print(f"\nEpochs trained: {epochs} of {num_trials * max_epochs}")
print(f"Best accuracy: {best.metrics['accuracy']:.4f}")
print(f"Layers: {[*best.config['widths'].values()]}, learning rate: {best.config['lr']:.2g}")
print(f"Files: {results.experiment_path}")
