"""The median stopping rule: a trial ends that is worse than the others were on average.

python examples/median_stopping.py               # a few seconds
python examples/median_stopping.py --smoke-test  # fewer trials and epochs
"""

import argparse

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

import tuner as tune
from tuner.schedulers import MedianStoppingRule

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--smoke-test", action="store_true", help="fewer trials and epochs")
smoke_test = parser.parse_args().smoke_test
num_trials, num_epochs = (8, 6) if smoke_test else (40, 60)

data, labels = load_breast_cancer(return_X_y=True)
x_train, x_val, y_train, y_val = train_test_split(data, labels, test_size=0.4, random_state=0)
scaler = StandardScaler().fit(x_train)
x_train, x_val = scaler.transform(x_train), scaler.transform(x_val)


def train_tumours(config):
    """Trains a linear model; after each epoch, reports its loss on the validation part."""
    model = SGDClassifier(
        loss="log_loss",
        alpha=config["alpha"],
        learning_rate="constant",
        eta0=config["eta0"],
        random_state=0,
    )
    for _ in range(num_epochs):
        model.partial_fit(x_train, y_train, classes=np.unique(labels))
        probabilities = model.predict_proba(x_val)
        yield {"loss": log_loss(y_val, probabilities), "accuracy": model.score(x_val, y_val)}


results = tune.Tuner(
    train_tumours,
    param_space={
        "alpha": tune.loguniform(1e-5, 1),
        "eta0": tune.loguniform(1e-6, 1e1),
    },
    tune_config=tune.TuneConfig(
        metric="loss",
        mode="min",
        num_samples=num_trials,
        max_concurrent_trials=2,
        scheduler=MedianStoppingRule(
            time_attr="training_iteration",
            grace_period=2,
            # Trials that reach an epoch first go on without being judged there. With the default,
            # 0, they would wait for others, and start again unless they report checkpoints.
            min_time_slice=float("inf"),
        ),
        seed=1,
    ),
).fit()

epochs = [result.metrics["training_iteration"] for result in results]
print(f"\nTrials stopped early: {sum(epoch < num_epochs for epoch in epochs)} of {len(epochs)}")
print(f"Epochs trained: {sum(epochs)}; without early stopping: {num_trials * num_epochs}")
best = results.get_best_result()
print(f"Best loss: {best.metrics['loss']:.4f} with {best.config}")
print(f"Files: {results.experiment_path}")
