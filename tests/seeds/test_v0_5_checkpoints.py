"""The documentation of 0.5: Trial Checkpointing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from seed_training import Model, reported

import tuner as tune
from tuner import Trainable

pytestmark = pytest.mark.usefixtures("results")


class Saver:
    """Writes a model to several files with a common prefix, as `tf.train.Saver` does."""

    def save(self, session: Any, prefix: str, global_step: int) -> str:
        path = f"{prefix}-{global_step}"
        for name in ("weights", "velocity"):
            getattr(session, name).tofile(f"{path}.{name}")
        return path

    def restore(self, session: Any, path: str) -> None:
        for name in ("weights", "velocity"):
            array = getattr(session, name)
            array[:] = memoryview(Path(f"{path}.{name}").read_bytes()).cast("d")


class MyClass(Trainable):
    def _setup(self) -> None:
        self.saver = Saver()
        self.sess = Model(lr=0.3, momentum=0.5)
        self.iteration = 0

    def _train(self) -> dict[str, Any]:
        self.iteration += 1
        crashes = self.config.get("crashes_at")
        if self.iteration == crashes and not os.path.exists("crashed"):
            Path("crashed").touch()
            raise RuntimeError("as asked")
        return {**self.sess.step(), "iteration": self.iteration}

    def _save(self, checkpoint_dir: str) -> Any:
        return self.saver.save(self.sess, checkpoint_dir + "/save", global_step=self.iteration)

    def _restore(self, path: str) -> Any:
        self.iteration = int(path.rpartition("-")[2])
        return self.saver.restore(self.sess, path)


def losses(trial: Any) -> list[float]:
    return [result["mean_loss"] for result in reported(trial.path)]


def test_trial_checkpointing_1_class(tmp_path: Path) -> None:
    """0.5 · Trial Checkpointing · block 1: what `_save` writes, `_restore` takes up elsewhere."""
    trained = MyClass()
    for _ in range(3):
        trained.train()
    saved = trained.save(str(tmp_path / "checkpoint"))
    expected = [trained.train()["mean_loss"] for _ in range(2)]

    another = MyClass()
    another.restore(saved)
    results = [another.train() for _ in range(2)]
    assert [result["mean_loss"] for result in results] == expected
    assert [result["iteration"] for result in results] == [4, 5]


def test_trial_checkpointing_2_frequency_and_failures() -> None:
    """0.5 · Trial Checkpointing · block 2: a trial that crashes goes on from its checkpoint."""
    tune.register_trainable("my_class", MyClass)
    specification = {"run": "my_class", "stop": {"training_iteration": 25}, "checkpoint_freq": 10}
    (undisturbed,) = tune.run_experiments({"undisturbed": specification})
    (trial,) = tune.run_experiments(
        {
            "my_experiment": {
                **specification,
                "config": {"crashes_at": 14},
                "checkpoint_freq": 10,
                "max_failures": 5,
            }
        }
    )
    assert trial.status == "TERMINATED"
    assert Path(trial.path, "crashed").exists()
    assert losses(trial) == losses(undisturbed)
    assert [result["iteration"] for result in reported(trial.path)] == list(range(1, 26))
    last = reported(trial.path)[-1]
    assert last["iterations_since_restore"] == 15, "it began again after iteration 10"
    assert len(list(Path(trial.path).glob("checkpoint_*"))) == 2


class Documented(Trainable):
    """All methods that the documentation lists."""

    def _setup(self) -> None:
        self.model = Model(self.config["lr"])
        self.logged: list[dict[str, Any]] = []

    def _train(self) -> dict[str, Any]:
        return self.model.step()

    def _save(self, checkpoint_dir: str) -> dict[str, Any]:
        return {"weights": self.model.weights}

    def _restore(self, checkpoint: dict[str, Any]) -> None:
        self.model.weights = checkpoint["weights"]

    def _log_result(self, result: dict[str, Any]) -> None:
        self.logged.append(result)

    def _stop(self) -> None:
        self.logged.clear()


def test_trial_checkpointing_3_trainable_interface(tmp_path: Path) -> None:
    """0.5 · Trial Checkpointing · block 3: configuration, folder, train, save, restore, stop."""
    trained = Documented(config={"lr": 0.2}, logger_creator=None)
    assert trained.config == {"lr": 0.2}
    assert os.path.isdir(trained.logdir)
    results = [trained.train(), trained.train()]
    assert results[1]["training_iteration"] == 2
    assert [result["mean_loss"] for result in trained.logged] == [
        result["mean_loss"] for result in results
    ]
    path = trained.save(str(tmp_path / "saved"))

    another = Documented(config={"lr": 0.2})
    another.restore(path)
    assert another.train()["mean_loss"] == trained.train()["mean_loss"]
    trained.stop()
    assert trained.logged == []


def train(config: dict[str, Any], reporter: Any) -> None:
    model = Model(config["lr"])
    for _ in range(3):
        reporter(**model.step())


def test_trial_checkpointing_4_function() -> None:
    """0.5 · Trial Checkpointing · block 4: a function, which stands in for a class by its name."""
    tune.register_trainable("my_func", train)
    (trial,) = tune.run_experiments({"function": {"run": "my_func", "config": {"lr": 0.1}}})
    assert trial.trainable_name == "my_func"
    assert len(reported(trial.path)) == 3
    assert losses(trial)[0] > losses(trial)[2]
