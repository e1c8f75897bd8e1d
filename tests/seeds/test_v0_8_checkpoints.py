"""The user guide of 0.8: Trainable (Trial) Checkpointing, Fault Tolerance."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from seed_training import Model, MyTrainableClass, reported

import tuner as tune
from tuner.experiment import Trial

pytestmark = pytest.mark.usefixtures("results")


def checkpoints(trial: Trial) -> list[str]:
    """The names of the checkpoints in a trial's folder."""
    return sorted(path.name for path in Path(trial.path).glob("checkpoint_*"))


def saved_at(trial: Trial) -> list[int]:
    """The iterations after which a checkpoint was made."""
    results = reported(trial.path)
    return [each["training_iteration"] for each in results if each.get("checkpoint_dir_name")]


@pytest.mark.parametrize("key", ["should_checkpoint", tune.result.SHOULD_CHECKPOINT])
def test_trainable_checkpointing_1_manual(key: str) -> None:
    """0.8 · Trainable (Trial) Checkpointing · block 1: a checkpoint when the class asks for it."""

    class Preempted(MyTrainableClass):
        def detect_instance_preemption(self) -> bool:
            return self.iteration == 2  # in the third iteration

        def _train(self) -> dict[str, Any]:
            accuracy = self.model.step()["mean_accuracy"]
            result: dict[str, Any] = {"mean_accuracy": accuracy}
            if self.detect_instance_preemption():
                result.update({key: True})
            return result

    (trial,) = tune.run(Preempted, stop={"training_iteration": 5}).trials
    assert saved_at(trial) == [3]
    (name,) = checkpoints(trial)
    assert Path(trial.path, name, "model.npz").exists()


class Crashing(MyTrainableClass):
    """Dies in iteration 15 and in iteration 25, once each."""

    def _train(self) -> dict[str, Any]:
        mark = Path(f"died_in_{self.iteration + 1}")
        if self.config.get("crashes") and self.iteration + 1 in (15, 25) and not mark.exists():
            mark.touch()
            if self.iteration + 1 == 15:
                raise RuntimeError("as asked")
            os.kill(os.getpid(), signal.SIGKILL)
        return super()._train()


def test_trainable_checkpointing_2_periodic() -> None:
    """0.8 · Trainable (Trial) Checkpointing · block 2: every tenth iteration, and five retries."""
    arguments: dict[str, Any] = {"stop": {"training_iteration": 32}}
    (undisturbed,) = tune.run(Crashing, **arguments).trials
    (trial,) = tune.run(
        Crashing, checkpoint_freq=10, max_failures=5, config={"crashes": True}, **arguments
    ).trials
    assert trial.status == "TERMINATED"
    assert len(list(Path(trial.path).glob("died_in_*"))) == 2
    assert saved_at(trial) == [10, 20, 30]
    results = reported(trial.path)
    assert [each["training_iteration"] for each in results] == list(range(1, 33))
    assert results[-1]["iterations_since_restore"] == 12
    expected = [each["mean_loss"] for each in reported(undisturbed.path)]
    assert [each["mean_loss"] for each in results] == expected


def test_trainable_checkpointing_3_at_end() -> None:
    """0.8 · Trainable (Trial) Checkpointing · block 3: one more checkpoint at the end."""
    (trial,) = tune.run(
        MyTrainableClass,
        checkpoint_freq=10,
        checkpoint_at_end=True,
        max_failures=5,
        stop={"training_iteration": 12},
    ).trials
    assert len(checkpoints(trial)) == 2
    restored = MyTrainableClass()
    restored.restore(os.path.join(trial.path, checkpoints(trial)[-1]))
    model = Model()
    for _ in range(12):
        model.step()
    assert restored.model.weights.tolist() == model.weights.tolist()


def test_trainable_checkpointing_4_restore_a_class() -> None:
    """0.8 · Trainable (Trial) Checkpointing · block 4: five more iterations elsewhere."""
    arguments: dict[str, Any] = {"config": {"lr": 0.3}}
    (whole,) = tune.run(MyTrainableClass, stop={"training_iteration": 10}, **arguments).trials
    (original,) = tune.run(
        MyTrainableClass,
        name="Original",
        checkpoint_freq=5,
        stop={"training_iteration": 5},
        **arguments,
    ).trials
    (name,) = checkpoints(original)
    (trial,) = tune.run(
        MyTrainableClass,
        name="RestoredExp",
        stop={"training_iteration": 10},
        restore=f"{original.path}/{name}",
        **arguments,
    ).trials
    results = reported(trial.path)
    assert [each["training_iteration"] for each in results] == [6, 7, 8, 9, 10]
    expected = [each["mean_loss"] for each in reported(whole.path)][5:]
    assert [each["mean_loss"] for each in results] == expected


@pytest.mark.slow
def test_trainable_checkpointing_4_restore_of_rllib() -> None:
    """0.8 · Trainable (Trial) Checkpointing · block 4: "PG", which is PPO today, goes on from 5."""
    pytest.importorskip("ray.rllib")
    import ray

    small = {"train_batch_size": 200, "num_sgd_iter": 1, "num_workers": 0}
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        (original,) = tune.run(
            "PG",
            name="Original",
            stop={"training_iteration": 5},
            checkpoint_freq=5,
            config={"env": "CartPole-v0", **small},
        ).trials
        (name,) = checkpoints(original)
        assert Path(original.path).name.startswith("PPO_")
        (trial,) = tune.run(
            "PG",
            name="RestoredExp",  # The name can be different.
            stop={"training_iteration": 10},  # train 5 more iterations than previous
            restore=f"{original.path}/{name}/checkpoint-5",
            config={"env": "CartPole-v0", **small},
        ).trials
    finally:
        ray.shutdown()
    assert trial.status == "TERMINATED"
    assert [each["training_iteration"] for each in reported(trial.path)] == [6, 7, 8, 9, 10]
    assert trial.last_result["timesteps_total"] == 2 * original.last_result["timesteps_total"]


def test_fault_tolerance_without_checkpoints() -> None:
    """0.8 · Fault Tolerance · text: a trial without a checkpoint begins anew, or fails for good."""
    arguments: dict[str, Any] = {"stop": {"training_iteration": 16}, "config": {"crashes": True}}
    (retried,) = tune.run(Crashing, max_failures=1, **arguments).trials
    assert retried.status == "TERMINATED"
    assert reported(retried.path)[-1]["iterations_since_restore"] == 16

    (failed,) = tune.run(Crashing, raise_on_failed_trial=False, **arguments).trials
    assert failed.status == "ERROR"
    assert "as asked" in Path(failed.path, "error.txt").read_text()
    with pytest.raises(tune.TuneError, match="failed"):
        tune.run(Crashing, **arguments)
