"""Trainables that misbehave: what they do to others, to the driver and to its memory."""

from __future__ import annotations

import itertools
import json
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fit_helpers import fit, run_script, wait_until

import tuner as tune
from tuner.codec import StandIn


@pytest.fixture(autouse=True)
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNER_STOP_GRACE_S", "0.1")


def test_a_trial_that_runs_out_of_memory_fails_alone(tmp_path: Path) -> None:
    def leak(config: dict[str, Any]) -> None:
        tune.report({"n": 1})
        if config["leaks"]:
            used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + 200_000_000, -1))
            kept = [bytes(1_000_000) for _ in itertools.count()]
            assert kept
        tune.report({"n": 2})

    grid = fit(leak, tmp_path, space={"leaks": tune.grid_search([False, True, False])})
    assert [result.status for result in grid] == ["TERMINATED", "ERROR", "TERMINATED"]
    assert isinstance(grid[1].error, MemoryError)
    assert [result.metrics["n"] for result in grid] == [2, 1, 2]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_no_kind_of_child_outlives_the_experiment(method: Any, tmp_path: Path) -> None:
    def breed(config: dict[str, Any]) -> dict[str, int]:
        with subprocess.Popen(
            [
                sys.executable,
                "-c",
                "import os, sys, time\n"
                "if os.fork(): os._exit(0)\n"  # a daemon: nobody's child, in a session of its own
                "os.setsid()\n"
                "if os.fork(): os._exit(0)\n"
                "print(os.getpid(), flush=True)\n"
                "sys.stdout = None; os.close(1)\n"
                "time.sleep(1000)\n",
            ],
            stdout=subprocess.PIPE,
        ) as parent:
            assert parent.stdout is not None
            daemon = int(parent.stdout.readline())
        own_session = subprocess.Popen(["sleep", "1000"], start_new_session=True)
        plain = subprocess.Popen(["sleep", "1000"])
        pids = {"daemon": daemon, "own_session": own_session.pid, "plain": plain.pid}
        assert all(is_alive(pid) for pid in pids.values())
        return pids

    executor = tune.LocalExecutor(num_cpus=1, start_method=method)
    (result,) = fit(breed, tmp_path, run={"executor": executor})
    pids = [result.metrics[name] for name in ("daemon", "own_session", "plain")]
    wait_until(lambda: not any(map(is_alive, pids)))


@pytest.mark.parametrize("executor", ["local", "inline"])
def test_a_trial_that_will_not_hear_of_its_end_adds_nothing(executor: str, tmp_path: Path) -> None:
    """The inline one gives up by itself, as nobody could end it."""

    def deaf(config: dict[str, Any]) -> None:
        for n in itertools.count(1):
            try:
                tune.report({"n": n})
            except BaseException:
                if executor == "inline" and n > 100:
                    raise

    run = {"stop": {"n": 3}, "executor": executor}
    grid = fit(deaf, tmp_path, num_samples=2, run=run)
    for result in grid:
        assert (result.status, result.metrics["n"]) == ("TERMINATED", 3)
        rows = Path(result.path, "result.json").read_text().splitlines()
        assert [json.loads(row)["n"] for row in rows] == [1, 2, 3]


@pytest.mark.parametrize("executor", ["local", "inline"])
def test_a_trial_that_never_reports_is_no_error(executor: str, tmp_path: Path) -> None:
    def silent(config: dict[str, Any]) -> None:
        Path("was_here").touch()

    grid = fit(silent, tmp_path, num_samples=2, run={"executor": executor}, metric="x", mode="max")
    assert [result.status for result in grid] == ["TERMINATED"] * 2
    assert all(Path(result.path, "was_here").exists() for result in grid)
    assert tune.Tuner.restore(Path(grid.experiment_path)).fit().num_terminated == 2


def unstorable() -> Iterator[int]:
    yield 1


