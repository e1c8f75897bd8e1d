"""A network of PyTorch Lightning that reads handwritten digits, under ASHA.

python examples/lightning_digits.py               # about a minute
python examples/lightning_digits.py --smoke-test
"""

import argparse
import logging
import os

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset, random_split

import tuner as tune
from tuner.integrations.pytorch_lightning import TuneReportCheckpointCallback
from tuner.schedulers import ASHAScheduler


def load_data():
    """Images of 8 x 8 pixels, in three parts."""
    images, digits = load_digits(return_X_y=True)
    data = TensorDataset(torch.tensor(images / 16).float(), torch.tensor(digits))
    return random_split(data, [0.6, 0.2, 0.2], torch.Generator().manual_seed(0))


class Digits(pl.LightningModule):
    """A network with one hidden layer."""

    def __init__(self, units, dropout, lr):
        super().__init__()
        self.save_hyperparameters()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(64, units),
            torch.nn.ReLU(),
            torch.nn.Dropout(dropout),
            torch.nn.Linear(units, 10),
        )

    def training_step(self, batch, index):
        images, digits = batch
        return functional.cross_entropy(self.layers(images), digits)

    def validation_step(self, batch, index):
        images, digits = batch
        scores = self.layers(images)
        self.log("val_loss", functional.cross_entropy(scores, digits))
        self.log("val_accuracy", (scores.argmax(1) == digits).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), self.hparams.lr)


def train(config):
    """Trains a network; a trial that goes on begins with the state that it saved."""
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    checkpoint = tune.get_checkpoint()
    path = None if checkpoint is None else os.path.join(checkpoint.path, "digits.ckpt")
    metrics = {"accuracy": "val_accuracy", "loss": "val_loss"}
    x, x_val, _ = load_data()
    trainer = pl.Trainer(
        max_epochs=config["epochs"],
        accelerator="cpu",
        callbacks=[TuneReportCheckpointCallback(metrics, filename="digits.ckpt")],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    model = Digits(config["units"], config["dropout"], config["lr"])
    trainer.fit(model, DataLoader(x, 32, shuffle=True), DataLoader(x_val, 512), ckpt_path=path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke-test", action="store_true", help="fewer trials and epochs")
    trials, epochs = (2, 3) if parser.parse_args().smoke_test else (12, 27)

    results = tune.Tuner(
        train,
        param_space={
            "epochs": epochs,
            "units": tune.choice([16, 32, 64]),
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
    path = os.path.join(best.checkpoint.path, "digits.ckpt")
    model = Digits.load_from_checkpoint(path).eval()
    images, digits = load_data()[2][:]
    accuracy = (model.layers(images).argmax(1) == digits).float().mean()
    trained = sum(result.metrics["training_iteration"] for result in results)
    print(f"\nEpochs trained: {trained}; without early stopping: {trials * epochs}")
    print(f"Best accuracy: {best.metrics['accuracy']:.4f} with {best.config}")
    print(f"On the test part: {accuracy:.4f}")
    print(f"Files: {results.experiment_path}")


if __name__ == "__main__":
    main()
