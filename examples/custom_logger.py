"""A logger of one's own that writes to an SQLite database, and trials with names of one's own.

python examples/custom_logger.py               # some seconds
python examples/custom_logger.py --smoke-test
"""

import argparse
import json
import sqlite3
from pathlib import Path
from statistics import mean

from sklearn.datasets import load_wine
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import tuner as tune


class SQLiteLogger(tune.LoggerCallback):
    """Keeps all trials and results in two tables of a database in the experiment's folder."""

    FILE = "trials.sqlite"

    def __init__(self):
        self.database = None

    def log_trial_start(self, trial):
        if self.database is None:
            self.database = sqlite3.connect(Path(trial.path).parent / self.FILE)
            self.database.execute("CREATE TABLE trials (name PRIMARY KEY, config, status)")
            self.database.execute("CREATE TABLE results (name, iteration, accuracy)")
        row = (str(trial), json.dumps(trial.config), "running")
        self.database.execute("INSERT INTO trials VALUES (?, ?, ?)", row)

    def log_trial_result(self, iteration, trial, result):
        row = (str(trial), result["training_iteration"], result["accuracy"])
        self.database.execute("INSERT INTO results VALUES (?, ?, ?)", row)

    def log_trial_end(self, trial, failed=False):
        status = "failed" if failed else "finished"
        self.database.execute("UPDATE trials SET status = ? WHERE name = ?", (status, str(trial)))
        self.database.commit()


def trial_name(trial):
    """What a trial is called, on the console and in `str(trial)`."""
    return f"wine_{trial.config['penalty']}_{trial.trial_id}"


def trial_dirname(trial):
    """What its folder is called, and so its line in TensorBoard."""
    return f"{trial_name(trial)}_alpha={trial.config['alpha']:.1e}"


def train_wine(config):
    """Cross-validates a linear classifier; reports the mean accuracy after each fold."""
    x, y = load_wine(return_X_y=True)
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    accuracies = []
    for rows, held_out in folds.split(x, y):
        model = make_pipeline(StandardScaler(), SGDClassifier(**config, random_state=0))
        model.fit(x[rows], y[rows])
        accuracies.append(model.score(x[held_out], y[held_out]))
        tune.report({"accuracy": mean(accuracies)})


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke-test", action="store_true", help="fewer trials")
    smoke_test = parser.parse_args().smoke_test

    results = tune.Tuner(
        train_wine,
        param_space={
            "alpha": tune.loguniform(1e-4, 1),
            "penalty": tune.grid_search(["l1", "l2"]),
        },
        tune_config=tune.TuneConfig(
            metric="accuracy",
            mode="max",
            num_samples=2 if smoke_test else 15,
            trial_name_creator=trial_name,
            trial_dirname_creator=trial_dirname,
        ),
        run_config=tune.RunConfig(callbacks=[SQLiteLogger()]),
    ).fit()

    database = Path(results.experiment_path, SQLiteLogger.FILE)
    print("\nThe five best trials, asked of the database:")
    question = (
        "SELECT name, accuracy FROM results JOIN trials USING (name) "
        "WHERE iteration = 5 AND status = 'finished' ORDER BY accuracy DESC LIMIT 5"
    )
    for name, accuracy in sqlite3.connect(database).execute(question):
        print(f"  {name}: {accuracy:.4f}")
    print(f"Folder of the best trial: {results.get_best_result().path}")
    print(f"Database: {database}")


if __name__ == "__main__":
    main()