@pytest.mark.parametrize("executor", ["local", "inline"])
def test_metrics_that_cannot_be_stored_are_named_and_kept_as_text(
    executor: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def odd(config: dict[str, Any]) -> None:
        for n in range(3):
            with open("opened", "w") as file:
                lock = {"deep": [threading.Lock()]}
                odd_ones = {"lock": lock, "generator": unstorable(), "file": file}
                tune.report({"n": n, "function": lambda: 1, **odd_ones})

    run = {"executor": executor, "log_to_file": executor == "local"}
    (result,) = fit(odd, tmp_path, run=run)
    assert (result.status, result.metrics["n"]) == ("TERMINATED", 2)
    assert result.metrics["function"]() == 1, "what can be pickled comes back"
    told = Path(result.path, "stderr").read_text() if executor == "local" else caplog.text
    for name in ("lock", "generator", "file"):
        assert told.count(f"report({{'{name}': ") == 1
    assert "'function'" not in told
    assert isinstance(result.metrics["lock"]["deep"][0], StandIn)
    assert isinstance(result.metrics["generator"], StandIn)
    rows = Path(result.path, "result.json").read_text().splitlines()
    assert [json.loads(row)["n"] for row in rows] == [0, 1, 2]


MEASURE = """
import os, sys, time
import tuner as tune

def peak():  # not ru_maxrss, which begins with what the parent process had
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return int(status["VmHWM"].split()[0]) // 1024

def shout(config):
    line = b"x" * 1023 + b"\\n"
    for _ in range(config["megabytes"]):
        os.write(1, line * 1024)
    tune.report({"n": 1})

def large(config):
    for n in range(config["megabytes"]):
        tune.report({"n": n, "text": str(n % 10) * 1_000_000})

def run(name, megabytes, **config):
    began = time.perf_counter()
    grid = tune.Tuner(
        globals()[name], param_space={"megabytes": megabytes},
        run_config=tune.RunConfig(name=name, verbose=0, **config),
    ).fit()
    assert grid.num_terminated == 1, grid.errors
    return grid[0], time.perf_counter() - began

name, megabytes, to_file = NAME, MEGABYTES, TO_FILE
run(name, 8, log_to_file=to_file)
before = peak()
result, seconds = run(name, megabytes, log_to_file=to_file)
growth = peak() - before
print("\\nMEASURED", growth, round(seconds, 2), result.path)
"""


def measure(name: str, megabytes: int, to_file: bool, folder: Path) -> tuple[int, float, Path]:
    """By how many MiB the driver's memory grew at most, how long it took, and the trial."""
    values = {"NAME": repr(name), "MEGABYTES": str(megabytes), "TO_FILE": str(to_file)}
    script = MEASURE
    for word, value in values.items():
        script = script.replace(word, value)
    output = run_script(script, folder)
    growth, seconds, path = output.rsplit("MEASURED", 1)[1].split()
    print(f"{name}: {megabytes} MB in {seconds} s, the driver's memory grew by {growth} MiB")
    return int(growth), float(seconds), Path(path)


@pytest.mark.slow
@pytest.mark.parametrize("to_file", [False, True])
def test_hundreds_of_megabytes_printed_do_not_fill_the_drivers_memory(
    to_file: bool, tmp_path: Path
) -> None:
    growth, _, trial = measure("shout", 300, to_file, tmp_path)
    assert growth < 50
    if to_file:
        assert os.path.getsize(trial / "stdout") == 300 * 1024 * 1024


@pytest.mark.slow
def test_metrics_of_a_megabyte_do_not_fill_the_drivers_memory(tmp_path: Path) -> None:
    growth, seconds, trial = measure("large", 200, False, tmp_path)
    assert growth < 100
    sizes = [path.stat().st_size for path in (trial.parent / "journal").glob("*.jsonl")]
    assert 200e6 < sum(sizes) < 210e6
    assert max(sizes) < 18e6
    with open(trial / "result.json") as rows:
        assert [json.loads(row)["n"] for row in rows] == [*range(200)]
    assert seconds < 120
