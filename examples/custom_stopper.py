"""A stopper of one's own: gives up trials that diverge, and ends it all when a goal is reached.

    python examples/custom_stopper.py               # some seconds
    python examples/custom_stopper.py --smoke-test

Gradient descent on scikit-learn's diabetes data; the larger learning rates diverge.
"""

import argparse
import math

import numpy as np
from sklearn.datasets import load_diabetes

import tuner as tune


class DivergenceOrGoal(tune.Stopper):
    """Ends a trial whose loss explodes or is NaN, and the experiment when a loss is reached."""

    def __init__(self, largest, goal):
        self.largest = largest
        self.goal = goal
        self.winner = None
        self.diverged = []

    def __call__(self, trial_id, result):
        """Whether this trial ends with this result."""
        loss = result["loss"]
        if math.isnan(loss) or loss > self.largest:
            self.diverged.append(trial_id)
            return True
        if loss <= self.goal and self.winner is None:
            self.winner = trial_id
        return self.winner is not None

    def stop_all(self):
        """Whether all other trials end, too."""
        return self.winner is not None


def train_linear(config):
    """Fits a linear model by gradient descent; the loss is the mean squared error."""
    x, y = load_diabetes(return_X_y=True)
    x, y = x / x.std(axis=0), (y - y.mean()) / y.std()
    weights = np.zeros(x.shape[1])
    velocity = np.zeros(x.shape[1])
    while True:  # until the stopper says so
        for _ in range(10):
            slope = x.T @ (x @ weights - y) / len(y)
            velocity = config["momentum"] * velocity - config["lr"] * slope
            weights = weights + velocity
        tune.report({"loss": np.mean((x @ weights - y) ** 2)})


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke-test", action="store_true", help="a goal that is near")
    smoke_test = parser.parse_args().smoke_test

    stopper = DivergenceOrGoal(largest=100, goal=0.49 if smoke_test else 0.48237)
    results = tune.Tuner(
        train_linear,
        param_space={
            "momentum": tune.grid_search([0.0, 0.9]),
            "lr": tune.grid_search([4.0, 1.0, 0.004, 0.06, 0.015]),
        },
        tune_config=tune.TuneConfig(metric="loss", mode="min"),
        run_config=tune.RunConfig(stop=[stopper, {"training_iteration": 500}]),
    ).fit()

    diverged = [result for result in results if not result.metrics["loss"] <= stopper.largest]
    print(f"\nDiverged, and stopped at once: {len(diverged)} trials")
    for result in diverged:
        metrics = result.metrics
        print(f"  {result.config}: loss {metrics['loss']:.3g} at {metrics['training_iteration']}")
    print(f"Trials started: {len(results)} of 10")
    best = results.get_best_result()
    print(f"Best: {best.config}, loss {best.metrics['loss']:.5f}")
    print(f"Goal reached: {best.metrics['loss'] <= stopper.goal}")


if __name__ == "__main__":
    main()
