"""A network of Keras that reads handwritten digits, under ASHA; each epoch is reported and saved.

python examples/keras_digits.py               # about a minute
python examples/keras_digits.py --smoke-test

Keras runs on torch here; set KERAS_BACKEND for another backend.
"""

import argparse
import os

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import tuner as tune

os.environ.setdefault("KERAS_BACKEND", "torch")
import keras

from tuner.integrations.keras import TuneReportCheckpointCallback
from tuner.schedulers import ASHAScheduler

images, digits = load_digits(return_X_y=True)
images = images.reshape(-1, 8, 8, 1) / 16
x, x_rest, y, y_rest = train_test_split(images, digits, test_size=0.4, random_state=0)
x_val, x_test, y_val, y_test = train_test_split(x_rest, y_rest, test_size=0.5, random_state=0)


def make_model(config):
    model = keras.Sequential(
        [
            keras.layers.Input((8, 8, 1)),
            keras.layers.Conv2D(config["filters"], 3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dropout(config["dropout"]),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    optimizer = keras.optimizers.Adam(config["lr"])
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def train(config):
    """Trains a network; a trial that goes on begins with the one that it saved."""
    checkpoint = tune.get_checkpoint()
    if checkpoint is None:
        model, first_epoch = make_model(config), 0
    else:
        model = TuneReportCheckpointCallback.get_model(checkpoint)
        first_epoch = checkpoint.get_metadata()["epochs"]
    metrics = {"accuracy": "val_accuracy", "loss": "val_loss"}
    model.fit(
        x,
        y,
        batch_size=64,
        initial_epoch=first_epoch,
        epochs=config["epochs"],
        validation_data=(x_val, y_val),
        callbacks=[TuneReportCheckpointCallback(metrics=metrics)],
        verbose=0,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke-test", action="store_true", help="fewer trials and epochs")
    trials, epochs = (2, 3) if parser.parse_args().smoke_test else (12, 27)

    results = tune.Tuner(
        train,
        param_space={
            "epochs": epochs,
            "filters": tune.choice([8, 16, 32]),
            "dropout": tune.uniform(0, 0.5),
            "lr": tune.loguniform(1e-4, 1e-1),
        },
        tune_config=tune.TuneConfig(
            metric="accuracy",
            mode="max",
            num_samples=trials,
            scheduler=ASHAScheduler(max_t=epochs, grace_period=1, reduction_factor=3),
            seed=0,
        ),
        run_config=tune.RunConfig(checkpoint_config=tune.CheckpointConfig(num_to_keep=1)),
    ).fit()

    best = results.get_best_result()
    model = TuneReportCheckpointCallback.get_model(best.checkpoint)
    _, accuracy = model.evaluate(x_test, y_test, verbose=0)
    trained = sum(result.metrics["training_iteration"] for result in results)
    print(f"\nEpochs trained: {trained}; without early stopping: {trials * epochs}")
    print(f"Best accuracy: {best.metrics['accuracy']:.4f} with {best.config}")
    print(f"On the test part: {accuracy:.4f}")
    print(f"Files: {results.experiment_path}")


if __name__ == "__main__":
    main()
