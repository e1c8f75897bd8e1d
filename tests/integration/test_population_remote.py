"""Population based training on remote storage: donors' checkpoints are read from there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from remote_helpers import Place, journal
from walking import Walk, learning_rates

import tuner as tune
from tuner.execution.local import LocalExecutor
from tuner.schedulers import PopulationBasedTraining

INTERVAL, LENGTH = 3, 12


pytestmark = pytest.mark.usefixtures("staging")


@pytest.fixture(params=["s3_server", "azure_server"])
def place(request: pytest.FixtureRequest) -> Place:
    return Place(f"{request.getfixturevalue(request.param).url}/exp")


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
            assert result.metrics["path"] == learning_rates(lines, LENGTH)
        assert result.checkpoint is not None
        with result.checkpoint.as_directory() as folder:
            assert any(Path(folder).iterdir())
    assert told
