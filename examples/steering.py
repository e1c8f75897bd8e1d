"""An experiment that is watched and steered while it runs, over HTTP.

    python examples/steering.py               # some seconds
    python examples/steering.py --smoke-test

Ridge regression by gradient descent on scikit-learn's diabetes data. Here a thread of the script
steers it; usually that is another program, on this machine or, with the token, on another one.
"""

import argparse
import tempfile
import threading

import numpy as np
from sklearn.datasets import load_diabetes

import tuner as tune
from tuner.server import TuneClient


def train(config):
    """Trains until it is stopped; goes on from its checkpoint after a pause."""
    x, y = load_diabetes(return_X_y=True)
    x, y = x / x.std(axis=0), (y - y.mean()) / y.std()
    weights = np.zeros(x.shape[1])
    checkpoint = tune.get_checkpoint()
    if checkpoint is not None:
        with checkpoint.as_directory() as folder:
            weights = np.load(f"{folder}/weights.npy")
    while True:
        for _ in range(500):
            slope = x[:300].T @ (x[:300] @ weights - y[:300]) / 300
            weights = weights - 0.01 * (slope + config["penalty"] * weights)
        loss = np.mean((x[300:] @ weights - y[300:]) ** 2)
        with tempfile.TemporaryDirectory() as folder:
            np.save(f"{folder}/weights.npy", weights)
            tune.report({"loss": loss}, checkpoint=tune.Checkpoint(folder))


def steer(address):
    """Adds a trial, pauses it, resumes it, and ends the experiment when it has trained on."""
    with TuneClient(address) as client:
        (guess,) = client.add_trial("a guess", {"config": {"penalty": 0.05}})
        print("added", guess)
        events = client.events(guess, after=0)
        wait_for(events, lambda event: event.kind == "result")
        client.pause_trial(guess)
        wait_for(events, lambda event: event.data.get("status") == "PAUSED")
        paused = client.get_trial(guess)
        print(f"{guess} pauses after {paused['num_results']} results")
        client.resume_trial(guess)
        result = wait_for(events, lambda event: event.kind == "result").data["result"]
        print(f"{guess} goes on with iteration {result['training_iteration']}")
        client.stop_experiment()


def wait_for(events, is_wanted):
    """The next event that is wanted."""
    for event in events:
        if is_wanted(event):
            return event
    raise RuntimeError("the experiment is over")


class SteeringFromHere(tune.Callback):
    """Begins to steer when the first trial starts, as then the server listens."""

    def __init__(self, address):
        self.address = address
        self.thread = None

    def on_trial_start(self, **info):
        """Starts the thread, once."""
        if self.thread is None:
            self.thread = threading.Thread(target=steer, args=[self.address])
            self.thread.start()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=4321, help="where the experiment listens")
    parser.add_argument("--smoke-test", action="store_true", help="the same; it takes seconds")
    port = parser.parse_args().port
    steering = SteeringFromHere(f"http://127.0.0.1:{port}")
    results = tune.Tuner(
        train,
        param_space={"penalty": tune.loguniform(1e-4, 1)},
        tune_config=tune.TuneConfig(metric="loss", mode="min", num_samples=1, seed=3),
        run_config=tune.RunConfig(
            name="steering",
            server=tune.ServerConfig(port=port),
            executor=tune.LocalExecutor(num_cpus=2),
            callbacks=[steering],
            checkpoint_config=tune.CheckpointConfig(num_to_keep=1),
        ),
    ).fit()
    steering.thread.join()
    best = results.get_best_result()
    print(f"best loss {best.metrics['loss']:.4f} with penalty {best.config['penalty']:.4f}")


if __name__ == "__main__":
    main()
