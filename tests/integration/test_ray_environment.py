"""What surrounds trials on a Ray cluster: runtime environments, modules, and Ray itself."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas
import psutil
import pytest
import ray
from fit_helpers import fit, wait_until
from ray_clusters import RayCluster
from ray_helpers import PATIENCE_S

import tuner as tune
from tuner.server.config import TOKEN_VARIABLE

EXAMPLES = Path(__file__).parents[2] / "examples"
BOTH_WAYS = pytest.mark.parametrize("uses_ray", [False, True], ids=["fork server", "in actors"])


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[RayCluster]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(
            TOKEN_VARIABLE, "a-token-for-the-tests"
        )  # the cluster's processes have it, too
        with RayCluster(num_cpus=1) as cluster:
            yield cluster


def tell_names(config: dict[str, Any]) -> dict[str, Any]:
    return {"names": list(os.environ)}


@BOTH_WAYS
def test_the_servers_token_is_kept_from_trials(
    cluster: RayCluster, tmp_path: Path, uses_ray: bool
) -> None:
    executor = tune.RayExecutor(uses_ray=uses_ray)
    (result,) = fit(tell_names, tmp_path, run={"executor": executor})
    assert TOKEN_VARIABLE in os.environ
    assert TOKEN_VARIABLE not in result.metrics["names"]


@BOTH_WAYS
def test_a_trial_can_stay_in_the_directory_of_the_script(
    uses_ray: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cluster has begun without the variable."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAY_CHDIR_TO_TRIAL_DIR", "0")
    executor = tune.RayExecutor(uses_ray=uses_ray)
    (result,) = fit(
        lambda config: {"cwd": os.getcwd(), "given": os.environ.get("RAY_CHDIR_TO_TRIAL_DIR")},
        tmp_path / "out",
        run={"executor": executor},
    )
    assert (result.metrics["cwd"], result.metrics["given"]) == (str(tmp_path), "0")


@pytest.fixture(scope="module")
def connected_with_environment(
    cluster: RayCluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """This process, connected with a runtime environment that has a bit of everything."""
    folder = tmp_path_factory.mktemp("environment")
    (folder / "work").mkdir()
    (folder / "work" / "in_working_dir.py").write_text("VALUE = 1")
    (folder / "packed").mkdir()
    (folder / "packed" / "__init__.py").write_text("VALUE = 2")
    ray.shutdown()
    cluster.connect(
        runtime_env={
            "env_vars": {"FROM_INIT": "3", "FROM_BOTH": "init"},
            "working_dir": str(folder / "work"),
            "py_modules": [str(folder / "packed")],
        }
    )
    yield
    ray.shutdown()
    cluster.connect()


def look_around(config: dict[str, Any]) -> dict[str, Any]:
    import in_working_dir
    import packed

    names = ("FROM_INIT", "FROM_BOTH", "FROM_EXECUTOR")
    found = {name: os.environ.get(name) for name in names}
    return {**found, "modules": in_working_dir.VALUE + packed.VALUE}


@BOTH_WAYS
def test_runtime_environments_reach_trials(
    uses_ray: bool, connected_with_environment: None, tmp_path: Path
) -> None:
    executor = tune.RayExecutor(
        uses_ray=uses_ray,
        runtime_env={"env_vars": {"FROM_EXECUTOR": "4", "FROM_BOTH": "executor"}},
    )
    (result,) = fit(look_around, tmp_path, run={"executor": executor})
    assert result.error is None
    found = {name: result.metrics[name] for name in ("FROM_INIT", "FROM_BOTH", "FROM_EXECUTOR")}
    assert found == {"FROM_INIT": "3", "FROM_BOTH": "executor", "FROM_EXECUTOR": "4"}
    assert result.metrics["modules"] == 3


SCRIPT = """
import beside
import tuner as tune

for uses_ray in (False, True):
    executor = tune.RayExecutor(uses_ray=uses_ray)
    run_config = tune.RunConfig(executor=executor, verbose=0)
    (result,) = tune.Tuner(beside.train, run_config=run_config).fit()
    print(result.metrics["where"], "RAY_RAYLET_PID" in result.metrics["names"])
"""
BESIDE = """
import os
import beside_that

def train(config):
    return {"where": beside_that.__file__, "names": list(os.environ)}
