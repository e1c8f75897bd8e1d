"""A trial that trains on several Ray actors at once, each with its part of the data.

    python examples/distributed_trainable.py                # a Ray that is started here
    python examples/distributed_trainable.py --address auto # a cluster
    python examples/distributed_trainable.py --smoke-test

A trial asks for a placement group: nothing for itself, and a bundle for each of its actors, which
run nowhere else.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import ray
from sklearn.datasets import load_digits

import tuner as tune

NUM_WORKERS = 2


def load_part(rank, num_parts):
    """Images of digits and their labels, one-hot: of the training data, or to validate on."""
    images, digits = load_digits(return_X_y=True)
    images, labels = images[:1792] / 16, np.eye(10)[digits[:1792]]
    rows = slice(1280, None) if rank is None else slice(rank, 1280, num_parts)
    return images[rows], labels[rows]


def predict(weights, images):
    """The probability of each digit, for each image."""
    scores = images @ weights
    scores = np.exp(scores - scores.max(axis=1, keepdims=True))
    return scores / scores.sum(axis=1, keepdims=True)


@ray.remote(num_cpus=1)
class Worker:
    """Holds a part of the training data."""

    def __init__(self, rank):
        self.images, self.labels = load_part(rank, NUM_WORKERS)

    def gradient(self, weights):
        """Of the mean cross-entropy over this part."""
        return self.images.T @ (predict(weights, self.images) - self.labels) / len(self.images)


def train_distributed(config):
    """Descends along the mean of the workers' gradients."""
    workers = [Worker.remote(rank) for rank in range(NUM_WORKERS)]
    images, labels = load_part(None, NUM_WORKERS)
    weights, first = np.zeros((64, 10)), 0
    checkpoint = tune.get_checkpoint()
    if checkpoint:
        with checkpoint.as_directory() as folder:
            weights = np.load(Path(folder, "weights.npy"))
        first = checkpoint.get_metadata()["epoch"] + 1

    for epoch in range(first, config["epochs"]):
        for _ in range(10):
            shared = ray.put(weights)
            gradients = ray.get([worker.gradient.remote(shared) for worker in workers])
            weights = weights - config["lr"] * np.mean(gradients, axis=0)
        predicted = predict(weights, images)
        loss = -np.mean(np.log(predicted[labels > 0]))
        accuracy = np.mean(predicted.argmax(axis=1) == labels.argmax(axis=1))
        with tempfile.TemporaryDirectory() as folder:
            np.save(Path(folder, "weights.npy"), weights)
            checkpoint = tune.Checkpoint.from_directory(folder)
            checkpoint.set_metadata({"epoch": epoch})
            tune.report({"loss": loss, "accuracy": accuracy}, checkpoint=checkpoint)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--address", default="local", help="the Ray cluster to run on")
    parser.add_argument("--smoke-test", action="store_true", help="fewer trials and epochs")
    args = parser.parse_args()

    ray.init(args.address)
    resources = tune.PlacementGroupFactory([{}] + [{"CPU": 1}] * NUM_WORKERS, strategy="PACK")
    results = tune.Tuner(
        tune.with_resources(train_distributed, resources),
        param_space={
            "lr": tune.grid_search([0.1, 1.0] if args.smoke_test else [0.03, 0.1, 0.3, 1.0, 3.0]),
            "epochs": 2 if args.smoke_test else 20,
        },
        tune_config=tune.TuneConfig(metric="loss", mode="min"),
        run_config=tune.RunConfig(failure_config=tune.FailureConfig(max_failures=2)),
    ).fit()

    best = results.get_best_result()
    print(f"\nBest learning rate: {best.config['lr']}")
    print(f"Its loss: {best.metrics['loss']:.4f}, accuracy: {best.metrics['accuracy']:.4f}")
    print(f"Files: {results.experiment_path}")


if __name__ == "__main__":
    main()
