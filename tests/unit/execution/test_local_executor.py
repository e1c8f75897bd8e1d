"""What only the local executor does: processes, signals, output, GPUs, the fork server."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from executor_driver import (
    EXECUTORS,
    TIMEOUT_S,
    Driver,
    Failed,
    Finished,
    Reported,
    kinds,
    stop_after,
)

import tuner as tune
from tuner.errors import TrainableError
from tuner.execution import process_executor
from tuner.execution.local import LocalExecutor

in_processes = pytest.mark.parametrize("kind", ["fork", "spawn"])


@pytest.fixture(autouse=True)
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNER_STOP_GRACE_S", "0.3")


def count(config: dict[str, Any]) -> None:
    for i in range(3):
        tune.report({"i": i, "name": config.get("name")})


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
        return {"n": self.n, "made": self.made, **more}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        return {"n": self.n}

    def load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.n = checkpoint["n"]

    def cleanup(self) -> None:
        Path("cleaned").touch()


@in_processes
@pytest.mark.parametrize("keep_worker", [False, True])
def test_no_trial_sees_what_another_did_to_the_parameters(
    kind: str, keep_worker: bool, tmp_path: Path
) -> None:
    parameters = {"large": np.ones(1_000_000), "small": np.ones(2), "names": ["a"]}

    def use(config: dict[str, Any], large: Any, small: Any, names: list[str]) -> dict[str, Any]:
        for array in (large, small):
            with pytest.raises(ValueError, match="read-only"):
                array += 1
        names.append("b")
        return {"sum": float(large.sum()), "names": "".join(names)}

    with Driver(EXECUTORS[kind](), tune.with_parameters(use, **parameters), tmp_path) as driver:
        for trial_id in "abc":
            driver.run(trial_id, keep_worker=keep_worker)
        results = [driver.results(trial_id)[0] for trial_id in "abc"]
    assert [result["sum"] for result in results] == [1_000_000] * 3
    assert [result["names"] for result in results] == ["ab"] * 3
    assert len({result["pid"] for result in results}) == (1 if keep_worker else 3)
    assert parameters["names"] == ["a"]


@in_processes
def test_what_trials_print_is_passed_on(kind: str, tmp_path: Path) -> None:
    with Driver(EXECUTORS[kind](), lambda config: print("hello"), tmp_path) as driver:
        driver.run()
        assert driver.output["t0"] == b"hello\n"


@in_processes
def test_a_fresh_trial_has_a_fresh_process(kind: str, tmp_path: Path) -> None:
    with Driver(EXECUTORS[kind](), count, tmp_path) as driver:
        driver.run("a")
        driver.run("b")
        pids = {r["pid"] for t in "ab" for r in driver.results(t)}
    assert len(pids) == 2
    assert os.getpid() not in pids


@in_processes
@pytest.mark.parametrize("ignores", [False, True])
def test_an_attempt_that_never_reports_can_be_ended(
    kind: str, ignores: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wait(config: dict[str, Any]) -> None:
        import signal
        import threading

        if ignores:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        tune.report({"ready": 1})
        try:
            threading.Event().wait()
        finally:
            Path("unwound").touch()

    with Driver(EXECUTORS[kind](), wait, tmp_path) as driver:
        driver.launch()
        driver.wait_until(lambda: bool(driver.results()))
        driver.executor.end("t0", 1)
        if not ignores:  # it may be slow to unwind after SIGTERM
            monkeypatch.setattr(driver.executor, "_grace_s", TIMEOUT_S)
        driver.wait()
    last = driver.stimuli[-1]
    assert isinstance(last, Finished)
    assert last.interrupted
    assert (tmp_path / "t0" / "unwound").exists() is not ignores


@in_processes
def test_an_attempt_that_is_told_to_end_may_complete_by_itself(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNER_STOP_GRACE_S", str(TIMEOUT_S))
    os.mkfifo(tmp_path / "gate")

    def wait(config: dict[str, Any]) -> None:
        tune.report({"ready": 1})
        with open(config["gate"]) as gate:
            gate.read()

    with Driver(EXECUTORS[kind](), wait, tmp_path) as driver:
        driver.launch(config={"gate": str(tmp_path / "gate")})
        driver.wait_until(lambda: bool(driver.results()))
        driver.executor.end("t0", 1)
        with open(tmp_path / "gate", "w"):
            pass
        driver.wait()
    last = driver.stimuli[-1]
    assert isinstance(last, Finished)
    assert not last.interrupted


@in_processes
def test_a_signal_from_outside_is_a_failure(kind: str, tmp_path: Path) -> None:
    def suicidal(config: dict[str, Any]) -> None:
        import signal
        import threading

        os.kill(os.getpid(), signal.SIGTERM)
        threading.Event().wait()

    with Driver(EXECUTORS[kind](), suicidal, tmp_path) as driver:
        (last,) = driver.run()
    assert isinstance(last, Failed)
    assert last.error == "the trial was ended by a SIGTERM from outside"


@in_processes
def test_a_worker_that_had_to_be_signalled_is_not_kept(kind: str, tmp_path: Path) -> None:
    def wait(config: dict[str, Any]) -> None:
        import threading

        tune.report({"ready": 1})
        if config.get("wait"):
            threading.Event().wait()

    with Driver(EXECUTORS[kind](), wait, tmp_path) as driver:
        driver.launch("a", keep_worker=True, config={"wait": True})
        driver.wait_until(lambda: bool(driver.results("a")))
        driver.executor.end("a", 1)
        driver.wait()
        driver.run("b", keep_worker=True)
        assert kinds(driver.stimuli) == ["Reported", "Finished"] * 2
        assert driver.results("a")[0]["pid"] != driver.results("b")[0]["pid"]


@in_processes
def test_saving_at_the_end_may_take_longer_than_the_grace_period(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_executor, "_PATIENCE", 1000)

    class Slow(Counter):
        def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
            import threading

            threading.Event().wait(0.7)
            return {"n": self.n}

    with Driver(EXECUTORS[kind](), Slow, tmp_path, stop_after(1)) as driver:
        assert kinds(driver.run(checkpoint_at_end=True)) == ["Reported", "Saved", "Finished"]


@in_processes
def test_what_a_trial_has_started_ends_with_the_executor(kind: str, tmp_path: Path) -> None:
    def start(config: dict[str, Any]) -> dict[str, int]:
        import subprocess

        one = subprocess.Popen(["sleep", "1000"])
        other = subprocess.Popen(["sleep", "1000"], start_new_session=True)
        return {"one": one.pid, "other": other.pid}

    with Driver(EXECUTORS[kind](), start, tmp_path) as driver:
        driver.run()
        (result,) = driver.results()
        driver.wait_until(lambda: not Path(f"/proc/{result['one']}").exists())
    assert not Path(f"/proc/{result['other']}").exists()


@in_processes
def test_a_wait_under_way_can_be_cut_short(kind: str, tmp_path: Path) -> None:
    import threading
    import time

    with Driver(EXECUTORS[kind](), count, tmp_path) as driver:
        driver.run()
        while driver.executor.wait(0):
            pass
        timer = threading.Timer(0.1, driver.executor.wake)
        timer.start()
        started = time.monotonic()
        assert driver.executor.wait(600) == []
        assert time.monotonic() - started < 300
        timer.join()


@in_processes
def test_a_large_configuration_reaches_a_worker_that_is_slow_to_start(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = tmp_path / "go"
    go.touch()
    (tmp_path / "slow_module.py").write_text(
        "import pathlib, time\n"
        "while not pathlib.Path(__file__).with_name('go').exists():\n"
        "    time.sleep(0.01)\n"
        "def train(config):\n"
        "    return {'size': len(config['data'])}\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "slow_module", raising=False)
    from slow_module import train  # type: ignore[import-not-found]

    go.unlink()
    with Driver(EXECUTORS[kind](), train, tmp_path) as driver:
        driver.launch("large", config={"data": "x" * 5_000_000})
        driver.launch("small", config={"data": "x"})
        go.touch()
        driver.wait()
        assert driver.results("large")[0]["size"] == 5_000_000
        assert driver.results("small")[0]["size"] == 1


@in_processes
@pytest.mark.parametrize(
    ("end", "words"),
    [
        (lambda: os.kill(os.getpid(), 9), "killed by SIGKILL"),
        (lambda: os.kill(os.getpid(), 11), "killed by SIGSEGV"),
        (lambda: os._exit(5), "exit code 5"),
    ],
    ids=["kill", "segfault", "exit"],
)
def test_the_death_of_a_worker_is_an_error(
    kind: str, end: Callable[[], None], words: str, tmp_path: Path
) -> None:
    def die(config: dict[str, Any]) -> None:
        tune.report({"a": 1})
        end()

    with Driver(EXECUTORS[kind](), die, tmp_path) as driver:
        told = driver.run()
    assert kinds(told) == ["Reported", "Failed"]
    assert isinstance(told[-1], Failed)
    assert words in told[-1].error


@in_processes
def test_a_worker_that_failed_is_not_kept(kind: str, tmp_path: Path) -> None:
    def sometimes(config: dict[str, Any]) -> dict[str, int]:
        if config.get("fail"):
            raise ValueError
        return {"pid": os.getpid()}

    with Driver(EXECUTORS[kind](), sometimes, tmp_path) as driver:
        driver.run("a", keep_worker=True)
        driver.run("b", keep_worker=True, config={"fail": True})
        driver.run("c", keep_worker=True)
        assert driver.results("a")[0]["pid"] != driver.results("c")[0]["pid"]


@in_processes
def test_gpus_are_shared_out(kind: str, tmp_path: Path) -> None:
    def look(config: dict[str, Any]) -> dict[str, str]:
        return {"gpus": os.environ["CUDA_VISIBLE_DEVICES"]}

    executor = LocalExecutor(num_cpus=4, num_gpus=3, start_method=kind)  # type: ignore[arg-type]
    with Driver(executor, look, tmp_path) as driver:
        for trial_id, amount in (("none", 0), ("two", 2), ("half", 0.5), ("other", 0.5)):
            driver.launch(trial_id, bundles=[{"CPU": 1.0, "GPU": amount} if amount else {}])
        driver.wait()
        seen = {t: driver.results(t)[0]["gpus"] for t in ("none", "two", "half", "other")}
    assert seen == {"none": "", "two": "0,1", "half": "2", "other": "2"}


@in_processes
def test_a_trial_waits_while_free_gpus_lie_in_pieces(kind: str, tmp_path: Path) -> None:
    def hold(config: dict[str, Any]) -> dict[str, str]:
        import threading

        tune.report({"gpus": os.environ["CUDA_VISIBLE_DEVICES"]})
        while not Path("../go").exists():
            threading.Event().wait(0.01)
        return {"gpus": os.environ["CUDA_VISIBLE_DEVICES"]}

    executor = LocalExecutor(num_cpus=4, num_gpus=2, start_method=kind)  # type: ignore[arg-type]
    with Driver(executor, hold, tmp_path) as driver:
        for trial_id in "abcd":
            driver.launch(trial_id, bundles=[{"CPU": 1.0, "GPU": 0.6}])
        driver.wait_until(lambda: all(driver.results(trial_id) for trial_id in "ab"))
        executor.end("d", 1)
        (tmp_path / "go").touch()
        driver.wait()
        seen = [{result["gpus"] for result in driver.results(trial_id)} for trial_id in "abcd"]
    assert [seen[0], seen[1], seen[3]] == [{"0"}, {"1"}, set()]
    assert seen[2] in ({"0"}, {"1"})
    ended = {s.trial_id: type(s) for s in driver.stimuli if not isinstance(s, Reported)}
    assert set(ended.values()) == {Finished}


def test_what_cannot_be_pickled_is_a_clear_error(tmp_path: Path) -> None:
    import threading

    lock = threading.Lock()

    def hold(config: dict[str, Any]) -> None:
        lock.acquire()

    with pytest.raises(TrainableError, match="trainable 'trainable' cannot be pickled"):
        Driver(LocalExecutor(), hold, tmp_path)


@in_processes
def test_a_module_that_workers_cannot_import_is_a_clear_error(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "vanishing_module.py"
    module.write_text("def train(config):\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    from vanishing_module import train  # type: ignore[import-not-found]

    module.write_text("raise RuntimeError('not here')\n")
    for cached in tmp_path.glob("__pycache__/*"):
        cached.unlink()
    driver = Driver(EXECUTORS[kind](), train, tmp_path)
    try:
        if kind == "fork":
            with pytest.raises(TrainableError, match="not here"):
                driver.run()
        else:
            (failed,) = driver.run()
            assert isinstance(failed, Failed)
            assert b"RuntimeError: not here" in driver.output["t0"]
    finally:
        driver.executor.shutdown()


def test_forking_is_given_up_where_it_is_unsafe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A module named torch that says of itself what torch says once CUDA is initialized.
    (tmp_path / "torch.py").write_text(
        "class cuda:\n"
        "    @staticmethod\n"
        "    def is_initialized():\n"
        "        return True\n"
        "def manual_seed(seed):\n"
        "    pass\n"
    )
    (tmp_path / "uses_cuda.py").write_text("import torch\ndef train(config):\n    return 1\n")
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from pathlib import Path\n"
        "from executor_driver import EXECUTORS, Driver, kinds\n"
        "from tuner.execution.local import LocalExecutor\n"
        "import uses_cuda\n"
        "executor = LocalExecutor(start_method='fork')\n"
        f"with Driver(executor, uses_cuda.train, Path({str(tmp_path)!r})) as driver:\n"
        "    print(kinds(driver.run()), executor._start_method)\n"
    )
    import subprocess

    printed = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=True
    ).stdout
    assert printed == "['Reported', 'Finished'] spawn\n"


@pytest.mark.slow
def test_many_more_launches_than_a_socket_holds(tmp_path: Path) -> None:
    with Driver(LocalExecutor(num_cpus=800), lambda config: {"x": 1}, tmp_path) as driver:
        for number in range(800):
            driver.launch(f"t{number}")
        driver.wait()
        assert sum(isinstance(stimulus, Finished) for stimulus in driver.stimuli) == 800


def test_nothing_stays_open_when_the_fork_server_has_died(tmp_path: Path) -> None:
    executor = LocalExecutor()
    gc.collect()  # what other tests left
    before = len(os.listdir("/proc/self/fd"))
    with Driver(executor, lambda config: {"parent": os.getppid()}, tmp_path) as driver:
        driver.run(keep_worker=True)
        os.kill(driver.results()[0]["parent"], signal.SIGKILL)
    assert len(os.listdir("/proc/self/fd")) == before
    executor.wake()  # of no use, and no harm


@in_processes
def test_a_signal_without_a_name_is_told_by_its_number(kind: str, tmp_path: Path) -> None:
    with Driver(EXECUTORS[kind](), lambda config: os.kill(os.getpid(), 40), tmp_path) as driver:
        (failed,) = driver.run()
        assert isinstance(failed, Failed)
        assert failed.error == "the worker process was killed by signal 40"
