"""The schedule that population based training found, for one trial from the beginning.

python examples/pbt_replay.py               # finds a schedule first, in a few seconds
python examples/pbt_replay.py --smoke-test
"""

import argparse
import json
import tempfile
from pathlib import Path

import tuner as tune
from tuner.schedulers import PopulationBasedTraining, PopulationBasedTrainingReplay


class Descent(tune.Trainable):
    """Minimizes x^2 from noisy gradients: first large steps are best, then small ones."""

    def setup(self, config):
        self.x = 10.0
        self.count = 0

    def step(self):
        self.count += 1
        noise = (-1) ** self.count
        self.x -= self.config["lr"] * (2 * self.x + noise)
        return {"loss": self.x**2, "lr_now": self.config["lr"]}

    def save_checkpoint(self, checkpoint_dir):
        return {"x": self.x, "count": self.count}

    def load_checkpoint(self, checkpoint):
        self.x, self.count = checkpoint["x"], checkpoint["count"]


def find_policy(folder, iterations):
    """Trains a population and returns the schedule of its best trial that has one."""
    scheduler = PopulationBasedTraining(
        time_attr="training_iteration",
        perturbation_interval=4,
        hyperparam_mutations={"lr": tune.loguniform(1e-4, 0.9)},
        quantile_fraction=0.5,
        synch=True,
    )
    results = tune.Tuner(
        Descent,
        tune_config=tune.TuneConfig(
            metric="loss", mode="min", num_samples=4, seed=1, scheduler=scheduler
        ),
        run_config=tune.RunConfig(
            storage_path=folder, verbose=0, stop={"training_iteration": iterations}
        ),
    ).fit()
    by_loss = sorted(results, key=lambda result: result.metrics["loss"])
    paths = (
        Path(results.experiment_path, f"pbt_policy_{each.metrics['trial_id']}.txt")
        for each in by_loss
    )
    return next(path for path in paths if path.exists())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke-test", action="store_true", help="fewer iterations")
    iterations = 12 if parser.parse_args().smoke_test else 40

    with tempfile.TemporaryDirectory() as folder:
        policy = find_policy(folder, iterations)
        changes = [json.loads(line) for line in policy.read_text().splitlines()]
        replay = PopulationBasedTrainingReplay(policy)
    results = tune.Tuner(
        Descent,
        tune_config=tune.TuneConfig(metric="loss", mode="min", scheduler=replay),
        run_config=tune.RunConfig(stop={"training_iteration": iterations}),
    ).fit()

    print("\nThe learning rate changes after these iterations:")
    for _, _, _, iteration, _, config in changes:
        print(f"{iteration}: {config['lr']:.4g}")
    print(f"Loss of the replay: {results[0].metrics['loss']:.6f}")
    print(f"All results are in {results.experiment_path}")


if __name__ == "__main__":
    main()
