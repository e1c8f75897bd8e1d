"""Random forests of several sizes: those that still grow get the CPUs of those that are done.

    python examples/resource_changing.py               # about half a minute
    python examples/resource_changing.py --smoke-test

Each trial begins with one CPU of four. Whenever it reports, it may be paused and go on with more.
"""

import argparse
from pathlib import Path

import joblib
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import train_test_split

import tuner as tune
from tuner.schedulers import DistributeResources, ResourceChangingScheduler


class Forest(tune.Trainable):
    """Grows some trees per step, in as many threads as it has CPUs."""

    def setup(self, config):
        images, digits = load_digits(return_X_y=True)
        self.x, self.x_val, self.y, self.y_val = train_test_split(
            images, digits, test_size=0.3, random_state=0
        )
        self.forest = RandomForestClassifier(0, warm_start=True, random_state=0)

    def step(self):
        cpus = int(self.trial_resources.required_resources["CPU"])
        self.forest.set_params(
            n_estimators=self.forest.n_estimators + self.config["trees_per_step"], n_jobs=cpus
        )
        self.forest.fit(self.x, self.y)
        return {
            "accuracy": self.forest.score(self.x_val, self.y_val),
            "trees": self.forest.n_estimators,
            "cpus": cpus,
            "done": self.forest.n_estimators >= self.config["trees"],
        }

    def save_checkpoint(self, checkpoint_dir):
        joblib.dump(self.forest, Path(checkpoint_dir, "forest.joblib"))

    def load_checkpoint(self, checkpoint_dir):
        self.forest = joblib.load(Path(checkpoint_dir, "forest.joblib"))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke-test", action="store_true", help="smaller forests")
    smoke_test = parser.parse_args().smoke_test
    sizes = [20, 40, 80, 240] if smoke_test else [200, 400, 800, 1600]

    results = tune.Tuner(
        Forest,
        param_space={
            "trees": tune.grid_search(sizes),
            "trees_per_step": 10 if smoke_test else 40,
        },
        tune_config=tune.TuneConfig(
            metric="accuracy",
            mode="max",
            scheduler=ResourceChangingScheduler(
                resources_allocation_function=DistributeResources(increase_by={"cpu": 1})
            ),
        ),
        run_config=tune.RunConfig(executor=tune.LocalExecutor(num_cpus=4)),
    ).fit()

    print("\nTrees grown with each number of CPUs:")
    for result in results:
        steps = result.metrics_dataframe
        trees = steps["cpus"].value_counts().sort_index() * result.config["trees_per_step"]
        grown = ", ".join(f"{count} with {cpus}" for cpus, count in trees.items())
        print(f"  {result.config['trees']:5d} trees: {grown}")
    best = results.get_best_result()
    print(f"\nBest: {best.config['trees']} trees, accuracy {best.metrics['accuracy']:.4f}")
    print(f"Files: {results.experiment_path}")


if __name__ == "__main__":
    main()
