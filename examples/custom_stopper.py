"""A stopper of one's own: as soon as one trial is good enough, everything ends.

python examples/custom_stopper.py
python examples/custom_stopper.py --smoke-test
"""

import argparse

import tuner as tune


class GoodEnough(tune.Stopper):
    """Ends the experiment when any trial reaches a loss, and a trial that diverges at once."""

    def __init__(self, loss):
        self.loss = loss
        self.reached_by = None

    def __call__(self, trial_id, result):
        if result["loss"] <= self.loss:
            self.reached_by = trial_id
        return result["loss"] > 1e6

    def stop_all(self):
        return self.reached_by is not None


def descend(config):
    """Gradient descent on Rosenbrock's function, which diverges if the rate is too high."""
    x, y = -1.0, 1.5
    for _ in range(2000):
        slope_x = -2 * (1 - x) - 400 * x * (y - x**2)
        slope_y = 200 * (y - x**2)
        x, y = x - config["lr"] * slope_x, y - config["lr"] * slope_y
        tune.report({"loss": (1 - x) ** 2 + 100 * (y - x**2) ** 2})


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--smoke-test", action="store_true", help="an easier goal")
    stopper = GoodEnough(1.0 if parser.parse_args().smoke_test else 0.05)

    results = tune.Tuner(
        descend,
        param_space={"lr": tune.grid_search([1e-1, 1e-5, 1e-4, 1e-3, 2e-3])},
        tune_config=tune.TuneConfig(metric="loss", mode="min"),
        run_config=tune.RunConfig(stop=stopper),
    ).fit()

    best = results.get_best_result()
    print(f"Trial {stopper.reached_by} reached {best.metrics['loss']:.4f}, lr={best.config['lr']}")
    for result in results:
        iterations = result.metrics.get("training_iteration", 0)
        loss = result.metrics.get("loss", float("nan"))
        print(f"  lr={result.config['lr']:g}: {iterations} iterations, loss {loss:.3g}")


if __name__ == "__main__":
    main()