"""


def run_script(path: Path, results: Path, *arguments: str, slots: int = 2, **env: str) -> str:
    """Runs a script from another directory than its own, on so many CPUs of this machine."""
    cpus = sorted(os.sched_getaffinity(0))[:slots]
    done = subprocess.run(
        [sys.executable, str(path), *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        cwd=results,
        env={**os.environ, "TUNER_RESULTS_DIR": str(results), **env},
        preexec_fn=lambda: os.sched_setaffinity(0, cpus),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_modules_beside_a_script_are_found(cluster: RayCluster, tmp_path: Path) -> None:
    scripts, elsewhere = tmp_path / "scripts", tmp_path / "elsewhere"
    scripts.mkdir()
    elsewhere.mkdir()
    (scripts / "script.py").write_text(SCRIPT)
    (scripts / "beside.py").write_text(BESIDE)
    (scripts / "beside_that.py").touch()
    printed = run_script(scripts / "script.py", elsewhere, RAY_ADDRESS=cluster.address)
    assert printed.splitlines() == [f"{scripts}/beside_that.py True"] * 2


def test_an_example_gives_the_same_results_locally_and_on_ray(
    cluster: RayCluster, tmp_path: Path
) -> None:
    """The script is the same: where trials run is told by RAY_ADDRESS alone."""
    tables = []
    for name, env in (("local", {}), ("ray", {"RAY_ADDRESS": cluster.address})):
        results = tmp_path / name
        results.mkdir()
        run_script(EXAMPLES / "quickstart.py", results, "--smoke-test", slots=1, **env)
        (path,) = results.glob("*/results.parquet")
        tables.append(pandas.read_parquet(path))
    local, on_ray = (comparable(table) for table in tables)
    assert len(local) > 4
    pandas.testing.assert_frame_equal(local, on_ray, check_exact=True)


def comparable(table: pandas.DataFrame) -> pandas.DataFrame:
    """What does not depend on when, where and as which trial id a result was made."""
    differ = ("trial_id", "experiment_id", "date", "time", "hostname", "node_ip", "pid", "logdir")
    return table[[name for name in table.columns if not name.startswith(differ)]]


def test_ray_is_chosen_where_this_process_is_connected(tmp_path: Path) -> None:
    (result,) = fit(lambda config: {"on_ray": "RAY_RAYLET_PID" in os.environ}, tmp_path)
    assert result.metrics["on_ray"] is True
    (result,) = fit(
        lambda config: {"on_ray": "RAY_RAYLET_PID" in os.environ},
        tmp_path,
        run={"executor": "local"},
    )
    assert result.metrics["on_ray"] is False


HIDDEN = """
import ray

def get():
    return ray.get(ray.ObjectRef.from_random())

def run():
    return ray.get(ray.remote(lambda: 1).remote())

def place():
    return ray.util.get_current_placement_group()

def size():
    ray.cluster_resources()

def begin():
    ray.init()
"""


def call_library(config: dict[str, Any]) -> None:
    import importlib

    module = importlib.import_module("library_with_ray")
    getattr(module, config["call"])()


def clusters() -> set[int]:
    """The Ray clusters that were started below this process, by what each has one of."""
    found = set()
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # it has ended since
            if "gcs_server" in process.name():
                found.add(process.pid)
    return found


def test_ray_in_the_depths_of_a_library_is_an_error_that_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "library_with_ray.py").write_text(HIDDEN)
    monkeypatch.syspath_prepend(tmp_path)
    before, calls = clusters(), ["get", "run", "place", "size", "begin"]
    grid = fit(call_library, tmp_path, space={"call": tune.grid_search(calls)})
    for result in grid:
        assert result.status == "ERROR"
        assert "RunConfig(executor=RayExecutor(uses_ray=True))" in str(result.error)
        assert "You can start Ray" not in str(result.error)
        assert "library_with_ray.py" in str(result.error)
    assert len(before) == 1
    assert clusters() == before, "a trial has started a cluster"


def test_ray_in_what_the_configuration_has(tmp_path: Path) -> None:
    def get(ref: ray.ObjectRef[int]) -> int:
        return ray.get(ref)

    def train(config: dict[str, Any]) -> dict[str, Any]:
        return {"x": config["get"](config["data"]())}

    space = {"get": tune.choice([get]), "data": lambda: ray.put(3)}
    (result,) = fit(train, tmp_path, space=space)
    assert (result.error, result.metrics["x"]) == (None, 3)


@pytest.mark.parametrize("log_to_file", [False, True])
def test_progress_bars_of_ray_print_no_json(
    log_to_file: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def train(config: dict[str, Any]) -> dict[str, Any]:
        batches = ray.data.range(config["rows"]).iter_batches(batch_size=None)
        print("read", rows := sum(len(batch["id"]) for batch in batches))
        return {"rows": rows}

    (result,) = fit(
        tune.with_resources(train, {"cpu": 0}),
        tmp_path,
        space={"rows": 100},
        run={"log_to_file": log_to_file, "verbose": 1},
    )
    assert (result.error, result.metrics["rows"]) == (None, 100)
    printed = capsys.readouterr().out
    if log_to_file:
        printed = Path(result.path, "stdout").read_text()
    assert "read 100" in printed
    assert "__magic_token__" not in printed


def test_what_killed_slots_leave_behind_is_removed(
    cluster: RayCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    (scratch / "tuner_slot_1_killed" / "checkpoint").mkdir(parents=True)
    executor = tune.RayExecutor(
        runtime_env={"env_vars": {"TUNER_SCRATCH_DIR": str(scratch)}}, shared_storage=False
    )
    (result,) = fit(
        lambda config: {"there": os.listdir(scratch)}, tmp_path, run={"executor": executor}
    )
    assert len(result.metrics["there"]) == 1
    assert "tuner_slot_1_killed" not in result.metrics["there"]
    wait_until(lambda: not os.listdir(scratch))
