"""Ray nodes that see neither the driver's disk nor each other's, and lose theirs when they die.

Where folders cannot be hidden from nodes (it takes `unshare` and the right to mount), they see the
driver's disk, but are told not to use it: `RayExecutor(shared_storage=False)`.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fit_helpers import append, fit, start_script, wait_until
from ray_clusters import RayCluster, raylet_here
from ray_helpers import PATIENCE_S, fit_meanwhile, wait_for
from ray_private_nodes import PrivateNode, PrivateNodes, can_hide
from remote_helpers import Place
from walking import Walk, learning_rates

import tuner as tune
from tuner.schedulers import PopulationBasedTraining

STEPS, HALF = 6, 4
_TESTS = [Path(__file__).parent, Path(__file__).parent.parent]


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateNodes]:
    with RayCluster() as cluster:
        nodes = PrivateNodes(cluster, tmp_path_factory.getbasetemp())
        yield nodes
        nodes.close()


@pytest.fixture
def signals() -> Iterator[Path]:
    """A folder that tests and trials both see, for what they tell each other."""
    path = Path(tempfile.mkdtemp(prefix="signals"))
    yield path
    shutil.rmtree(path)


def ray_executor(**options: Any) -> tune.RayExecutor:
    """Slots find out by themselves what they see, where that can be."""
    return tune.RayExecutor(shared_storage=None if can_hide() else False, **options)


def leave_traces(i: int, signals: Path) -> None:
    """Prints, writes a file, and waits halfway for the gate."""
    print("step", i)
    append("notes", f"{i}\n")
    if i == HALF:
        append(str(signals / "halfway"), f"{tune.get_context().get_trial_id()}\n")
        wait_for(signals / "gate")


def begin(start: int, signals: Path) -> None:
    line = json.dumps([tune.get_context().get_trial_id(), raylet_here(), start])
    append(str(signals / "attempts"), f"{line}\n")


def function(config: dict[str, Any]) -> None:
    """Saves at every other step, and does not come farther than the gate at first."""
    signals, checkpoint, start = Path(config["signals"]), tune.get_checkpoint(), 1
    if checkpoint is not None:
        with checkpoint.as_directory() as folder:
            start = int(Path(folder, "i").read_text()) + 1
    begin(start, signals)
    for i in range(start, STEPS + 1):
        leave_traces(i, signals)
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "i").write_text(str(i))
            kept = tune.Checkpoint.from_directory(folder) if i % 2 == 0 else None
            tune.report({"i": i}, checkpoint=kept)


class Class(tune.Trainable):
    """The same as a class."""

    def setup(self, config: dict[str, Any]) -> None:
        self.i, self.is_begun = 0, False

    def step(self) -> dict[str, Any]:
        if not self.is_begun:
            self.is_begun = True
            begin(self.i + 1, Path(self.config["signals"]))
        self.i += 1
        leave_traces(self.i, Path(self.config["signals"]))
        return {"i": self.i, "done": self.i == STEPS}

    def save_checkpoint(self, folder: str) -> None:
        Path(folder, "i").write_text(str(self.i))

    def load_checkpoint(self, folder: Any) -> None:
        self.i = int(Path(folder, "i").read_text())


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def num_halfway(signals: Path) -> int:
    path = signals / "halfway"
    return len(path.read_text().splitlines()) if path.exists() else 0


def assert_nothing_lost(result: tune.Result, place: Place) -> None:
    """Everything is where the driver looks for it, once."""
    assert (result.status, result.error) == ("TERMINATED", None)
    steps = list(range(1, STEPS + 1))
    assert result.metrics_dataframe is not None
    assert result.metrics_dataframe["i"].tolist() == steps
    dirname = result.path.rstrip("/").rpartition("/")[2] + "/"
    files = {k.removeprefix(dirname): v for k, v in place.files().items() if dirname in k}
    rows = [json.loads(line) for line in files["result.json"].splitlines()]
    assert [row["i"] for row in rows] == steps
    assert files["notes"].split() == [str(i).encode() for i in steps]
    assert files["stdout"].splitlines() == [f"step {i}".encode() for i in steps]
    saved = [content for name, content in sorted(files.items()) if name.endswith("/i")]
    assert saved == [b"2", b"4", b"6"]


def assert_scratch_empty(nodes: list[PrivateNode]) -> None:
    wait_until(lambda: all(node.in_scratch() == [] for node in nodes))


@pytest.mark.parametrize(
    ("trainable", "uses_ray", "is_remote"),
    [(Class, False, False), (function, True, False), (function, False, True)],
    ids=["class", "in an actor", "on S3"],
)
def test_nothing_is_lost_with_a_node_and_a_node_that_comes_is_used(
    trainable: Any,
    uses_ray: bool,
    is_remote: bool,
    nodes: PrivateNodes,
    signals: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    staging: Path,
) -> None:
    """A loss is no failure of the trial: no retries are allowed here."""
    place, environment = Place(str(tmp_path / "results")), {}
    if is_remote:
        place = request.getfixturevalue("place")
        environment = {name: os.environ[name] for name in os.environ if name.startswith("AWS_")}
    stays, dies = nodes.ensure(2)
    running = fit_meanwhile(
        trainable,
        tmp_path,
        space={"signals": str(signals)},
        num_samples=2,
        run={
            "storage_path": place.path,
            "name": "run",
            "log_to_file": True,
            "sync_config": tune.SyncConfig(sync_artifacts=True),
            "checkpoint_config": tune.CheckpointConfig(
                checkpoint_frequency=2 if trainable is Class else 0
            ),
            "executor": ray_executor(uses_ray=uses_ray, runtime_env={"env_vars": environment}),
        },
    )
    wait_until(lambda: num_halfway(signals) == 2, PATIENCE_S)
    started = {raylet: trial for trial, raylet, _ in lines(signals / "attempts")}
    assert started.keys() == {stays.raylet, dies.raylet}
    lost = dies.raylet
    dies.kill()
    comes = nodes.add()
    comes.wait()
    wait_until(lambda: num_halfway(signals) == 3, PATIENCE_S)
    assert lines(signals / "attempts")[2] == [started[lost], comes.raylet, 3]
    (signals / "gate").touch()
    for result in running.result(PATIENCE_S):
        assert_nothing_lost(result, place)
    assert len(lines(signals / "attempts")) == 3
    assert_scratch_empty([stays, comes])


class MeetingWalk(Walk):
    """Tells where it runs, and waits at each interval for the other trial to come as far."""

    def step(self) -> dict[str, Any]:
        if self.iteration % 4 == 0:
            signals = Path(self.config["signals"])
            (signals / f"{self.iteration} {self.trial_id}").touch()
            wait_until(lambda: len([*signals.glob(f"{self.iteration} *")]) == 2, PATIENCE_S)
        return {**super().step(), "score": self.config["lr"], "node": raylet_here()}


def test_weights_travel_between_nodes_when_trials_exploit_each_other(
    nodes: PrivateNodes, signals: Path, tmp_path: Path
) -> None:
    """With a slot for each trial, both stay where they are: the donor is on the other node."""
    used = nodes.ensure(2)
    grid = fit(
        MeetingWalk,
        tmp_path,
        space={"signals": str(signals)},
        num_samples=2,
        metric="score",
        mode="max",
        seed=3,
        scheduler=PopulationBasedTraining(
            "training_iteration",
            perturbation_interval=4,
            quantile_fraction=0.5,
            hyperparam_mutations={"lr": tune.uniform(0, 1)},
        ),
        run={"stop": {"training_iteration": 16}, "executor": ray_executor()},
    )
    folder = Path(grid.experiment_path)
    assert lines(folder / "pbt_global.txt")
    where = []
    for result in grid:
        assert (result.status, result.error) == ("TERMINATED", None)
        assert result.metrics is not None
        rows = lines(Path(result.path, "result.json"))
        where.append({row["node"] for row in rows})
        assert [row["training_iteration"] for row in rows] == [len(row["path"]) for row in rows]
        policy = lines(folder / f"pbt_policy_{result.metrics['trial_id']}.txt")
        if policy:
            path = result.metrics["path"]
            assert path == learning_rates(policy, len(path))
    assert sorted(where, key=min) == sorted(({node.raylet} for node in used), key=min)
    assert_scratch_empty(used)


def test_a_trial_runs_only_where_its_resources_are(nodes: PrivateNodes, tmp_path: Path) -> None:
    raylets = {node.name: node.raylet for node in nodes.ensure(2)}
    grid = fit(
        tune.with_resources(
            lambda config: {"node": raylet_here()}, lambda config: {"cpu": 1, config["where"]: 1}
        ),
        tmp_path,
        space={"where": tune.grid_search([*raylets])},
        num_samples=2,
        run={"executor": ray_executor()},
    )
    found = [(result.config["where"], result.metrics["node"]) for result in grid]
    assert sorted(found) == sorted([*raylets.items()] * 2)


def never_ends(config: dict[str, Any]) -> None:
    """Is killed when its time is over."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    Path("mine").touch()
    with contextlib.suppress(BaseException):
        tune.report({"x": 1})
    wait_for(Path("never"))


