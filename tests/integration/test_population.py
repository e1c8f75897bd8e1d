"""Population based training of real trials: weights travel, files tell, kills change nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from fit_helpers import fit, wait_until
from walking import Walk, learning_rates

import tuner as tune
from tuner.execution.local import LocalExecutor
from tuner.schedulers import PB2, PopulationBasedTraining, PopulationBasedTrainingReplay

INTERVAL, LENGTH = 4, 16


class BreaksAfterExploit(Walk):
    """Fails once at its first step from another trial's checkpoint, before it has its own."""

    def load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().load_checkpoint(checkpoint)
        self.is_borrowed = checkpoint["owner"] != self.trial_id

    def step(self) -> dict[str, Any]:
        broken = Path(self.config["folder"], f"broken {self.trial_id}")
        if getattr(self, "is_borrowed", False) and not broken.exists():
            broken.touch()
            raise RuntimeError("no luck")
        return super().step()


def walk(config: dict[str, Any]) -> None:
    checkpoint, path = tune.get_checkpoint(), []
    if checkpoint is not None:
        with checkpoint.as_directory() as folder:
            path = json.loads(Path(folder, "path").read_text())
    while True:
        path.append(config["lr"])
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "path").write_text(json.dumps(path))
            kept = tune.Checkpoint.from_directory(folder) if len(path) % INTERVAL == 0 else None
            tune.report({"path": list(path), "score": sum(path)}, checkpoint=kept)


def population(
    trainable: Any, folder: Path, *, num_samples: int = 4, slots: int = 2, **options: Any
) -> tune.ResultGrid:
    options = {"quantile_fraction": 0.5, **options}
    callbacks, seed = options.pop("callbacks", []), options.pop("seed", 3)
    failures = tune.FailureConfig(max_failures=options.pop("max_failures", 0))
    kind = options.pop("kind", PopulationBasedTraining)
    space = "hyperparam_bounds" if kind is PB2 else "hyperparam_mutations"
    options |= {space: {"lr": tune.uniform(0, 1)}, "perturbation_interval": INTERVAL}
    scheduler = kind("training_iteration", **options)
    return fit(
        trainable,
        folder,
        space={"folder": str(folder)},
        metric="score",
        mode="max",
        num_samples=num_samples,
        seed=seed,
        scheduler=scheduler,
        run={
            "name": "population",
            "stop": {"training_iteration": LENGTH},
            "executor": LocalExecutor(num_cpus=slots),
            "checkpoint_config": tune.CheckpointConfig(num_to_keep=1),
            "failure_config": failures,
            "callbacks": callbacks,
        },
    )


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def schedule(path: Path) -> list[float]:
    return learning_rates(lines(path), LENGTH)


def check(results: tune.ResultGrid, *, num_exploits: int) -> None:
    """Weights, rows and policy files of all trials agree."""
    folder = Path(results.experiment_path)
    assert len(lines(folder / "pbt_global.txt")) >= num_exploits
    for result in results:
        assert result.error is None
        assert result.metrics is not None
        rows = lines(Path(result.path, "result.json"))
        assert [row["training_iteration"] for row in rows] == [len(row["path"]) for row in rows]
        assert [row["config"]["lr"] for row in rows] == [row["path"][-1] for row in rows]
        assert json.loads(Path(result.path, "params.json").read_text()) == result.config
        policy = folder / f"pbt_policy_{result.metrics['trial_id']}.txt"
        trained_with = result.metrics["path"]
        expected = schedule(policy) if policy.exists() else [rows[0]["config"]["lr"]] * LENGTH
        assert trained_with == expected
    frame = results.get_dataframe()
    assert frame["config/lr"].tolist() == [result.config["lr"] for result in results]


