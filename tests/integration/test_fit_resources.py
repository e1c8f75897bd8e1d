"""What trials get: GPUs, custom resources, threads, a working directory, files for their output."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from fit_helpers import fit, run_script

import tuner as tune


def meet_the_others(folder: str, count: int) -> bool:
    """Whether so many trials run at the same time."""
    trial_id = tune.get_context().get_trial_id()
    Path(folder, str(trial_id)).touch()
    deadline = time.monotonic() + 240
    while len(os.listdir(folder)) < count:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def test_two_trials_share_a_gpu(tmp_path: Path) -> None:
    meeting = tmp_path / "meeting"
    meeting.mkdir()

    def train(config: dict[str, Any]) -> dict[str, Any]:
        return {"met": meet_the_others(str(meeting), 2), "gpu": os.environ["CUDA_VISIBLE_DEVICES"]}

    grid = fit(
        tune.with_resources(train, {"cpu": 1, "gpu": 0.5}),
        tmp_path,
        num_samples=2,
        run={"executor": tune.LocalExecutor(num_cpus=4, num_gpus=1)},
    )
    assert [(r.metrics["met"], r.metrics["gpu"]) for r in grid] == [(True, "0")] * 2


def test_a_custom_resource_is_held_by_one_trial_at_a_time(tmp_path: Path) -> None:
    holders = tmp_path / "holders"
    holders.mkdir()

    def train(config: dict[str, Any]) -> None:
        mine = holders / str(os.getpid())
        mine.touch()
        for _ in range(3):
            tune.report({"holders": len(os.listdir(holders))})
        mine.unlink()

    grid = fit(
        tune.with_resources(train, {"license": 1}),
        tmp_path / "out",
        num_samples=4,
        run={"executor": tune.LocalExecutor(num_cpus=4, resources={"license": 1})},
    )
    assert [r.metrics["holders"] for r in grid] == [1] * 4


def test_more_bundles_than_one_are_added_up(tmp_path: Path) -> None:
    request = tune.PlacementGroupFactory([{"CPU": 1}, {"CPU": 1, "license": 1}])

    def train(config: dict[str, Any]) -> dict[str, Any]:
        return {"given": tune.get_context().get_trial_resources().required_resources}

    (result,) = fit(
        tune.with_resources(train, request),
        tmp_path,
        run={"executor": tune.LocalExecutor(num_cpus=2, resources={"license": 1})},
    )
    assert result.metrics["given"] == {"CPU": 2.0, "license": 1.0}


class Looking(tune.Callback):
    """Notes what each trial asks for."""

    def __init__(self) -> None:
        self.seen: list[tune.PlacementGroupFactory] = []

    def on_trial_start(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self.seen.append(trial.placement_group_factory)


def test_a_trial_tells_all_of_what_it_asks_for(tmp_path: Path) -> None:
    def asked(config: dict[str, Any]) -> tune.PlacementGroupFactory:
        return tune.PlacementGroupFactory([{"CPU": 1}, {"CPU": 1}], strategy=config["strategy"])

    looking = Looking()
    grid = fit(
        tune.with_resources(
            lambda config: {"given": repr(tune.get_context().get_trial_resources())}, asked
        ),
        tmp_path,
        space={"strategy": tune.grid_search(["PACK", "STRICT_SPREAD"])},
        run={"executor": tune.LocalExecutor(num_cpus=2), "callbacks": [looking]},
    )
    expected = [asked({"strategy": each}) for each in ("PACK", "STRICT_SPREAD")]
    assert [result.metrics["given"] for result in grid] == list(map(repr, expected))
    assert looking.seen == expected
    read = tune.ExperimentAnalysis(grid.experiment_path).trials
    assert [trial.placement_group_factory for trial in read] == expected


@pytest.mark.parametrize(("chosen", "expected"), [(None, "2"), ("3", "3")])
def test_libraries_are_told_how_many_threads_to_use(
    chosen: str | None, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    for name in variables:
        monkeypatch.delenv(name, raising=False)
    if chosen is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", chosen)

    def train(config: dict[str, Any]) -> dict[str, Any]:
        return {name: os.environ[name] for name in variables}

    (result,) = fit(
        tune.with_resources(train, {"cpu": 2.5}),
        tmp_path,
        run={"executor": tune.LocalExecutor(num_cpus=4)},
    )
    assert [result.metrics[name] for name in variables] == [expected, "2", "2"]


@pytest.mark.parametrize("name", ["TUNE_CHDIR_TO_TRIAL_DIR", "RAY_CHDIR_TO_TRIAL_DIR"])
@pytest.mark.parametrize("executor", ["local", "inline"])
def test_a_trial_can_stay_in_the_directory_of_the_script(
    executor: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def train(config: dict[str, Any]) -> dict[str, str]:
        return {"cwd": os.getcwd(), "origin": os.environ["TUNE_ORIG_WORKING_DIR"]}

    for variable in ("1", "0"):
        monkeypatch.setenv(name, variable)
        (result,) = fit(train, tmp_path / "out", run={"executor": executor})
        assert result.metrics["cwd"] == (result.path if variable == "1" else str(tmp_path))
        assert result.metrics["origin"] == str(tmp_path)


@pytest.mark.parametrize(
    ("log_to_file", "expected"),
    [
        (True, {"stdout": ["out", "child", "C"], "stderr": ["err"]}),
        ("both.txt", {"both.txt": ["out", "err", "child", "C"]}),
        (("o.txt", "e.txt"), {"o.txt": ["out", "child", "C"], "e.txt": ["err"]}),
    ],
)
def test_output_goes_to_files(log_to_file: Any, expected: dict[str, Any], tmp_path: Path) -> None:
    script = f"""
import ctypes, os, sys
import tuner as tune
def train(config):
    print("out")
    print("err", file=sys.stderr)
    os.system("echo child")
    ctypes.CDLL(None).puts(b"C")
grid = tune.Tuner(
    train, run_config=tune.RunConfig(name="run", verbose=0, log_to_file={log_to_file!r})
).fit()
"""
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    environ["TUNER_STOP_GRACE_S"] = "120"  # C's buffer is written out when the trial has ended
    assert run_script(script, tmp_path, environ=environ) == ""
    (folder,) = (tmp_path / "run").glob("train_*")
    for name, lines in expected.items():
        assert (folder / name).read_text().split() == lines


def test_a_driver_can_run_two_experiments_at_once(tmp_path: Path) -> None:
    import threading

    meeting = tmp_path / "meeting"
    meeting.mkdir()
    met: list[bool] = []

    def train(config: dict[str, Any]) -> dict[str, bool]:
        return {"met": meet_the_others(str(meeting), 2)}

    def run() -> None:
        (result,) = fit(train, tmp_path, run={"name": threading.current_thread().name})
        met.append(result.metrics["met"])

    threads = [threading.Thread(target=run, name=name) for name in ("one", "other")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert met == [True, True]


def test_the_search_path_of_the_driver_holds_in_trials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "beside_the_driver.py").write_text("VALUE = 17\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    def train(config: dict[str, Any]) -> dict[str, int]:
        import beside_the_driver  # type: ignore[import-not-found]

        return {"value": beside_the_driver.VALUE}

    (result,) = fit(train, tmp_path / "out")
    assert result.metrics["value"] == 17
    assert "beside_the_driver" not in sys.modules