def exits(config: dict[str, Any]) -> None:
    """Takes its actor along."""
    Path("mine").touch()
    os._exit(3)


@pytest.mark.parametrize(
    ("trainable", "uses_ray", "status"),
    [(never_ends, False, "TERMINATED"), (never_ends, True, "TERMINATED"), (exits, True, "ERROR")],
)
def test_a_node_keeps_no_files_of_trials_that_are_killed(
    trainable: Callable[[dict[str, Any]], None],
    uses_ray: bool,
    status: str,
    nodes: PrivateNodes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TUNER_STOP_GRACE_S", "0.5")
    (node,) = nodes.ensure(1)
    (result,) = fit(
        trainable,
        tmp_path,
        run={"executor": ray_executor(uses_ray=uses_ray), "stop": {"training_iteration": 1}},
    )
    assert result.status == status
    assert_scratch_empty([node])


SCRIPT = """
import os
import test_ray_private_nodes as tests
import tuner as tune

tune.Tuner(
    tests.function,
    param_space={"signals": os.environ["SIGNALS"]},
    run_config=tune.RunConfig(
        name="run", executor=tests.ray_executor(uses_ray="USES_RAY" in os.environ)
    ),
).fit()
"""


@pytest.mark.parametrize("environ", [{}, {"USES_RAY": "1"}], ids=["fork server", "in an actor"])
def test_a_node_keeps_no_files_when_the_driver_is_killed(
    environ: dict[str, str], nodes: PrivateNodes, signals: Path, tmp_path: Path
) -> None:
    (node,) = nodes.ensure(1)
    process = start_script(
        SCRIPT,
        tmp_path,
        "driver",
        **environ,
        SIGNALS=str(signals),
        RAY_ADDRESS=nodes.address,
        PYTHONPATH=os.pathsep.join([os.environ.get("PYTHONPATH", ""), *map(str, _TESTS)]),
    )
    try:
        wait_until(lambda: num_halfway(signals) == 1, PATIENCE_S)
        assert len(node.in_scratch()) == 1
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        print(process.communicate()[0])
    assert_scratch_empty([node])
