"""What every executor does. A new one joins by one line in `EXECUTORS`."""

from __future__ import annotations

import functools
import json
import os
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from executor_driver import EXECUTORS, Driver, Failed, Reported, kinds, stop_after

import tuner as tune
from tuner.execution.executor import TrialExecutor
from tuner.trial_progress import Progress

ALL = [
    pytest.param(name, marks=pytest.mark.slow if name.startswith("ray") else ())
    for name in EXECUTORS
]
REAL = [each for each in ALL if each.values[0] not in ("simulated", "ray, elsewhere")]


@pytest.fixture(params=ALL)
def executor(request: pytest.FixtureRequest) -> TrialExecutor:
    return _made(request)


@pytest.fixture(params=REAL)
def real_executor(request: pytest.FixtureRequest) -> TrialExecutor:
    """One that gives trials their own surroundings, on this machine, and measures time."""
    return _made(request)


def _made(request: pytest.FixtureRequest) -> TrialExecutor:
    if request.param.startswith("ray"):
        request.getfixturevalue("ray_cluster")
    return EXECUTORS[request.param]()


@pytest.fixture(autouse=True)
def long_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here has to be killed, however slow it is to end."""
    monkeypatch.setenv("TUNER_STOP_GRACE_S", "60")


def count(config: dict[str, Any]) -> None:
    for i in range(3):
        tune.report({"i": i, "name": config.get("name")}, elapsed_s=0.5)


class Point:
    """A value that JSON cannot say."""

    def __init__(self, x: int) -> None:
        self.x = x


class Counter(tune.Trainable):
    made = 0

    def setup(self, config: dict[str, Any]) -> None:
        self.n = 0
        type(self).made += 1

    def step(self) -> dict[str, Any]:
        self.n += 1
        more = {"should_checkpoint": True} if self.n == self.config.get("save_at") else {}
        if self.n == self.config.get("done_at"):
            more["done"] = True
        return {"n": self.n, "made": self.made, "time_this_iter_s": 0.1, **more}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        return {"n": self.n}

    def load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.n = checkpoint["n"]

    def cleanup(self) -> None:
        Path(self.logdir, "cleaned").touch()


class Resettable(Counter):
    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.n = 0
        return True


def test_results_arrive_in_order_and_complete(executor: TrialExecutor, tmp_path: Path) -> None:
    with Driver(executor, count, tmp_path) as driver:
        told = driver.run(config={"name": "x"})
        results = driver.results()
    assert kinds(told) == ["Reported", "Reported", "Reported", "Finished"]
    assert [(r["i"], r["name"], r["training_iteration"]) for r in results] == [
        (0, "x", 1),
        (1, "x", 2),
        (2, "x", 3),
    ]
    assert driver.capacity["CPU"] >= 1
    for result in results:
        assert result["trial_id"] == "t0"
        assert result["hostname"]
        assert result["pid"] > 0
        assert result["done"] is False
        assert result["time_this_iter_s"] == 0.5
    assert [result["time_total_s"] for result in results] == [0.5, 1.0, 1.5]


def test_several_trials_one_after_the_other(executor: TrialExecutor, tmp_path: Path) -> None:
    with Driver(executor, count, tmp_path) as driver:
        for number in range(4):
            driver.launch(f"t{number}")
        driver.wait()
        assert [len(driver.results(f"t{n}")) for n in range(4)] == [3, 3, 3, 3]


@pytest.mark.parametrize("decision", ["STOP", "PAUSE"])
def test_a_stopped_function_unwinds(executor: TrialExecutor, tmp_path: Path, decision: str) -> None:
    def endless(config: dict[str, Any]) -> None:
        try:
            while True:
                try:
                    tune.report({"a": 1}, elapsed_s=1)
                except Exception:
                    (tmp_path / "swallowed").touch()
        finally:
            (tmp_path / "unwound").touch()

    with Driver(executor, endless, tmp_path, stop_after(2, decision)) as driver:
        told = driver.run()
    assert kinds(told) == ["Reported", "Reported", "Finished"]
    assert (tmp_path / "unwound").exists()
    assert not (tmp_path / "swallowed").exists()


def test_what_a_function_yields_or_returns_is_reported(
    executor: TrialExecutor, tmp_path: Path
) -> None:
    def any_way(config: dict[str, Any]) -> Any:
        if config["how"] == "yield":
            return ({"i": i, "time_this_iter_s": 1} for i in range(2))
        return {"dict": {"i": 5, "time_this_iter_s": 1}, "nothing": None}[config["how"]]

    with Driver(executor, any_way, tmp_path) as driver:
        for how in ("yield", "dict", "nothing"):
            driver.run(how, config={"how": how})
        assert [r["i"] for r in driver.results("yield")] == [0, 1]
        assert [r["i"] for r in driver.results("dict")] == [5]
        assert driver.results("nothing") == []


def test_a_generator_yields_metrics_and_seconds(executor: TrialExecutor, tmp_path: Path) -> None:
    def train(config: dict[str, Any]) -> Any:
        for i in range(2):
            yield {"i": i}, 2.5
        return {"i": 2, "time_this_iter_s": 1.0}

    with Driver(executor, train, tmp_path) as driver:
        driver.run()
        results = driver.results()
    assert [(r["i"], r["time_this_iter_s"], r["time_total_s"]) for r in results] == [
        (0, 2.5, 2.5),
        (1, 2.5, 5.0),
        (2, 1.0, 6.0),
    ]


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf"), "1", True])
def test_impossible_durations_are_refused(
    executor: TrialExecutor, tmp_path: Path, seconds: Any
) -> None:
    def train(config: dict[str, Any]) -> None:
        tune.report({"a": 1}, elapsed_s=seconds)

    with Driver(executor, train, tmp_path) as driver:
        (failed,) = driver.run()
    assert isinstance(failed, Failed)
    assert f"elapsed_s={seconds!r}) must be a number of seconds >= 0" in failed.error


def test_a_number_that_a_function_returns_is_reported(
    real_executor: TrialExecutor, tmp_path: Path
) -> None:
    with Driver(real_executor, lambda config: 7, tmp_path) as driver:
        driver.run()
        assert [r["_metric"] for r in driver.results()] == [7]


def test_an_error_is_told_without_the_frames_of_the_library(
    executor: TrialExecutor, tmp_path: Path
) -> None:
    def fail(config: dict[str, Any]) -> None:
        raise ValueError("no good")

    with Driver(executor, fail, tmp_path) as driver:
        (failed,) = driver.run()
    assert isinstance(failed, Failed)
    assert failed.error.splitlines()[-1] == "ValueError: no good"
    assert "test_executors_contract" in failed.error
    assert "tuner/execution" not in failed.error


def test_sys_exit_is_an_error(executor: TrialExecutor, tmp_path: Path) -> None:
    with Driver(executor, lambda config: sys.exit(3), tmp_path) as driver:
        (failed,) = driver.run()
    assert isinstance(failed, Failed)
    assert "SystemExit: 3" in failed.error


def test_a_configuration_arrives_exactly(executor: TrialExecutor, tmp_path: Path) -> None:
    def look(config: dict[str, Any]) -> dict[str, Any]:
        return {
            "x": config["point"].x,
            "sum": config["array"].sum(),
            "dtype": str(config["array"].dtype),
            "called": config["function"](2),
            "tuple": type(config["pair"]).__name__,
            "nan": config["nan"] != config["nan"],
            "class": config["class"].__name__,
            "time_this_iter_s": 1.0,
        }

    config = {
        "point": Point(3),
        "array": np.arange(4, dtype=np.int16),
        "function": lambda value: value * 21,
        "pair": (1, 2),
        "nan": float("nan"),
        "class": Point,
    }
    with Driver(executor, look, tmp_path) as driver:
        driver.run(config=config)
        (result,) = driver.results()
    assert result["x"] == 3
    assert (result["sum"], result["dtype"]) == (6, "int16")
    assert result["called"] == 42
    assert (result["tuple"], result["nan"], result["class"]) == ("tuple", True, "Point")


def test_a_checkpoint_is_staged_and_can_be_resumed_from(
    executor: TrialExecutor, tmp_path: Path
) -> None:
    def train(config: dict[str, Any]) -> None:
        checkpoint = tune.get_checkpoint()
        start = 0
        if checkpoint is not None:
            with checkpoint.as_directory() as folder:
                start = json.loads(Path(folder, "state.json").read_text())
        for i in range(start, start + 2):
            folder = tmp_path / "scratch"
            folder.mkdir(exist_ok=True)
            (folder / "state.json").write_text(json.dumps(i + 1))
            checkpoint = tune.Checkpoint.from_directory(folder)
            tune.report({"i": i}, checkpoint=checkpoint, elapsed_s=1)

    with Driver(executor, train, tmp_path) as driver:
        told = driver.run(next_checkpoint=4)
        names = [s.checkpoint for s in told if isinstance(s, Reported)]
        staged = tmp_path / "t0" / ".checkpoint_000005.attempt1"
        assert names == ["checkpoint_000004", "checkpoint_000005"]
        assert json.loads((staged / "state.json").read_text()) == 2
        driver.run(attempt=2, checkpoint=tune.Checkpoint(staged), progress=Progress(2, 10.0))
        results = driver.results()
    assert [r["i"] for r in results] == [0, 1, 2, 3]
    assert [r["training_iteration"] for r in results] == [1, 2, 3, 4]
    assert [r["iterations_since_restore"] for r in results] == [1, 2, 1, 2]
    assert results[2]["time_total_s"] >= 10.0
    assert results[0]["checkpoint_dir_name"] == "checkpoint_000004"


def test_where_a_trial_works_and_what_it_knows(
    real_executor: TrialExecutor, tmp_path: Path
) -> None:
    def look(config: dict[str, Any]) -> dict[str, Any]:
        context = tune.get_context()
        return {
            "cwd": os.getcwd(),
            "origin": os.environ["TUNE_ORIG_WORKING_DIR"],
            "variable": os.environ.get("SOME_VARIABLE"),
            "dir": context.get_trial_dir(),
            "id": context.get_trial_id(),
            "name": context.get_trial_name(),
            "experiment": context.get_experiment_name(),
            "cpus": context.get_trial_resources().head_cpus,
        }

    before = os.getcwd()
    with Driver(real_executor, look, tmp_path) as driver:
        driver.run("inside", environ={"SOME_VARIABLE": "set"})
        driver.run("outside", change_directory=False)
        (inside,), (outside,) = driver.results("inside"), driver.results("outside")
    assert inside["cwd"] == inside["dir"] == str(tmp_path / "inside")
    assert inside["origin"] == outside["cwd"] == str(tmp_path)
    assert inside["variable"] == "set"
    assert (inside["id"], inside["name"]) == ("inside", "name_inside")
    assert (inside["experiment"], inside["cpus"]) == ("experiment", 1.0)
    assert os.getcwd() == before


def test_output_goes_to_files_also_below_python(
    real_executor: TrialExecutor, tmp_path: Path
) -> None:
    def talk(config: dict[str, Any]) -> None:
        print("from python", flush=True)
        os.system("echo from a child")
        os.write(2, b"from below\n")

    with Driver(real_executor, talk, tmp_path) as driver:
        driver.run(stdout=str(tmp_path / "out"), stderr=str(tmp_path / "err"))
    assert (tmp_path / "out").read_text() == "from python\nfrom a child\n"
    assert (tmp_path / "err").read_text() == "from below\n"


def test_what_the_driver_prints_meanwhile_stays_out_of_the_files(
    real_executor: TrialExecutor, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def decide(reported: Reported) -> str:
        print("decided")
        return "CONTINUE"

    def talk(config: dict[str, Any]) -> None:
        print("before")
        tune.report({"a": 1})
        print("after")

    with Driver(real_executor, talk, tmp_path, decide) as driver:
        driver.run(stdout=str(tmp_path / "out"))
    assert (tmp_path / "out").read_text() == "before\nafter\n"
    assert capfd.readouterr().out == "decided\n"


def test_what_c_code_has_printed_is_not_lost(
    real_executor: TrialExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)  # it would unbuffer C as well

    def talk(config: dict[str, Any]) -> None:
        import ctypes

        ctypes.CDLL(None).printf(b"from C in %s\n", config["name"].encode())

    with Driver(real_executor, talk, tmp_path) as driver:
        for name in ("a", "b"):
            log = str(tmp_path / f"{name}.log")
            driver.run(name, config={"name": name}, stdout=log, keep_worker=True)
    assert (tmp_path / "a.log").read_text() == "from C in a\n"
    assert (tmp_path / "b.log").read_text() == "from C in b\n"


def test_the_environment_of_a_trial_is_not_that_of_the_driver(
    real_executor: TrialExecutor, tmp_path: Path
) -> None:
    def change(config: dict[str, Any]) -> dict[str, Any]:
        os.environ["SET_BY_A_TRIAL"] = "1"
        return {"given": os.environ.get("GIVEN")}

    before = dict(os.environ)
    with Driver(real_executor, change, tmp_path) as driver:
        driver.run("a", environ={"GIVEN": "yes"})
        driver.run("b")
        assert [driver.results(t)[0]["given"] for t in "ab"] == ["yes", None]
    assert dict(os.environ) == before


def test_each_seed_has_its_own_streams(executor: TrialExecutor, tmp_path: Path) -> None:
    def draw(config: dict[str, Any]) -> dict[str, float]:
        return {
            "numpy": float(np.random.rand()),
            "random": random.random(),
            "time_this_iter_s": 1.0,
        }

    before = random.getstate()
    with Driver(executor, draw, tmp_path) as driver:
        for trial_id, seed in (("a", 1), ("b", 2), ("c", 1)):
            driver.run(trial_id, seed=seed)
        drawn = [(r["numpy"], r["random"]) for t in "abc" for r in driver.results(t)]
    assert drawn[0] == drawn[2] != drawn[1]
    assert random.getstate() == before


def test_a_class_is_saved_when_it_should_be(executor: TrialExecutor, tmp_path: Path) -> None:
    with Driver(executor, Counter, tmp_path, stop_after(5)) as driver:
        told = driver.run(
            "often", checkpoint_frequency=2, checkpoint_at_end=True, config={"save_at": 3}
        )
        saved = [(s.result["n"], s.checkpoint) for s in told if isinstance(s, Reported)]
        assert saved == [
            (1, None),
            (2, "checkpoint_000000"),
            (3, "checkpoint_000001"),
            (4, "checkpoint_000002"),
            (5, None),
        ]
        assert kinds(told)[-2:] == ["Saved", "Finished"]
        at_end = driver.run("done", checkpoint_at_end=True, config={"done_at": 2})
        assert [s.checkpoint for s in at_end if isinstance(s, Reported)] == [
            None,
            "checkpoint_000000",
        ]
        resumed = driver.run(
            "often",
            attempt=2,
            checkpoint=tune.Checkpoint(tmp_path / "often" / ".checkpoint_000002.attempt1"),
            progress=Progress(4),
        )
    assert [s.result["n"] for s in resumed if isinstance(s, Reported)] == [5]
    assert (tmp_path / "often" / "cleaned").exists()


def test_a_paused_class_is_saved(executor: TrialExecutor, tmp_path: Path) -> None:
    with Driver(executor, Counter, tmp_path, stop_after(2, "PAUSE")) as driver:
        assert kinds(driver.run()) == ["Reported", "Reported", "Saved", "Finished"]


def test_a_class_that_is_told_to_save_does_so_and_goes_on(
    executor: TrialExecutor, tmp_path: Path
) -> None:
    answers = iter(("SAVE", "CONTINUE", "STOP"))
    with Driver(executor, Counter, tmp_path, lambda reported: next(answers)) as driver:
        told = driver.run()
    assert kinds(told) == ["Reported", "Saved", "Reported", "Reported", "Finished"]
    assert [r["training_iteration"] for r in driver.results("t0")] == [1, 2, 3]


def test_a_function_that_is_told_to_save_goes_on(executor: TrialExecutor, tmp_path: Path) -> None:
    def train(config: dict[str, Any]) -> None:
        for n in range(2):
            tune.report({"n": n}, elapsed_s=1.0)

    with Driver(executor, train, tmp_path, lambda reported: "SAVE") as driver:
        assert kinds(driver.run()) == ["Reported", "Reported", "Finished"]


def test_a_kept_worker_takes_the_next_trial(real_executor: TrialExecutor, tmp_path: Path) -> None:
    with Driver(real_executor, Resettable, tmp_path, stop_after(2)) as driver:
        driver.run("a", keep_worker=True)
        driver.run("b", keep_worker=True, config={"other": 1})
        a, b = driver.results("a"), driver.results("b")
    assert a[-1]["pid"] == b[-1]["pid"]
    assert a[-1]["made"] == b[-1]["made"]
    assert [r["n"] for r in b] == [1, 2]


def test_a_kept_worker_makes_a_new_object_where_it_cannot_be_reset(
    real_executor: TrialExecutor, tmp_path: Path
) -> None:
    with Driver(real_executor, Counter, tmp_path, stop_after(2)) as driver:
        driver.run("a", keep_worker=True)
        driver.run("b", keep_worker=True)
        a, b = driver.results("a"), driver.results("b")
    assert a[-1]["pid"] == b[-1]["pid"]
    assert b[-1]["made"] == a[-1]["made"] + 1


@pytest.mark.parametrize(
    "trainable",
    [
        lambda config: {"x": 1, "time_this_iter_s": 1.0},
        functools.partial(lambda config, x: {"x": x, "time_this_iter_s": 1.0}, x=1),
        tune.with_parameters(lambda config, x: {"x": x, "time_this_iter_s": 1.0}, x=1),
    ],
    ids=["lambda", "partial", "with_parameters"],
)
def test_any_callable_runs(executor: TrialExecutor, tmp_path: Path, trainable: Any) -> None:
    with Driver(executor, trainable, tmp_path) as driver:
        driver.run()
        assert driver.results()[0]["x"] == 1


def test_a_class_is_cleaned_up_once_whatever_fails(executor: TrialExecutor, tmp_path: Path) -> None:
    class Broken(tune.Trainable):
        def step(self) -> dict[str, Any]:
            return {"done": True, "time_this_iter_s": 1.0}

        def save_checkpoint(self, checkpoint_dir: str) -> None:
            raise RuntimeError("cannot be saved")

        def cleanup(self) -> None:
            with open(tmp_path / "cleanups", "a") as file:
                file.write("x")

    with Driver(executor, Broken, tmp_path) as driver:
        failed = driver.run(checkpoint_at_end=True)[-1]
        assert isinstance(failed, Failed)
        assert "cannot be saved" in failed.error
    assert (tmp_path / "cleanups").read_text() == "x"