@pytest.mark.parametrize("num_samples", [4, 8])
@pytest.mark.parametrize("trainable", [Walk, walk])
def test_weights_and_configurations_travel(
    trainable: Any, num_samples: int, tmp_path: Path
) -> None:
    # The first two are the best by far, so that one that comes after them goes on from them,
    # however fast each is.
    results = population(trainable, tmp_path, num_samples=num_samples, seed=1429)
    check(results, num_exploits=num_samples // 4)
    for result in results:
        assert len(list(Path(result.path).glob("checkpoint_*"))) == 1


@pytest.mark.parametrize("trainable", [Walk, walk])
def test_in_synchronous_rounds_half_of_the_population_goes_on_from_the_other(
    trainable: Any, tmp_path: Path
) -> None:
    results = population(trainable, tmp_path, synch=True)
    check(results, num_exploits=2 * (LENGTH // INTERVAL - 1))
    reached = [line[2:4] for line in lines(Path(results.experiment_path, "pbt_global.txt"))]
    assert reached == [[at, at] for at in (4, 4, 8, 8, 12, 12)]


def test_a_trial_that_fails_before_its_own_checkpoint_goes_on_from_the_donors(
    tmp_path: Path,
) -> None:
    results = population(BreaksAfterExploit, tmp_path, synch=True, max_failures=1)
    assert list(tmp_path.glob("broken *"))
    check(results, num_exploits=6)


def test_every_row_of_the_table_has_the_configuration_of_its_time(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    results = population(Walk, tmp_path, synch=True)
    rows = pq.read_table(Path(results.experiment_path, "results.parquet")).to_pylist()
    assert len(rows) == 4 * LENGTH
    assert all(row["config/lr"] == row["path"][-1] for row in rows)


@pytest.mark.parametrize("trainable", [Walk, walk])
def test_a_policy_can_be_replayed(trainable: Any, tmp_path: Path) -> None:
    results = population(trainable, tmp_path, synch=True)
    policy = max(Path(results.experiment_path).glob("pbt_policy_*.txt"))
    (result,) = fit(
        trainable,
        tmp_path,
        space={"folder": str(tmp_path)},
        scheduler=PopulationBasedTrainingReplay(policy),
        run={"name": "replay", "stop": {"training_iteration": LENGTH}},
    )
    assert result.metrics is not None
    assert result.metrics["path"] == schedule(policy)


class Changes(tune.Callback):
    def __init__(self) -> None:
        self.seen: list[tuple[int, float]] = []

    def on_trial_change(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self.seen.append((trial.number, trial.config["lr"]))


def test_callbacks_are_told_of_every_exploit_and_of_nothing_else(tmp_path: Path) -> None:
    changes = Changes()
    results = population(Walk, tmp_path, synch=True, callbacks=[changes])
    written = lines(Path(results.experiment_path, "pbt_global.txt"))
    assert changes.seen == [(int(line[0].split("_")[0]), line[-1]["lr"]) for line in written]


def test_nothing_is_written_when_it_is_not_wanted(tmp_path: Path) -> None:
    results = population(Walk, tmp_path, synch=True, log_config=False)
    assert not list(Path(results.experiment_path).glob("pbt_*"))


SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from test_population import Walk, walk, population
import tuner as tune
from tuner.schedulers import PB2, PopulationBasedTraining

def counted(step):
    def counting(self):
        with open(Path(sys.argv[2], "ledger"), "a") as ledger:
            ledger.write("step\\n")
        return step(self)
    return counting

class CountedWalk(Walk):
    step = counted(Walk.step)

folder = Path(sys.argv[2])
if tune.Tuner.can_restore(folder / "population"):
    tune.Tuner.restore(str(folder / "population")).fit()
else:
    kind = PB2 if sys.argv[3] == "pb2" else PopulationBasedTraining
    population(CountedWalk, folder, slots=1, synch=sys.argv[3] == "synch", kind=kind)
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["asynchronous", "synch", "pb2"])
def test_a_killed_population_ends_like_one_that_was_not(how: str, tmp_path: Path) -> None:
    pictures = []
    for kills in ((), (3, 9, 14, 21, 33, 47, 60)):
        folder = tmp_path / f"after {len(kills)} kills"
        folder.mkdir()
        process = start(folder, how)
        for at in kills:
            wait_until(lambda at=at, folder=folder: num_steps(folder) >= at)  # type: ignore[misc]
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            process = start(folder, how)
        assert process.wait(240) == 0
        pictures.append(picture(folder))
    assert pictures[0] == pictures[1]


def start(folder: Path, how: str) -> subprocess.Popen[bytes]:
    script = folder / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), str(Path(__file__).parent), str(folder), how]
    return subprocess.Popen(command, start_new_session=True)


def num_steps(folder: Path) -> int:
    ledger = folder / "ledger"
    return len(ledger.read_text().splitlines()) if ledger.exists() else 0


def picture(folder: Path) -> list[Any]:
    """What must not depend on kills; ids do."""
    experiment = folder / "population"
    found: list[Any] = [
        (result.config["lr"], [(row["path"], row["score"]) for row in result.history()])
        for result in tune.Tuner.restore(str(experiment)).get_results()
    ]
    names = sorted(path.name for path in experiment.glob("pbt_policy_*"))
    found += [(name[-9:], without_folders(experiment / name)) for name in names]
    return [*found, without_folders(experiment / "pbt_global.txt")]


def without_folders(path: Path) -> list[Any]:
    return [
        [tag.split("_")[0], donor.split("_")[0], *at, before["lr"], after["lr"]]
        for tag, donor, *at, before, after in lines(path)
    ]
