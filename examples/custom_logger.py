"""A logger of one's own, and trials with names of one's own.

python examples/custom_logger.py
python examples/custom_logger.py --smoke-test
"""

import argparse

import tuner as tune


class Leaderboard(tune.LoggerCallback):
    """Writes a file that names the leader whenever it changes."""

    def __init__(self, path):
        self.path = path
        self.best = float("inf")

    def log_trial_result(self, iteration, trial, result):
        if result["height"] < self.best:
            self.best = result["height"]
            with open(self.path, "a") as file:
                file.write(f"{result['training_iteration']}\t{trial}\t{self.best:.4f}\n")

    def log_trial_end(self, trial, failed=False):
        print(f"{trial} {'failed' if failed else 'ended'} at {trial.last_result['height']:.4f}")


def trial_name(trial):
    """Names a trial by what is special about it."""
    return f"ball-{trial.config['damping']:.2f}-{trial.trial_id[-2:]}"


def roll(config):
    """A ball rolls into a valley, with friction."""
    position, speed = 3.0, 0.0
    for _ in range(config["steps"]):
        speed = config["damping"] * speed - 0.1 * position
        position += speed
        tune.report({"height": position**2})


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--smoke-test", action="store_true", help="a few trials only")
    trials = 3 if parser.parse_args().smoke_test else 12

    board = Leaderboard("leaderboard.tsv")
    results = tune.Tuner(
        roll,
        param_space={"damping": tune.uniform(0.0, 1.0), "steps": 20},
        tune_config=tune.TuneConfig(
            metric="height", mode="min", num_samples=trials, seed=0, trial_name_creator=trial_name
        ),
        run_config=tune.RunConfig(callbacks=[board], verbose=0),
    ).fit()

    print(f"Lowest: {results.get_best_result(scope='all').path}")
    with open(board.path) as file:
        print(f"Leaders, as {board.path} tells:\n{file.read()}", end="")


if __name__ == "__main__":
    main()
