"""Population based training on remote storage: donors' checkpoints are read from there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from remote_helpers import Place, journal

import tuner as tune
from tuner.execution.local import LocalExecutor
from tuner.schedulers import PopulationBasedTraining

INTERVAL, LENGTH = 3, 12


class Walk(tune.Trainable):
    """Its weights are the learning rates of all steps that it was trained with."""

    def setup(self, config: dict[str, Any]) -> None:
        self.path: list[float] = []

    def step(self) -> dict[str, Any]:
        self.path.append(self.config["lr"])
        return {"path": list(self.path), "score": sum(self.path)}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        return {"path": self.path}

    def load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.path = list(checkpoint["path"])


@pytest.fixture(autouse=True)
def staging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNER_STAGING_DIR", str(tmp_path / "staging"))


@pytest.fixture(params=["s3_server", "azure_server"])
def place(request: pytest.FixtureRequest) -> Place:
    return Place(f"{request.getfixturevalue(request.param).url}/exp")


def schedule(lines: list[Any]) -> list[float]:
    """The learning rates that a policy file tells of, one for each step."""
    steps: list[float] = []
    for _, _, _, iteration, before, _ in lines:
        steps += [before["lr"]] * (iteration - len(steps))
    return steps + [lines[-1][-1]["lr"]] * (LENGTH - len(steps))


def test_weights_and_policies_travel_by_the_bucket_also_to_another_machine(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler = PopulationBasedTraining(
        "training_iteration",
        perturbation_interval=INTERVAL,
        hyperparam_mutations={"lr": tune.uniform(0, 1)},
        quantile_fraction=0.5,
    )
    tune.Tuner(
        Walk,
        tune_config=tune.TuneConfig(
            metric="score", mode="max", num_samples=4, seed=3, scheduler=scheduler
        ),
        run_config=place.run_config(
            stop={"training_iteration": LENGTH // 2},
            executor=LocalExecutor(num_cpus=2),
            checkpoint_config=tune.CheckpointConfig(num_to_keep=1),
        ),
    ).fit()
    monkeypatch.setenv("TUNER_STAGING_DIR", str(tmp_path / "another machine"))
    results = place.restore(stop={"training_iteration": LENGTH}).fit()
    assert results.num_errors == 0
    files = place.files()
    changed = [fact for fact in journal(files) if fact.get("donor") and "config" in fact]
    assert len(files["pbt_global.txt"].splitlines()) == len(changed) >= 2
    told = 0
    for result in results:
        assert result.metrics is not None
        assert len(result.metrics["path"]) == LENGTH
        policy = files.get(f"pbt_policy_{result.metrics['trial_id']}.txt")
        if policy is not None:
            told += 1
            lines = [json.loads(line) for line in policy.splitlines()]
            assert result.metrics["path"] == schedule(lines)
        assert result.checkpoint is not None
        with result.checkpoint.as_directory() as folder:
            assert any(Path(folder).iterdir())
    assert told
