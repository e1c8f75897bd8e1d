"""Virtual time, virtual workers, and what happens between them."""

from __future__ import annotations

import json
import pickle
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from executor_driver import Driver, Failed, Finished, Reported, Saved, kinds, stop_after

import tuner as tune
from tuner.errors import ConfigError
from tuner.execution import streams
from tuner.execution.executor import Job
from tuner.execution.simulated import SimulatedExecutor
from tuner.execution.streams import StreamSwitch, TrialStreams
from tuner.experiment.events import Stimulus


def steps(config: dict[str, Any]) -> Iterator[tuple[dict[str, Any], float]]:
    for i in range(config["n"]):
        yield {"i": i}, config["seconds"]


def arrivals(driver: Driver) -> list[tuple[float, str, int]]:
    reported = (s for s in driver.stimuli if isinstance(s, Reported))
    return [(s.time, s.trial_id, s.result["i"]) for s in reported]


def test_results_arrive_when_they_are_due_in_order_of_launch(tmp_path: Path) -> None:
    with Driver(SimulatedExecutor(3), steps, tmp_path) as driver:
        driver.launch("slow", config={"n": 2, "seconds": 3.0})
        driver.launch("fast", config={"n": 4, "seconds": 1.5})
        driver.launch("never", config={"n": 0, "seconds": 1.0})
        driver.wait()
    assert arrivals(driver) == [
        (1.5, "fast", 0),
        (3.0, "slow", 0),
        (3.0, "fast", 1),
        (4.5, "fast", 2),
        (6.0, "slow", 1),
        (6.0, "fast", 3),
    ]
    ends = [(s.time, s.trial_id) for s in driver.stimuli if isinstance(s, Finished)]
    assert ends == [(0.0, "never"), (6.0, "slow"), (6.0, "fast")]


def test_what_happens_at_one_time_comes_as_one_batch(tmp_path: Path) -> None:
    executor = SimulatedExecutor(2)
    with Driver(executor, steps, tmp_path) as driver:
        driver.take_in(executor.wait(0))
        for name in ("a", "b"):
            driver.launch(name, config={"n": 1, "seconds": 2.0})
        batch = executor.wait(None)
        driver.take_in(batch)
        driver.wait()
    assert [(s.time, getattr(s, "trial_id", "")) for s in batch] == [(2.0, "a"), (2.0, "b")]


def test_the_clock_does_not_jump_over_a_timeout(tmp_path: Path) -> None:
    executor = SimulatedExecutor(1)
    with Driver(executor, steps, tmp_path) as driver:
        driver.take_in(executor.wait(0))
        assert executor.wait(5) == []  # nothing runs: time passes
        assert executor.clock.now() == 5.0
        driver.launch(config={"n": 1, "seconds": 2.0})
        assert executor.wait(0) == []
        assert executor.wait(1.5) == []
        assert executor.clock.now() == 6.5
        (reported,) = executor.wait(0.5)
        assert reported.time == executor.clock.now() == 7.0
        driver.take_in([reported])
        driver.wait()


def test_dates_and_sums_follow_the_virtual_clock(tmp_path: Path) -> None:
    with Driver(SimulatedExecutor(1), steps, tmp_path) as driver:
        driver.run(config={"n": 3, "seconds": 3600.0})
        results = driver.results()
    assert [r["timestamp"] for r in results] == [3600, 7200, 10800]
    assert [r["time_total_s"] for r in results] == [3600.0, 7200.0, 10800.0]
    dates = [r["date"] for r in results]
    assert dates == sorted(set(dates))


@pytest.mark.parametrize(
    "trainable",
    [
        lambda config: tune.report({"a": 1}),
        lambda config: {"a": 1},
        lambda config: 1,
    ],
)
def test_a_result_without_a_duration_is_an_error_that_names_the_fix(
    tmp_path: Path, trainable: Any
) -> None:
    with Driver(SimulatedExecutor(1), trainable, tmp_path) as driver:
        (failed,) = driver.run()
    assert isinstance(failed, Failed)
    assert "use tune.report(metrics, elapsed_s=…), yield (metrics, seconds)" in failed.error


def test_a_failing_result_unwinds_the_generator(tmp_path: Path) -> None:
    unwound = []

    def train(config: dict[str, Any]) -> Iterator[Any]:
        try:
            yield {"i": 0}, 1.0
            yield {"i": 1, "time_this_iter_s": -1.0}
        finally:
            unwound.append(True)

    with Driver(SimulatedExecutor(1), train, tmp_path) as driver:
        told = driver.run()
    assert kinds(told) == ["Reported", "Failed"]
    assert "time_this_iter_s=-1.0 must be a number of seconds >= 0" in told[-1].error
    assert (told[-1].time, unwound) == (1.0, [True])


def test_a_generator_that_reports_is_refused(tmp_path: Path) -> None:
    def train(config: dict[str, Any]) -> Iterator[Any]:
        tune.report({"a": 1}, elapsed_s=1)
        yield {"a": 2}, 1.0

    with Driver(SimulatedExecutor(1), train, tmp_path) as driver:
        (failed,) = driver.run()
    assert "a generator can only yield its results" in failed.error


def test_functions_that_report_take_turns(tmp_path: Path) -> None:
    inside, most = [], []

    def train(config: dict[str, Any]) -> None:
        for i in range(3):
            inside.append(config["name"])
            most.append(len(inside))
            inside.remove(config["name"])
            assert tune.get_context().get_trial_id() == config["name"]
            tune.report({"i": i}, elapsed_s=config["seconds"])

    with Driver(SimulatedExecutor(2), train, tmp_path) as driver:
        driver.launch("a", config={"name": "a", "seconds": 2.0})
        driver.launch("b", config={"name": "b", "seconds": 3.0})
        driver.wait()
    assert arrivals(driver) == [
        (2.0, "a", 0),
        (3.0, "b", 0),
        (4.0, "a", 1),
        (6.0, "a", 2),
        (6.0, "b", 1),
        (9.0, "b", 2),
    ]
    assert max(most) == 1


def test_an_ended_attempt_is_over_at_once_and_its_result_does_not_come(tmp_path: Path) -> None:
    unwound = []

    def train(config: dict[str, Any]) -> None:
        try:
            for i in range(9):
                tune.report({"i": i}, elapsed_s=5)
        finally:
            unwound.append(True)

    executor = SimulatedExecutor(1)
    with Driver(executor, train, tmp_path) as driver:
        driver.launch()
        driver.wait_until(lambda: len(driver.results()) == 1)
        assert executor.wait(2) == []  # its second result is on its way
        executor.end("t0", 2)  # another attempt, which there is not
        executor.end("t0", 1)
        assert unwound == [True]
        driver.wait()
        assert executor.wait(20) == []
    assert driver.stimuli[-1] == Finished(7.0, "t0", 1, interrupted=True)
    assert len(driver.results()) == 1


def test_nothing_is_left_running(tmp_path: Path) -> None:
    unwound = []

    def train(config: dict[str, Any]) -> None:
        try:
            tune.report({"i": 0}, elapsed_s=1)
        finally:
            unwound.append(config["name"])

    with Driver(SimulatedExecutor(2), train, tmp_path) as driver:
        for name in ("a", "b"):
            driver.launch(name, config={"name": name})
        driver.take_in(driver.executor.wait(0))
        assert not unwound
    assert sorted(unwound) == ["a", "b"]
    assert not driver.results()


def noisy(config: dict[str, Any]) -> Iterator[Any]:
    for i in range(6):
        yield {"i": i, "x": random.random(), "y": float(np.random.rand())}, config.get("s", 1.0)


def test_trials_draw_from_streams_of_their_own(tmp_path: Path) -> None:
    random.seed(5)
    np.random.seed(5)
    before = random.random(), np.random.rand()
    random.seed(5)
    np.random.seed(5)
    with Driver(SimulatedExecutor(3), noisy, tmp_path) as driver:
        driver.run("alone", seed=3)
        driver.launch("a", seed=3, config={"s": 1.0})
        driver.launch("b", seed=4, config={"s": 0.7})
        driver.launch("c", seed=3, config={"s": 0.3})
        driver.wait()
    assert (random.random(), np.random.rand()) == before
    drawn = {
        name: [(r["x"], r["y"]) for r in driver.results(name)] for name in ("alone", "a", "b", "c")
    }
    assert drawn["alone"] == drawn["a"] == drawn["c"] != drawn["b"]
    assert len(set(drawn["a"])) == 6


@pytest.mark.parametrize("is_copied", [True, False])
def test_streams_go_back_and_forth(monkeypatch: pytest.MonkeyPatch, is_copied: bool) -> None:
    if not is_copied:  # as where `random` lies in memory in another way
        monkeypatch.setattr(streams, "_get_state", random.getstate)
        monkeypatch.setattr(streams, "_set_state", random.setstate)
    switch, one, other = StreamSwitch(), TrialStreams(1), TrialStreams(2)
    drawn: dict[TrialStreams, list[float]] = {one: [], other: []}
    random.seed(9)
    driver = []
    for each in (one, other, one, one, other):
        switch.enter(each)
        drawn[each] += [random.random(), random.gauss(0, 1)]
        switch.leave(each)
        driver.append(random.random())
    for seed, each in ((1, one), (2, other)):
        random.seed(seed)
        assert drawn[each] == [f() for _ in drawn[each][::2] for f in (random.random, _gauss)]
    random.seed(9)
    assert driver == [random.random() for _ in range(5)]


def _gauss() -> float:
    return random.gauss(0, 1)


def test_a_paused_generator_goes_on_where_it_was(tmp_path: Path) -> None:
    with Driver(SimulatedExecutor(1), noisy, tmp_path, stop_after(2, "PAUSE")) as driver:
        told = driver.run("t", seed=3)
        assert kinds(told) == ["Reported", "Reported", "Saved", "Finished"]
        first = driver.results("t")
    saved = tmp_path / "t" / ".checkpoint_000000.attempt1"
    position = json.loads((saved / "simulated_position.json").read_text())
    assert position == {"seed": 3, "num_yielded": 2}
    resumed_executor = SimulatedExecutor(1)
    with Driver(resumed_executor, noisy, tmp_path) as resumed:
        resumed.run("t", attempt=2, seed=99, checkpoint=tune.Checkpoint(saved))
        second = resumed.results("t")
    with Driver(SimulatedExecutor(1), noisy, tmp_path) as driver:
        driver.run("whole", seed=3)
        whole = driver.results("whole")
    assert [(r["i"], r["x"], r["y"]) for r in first + second] == [
        (r["i"], r["x"], r["y"]) for r in whole
    ]
    assert resumed_executor.clock.now() == 4.0  # the two that were repeated took no time


def test_a_generator_that_was_paused_at_its_end_has_nothing_more(tmp_path: Path) -> None:
    def train(config: dict[str, Any]) -> Iterator[Any]:
        yield {"i": 0}, 1.0
        return {"i": 1, "time_this_iter_s": 1.0}

    with Driver(SimulatedExecutor(1), train, tmp_path, stop_after(2, "PAUSE")) as driver:
        driver.run()
        saved = tune.Checkpoint(tmp_path / "t0" / ".checkpoint_000000.attempt1")
        assert kinds(driver.run(attempt=2, checkpoint=saved)) == ["Finished"]


class Counter(tune.Trainable):
    def setup(self, config: dict[str, Any]) -> None:
        self.n = 0

    def step(self) -> dict[str, Any]:
        self.n += 1
        return {"i": self.n, "time_this_iter_s": 1.0}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        return {"n": self.n}

    def load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.n = checkpoint["n"]


@pytest.mark.parametrize("trainable", [Counter, noisy])
def test_save_saves_and_goes_on(tmp_path: Path, trainable: Any) -> None:
    def decide(reported: Reported) -> str:
        return {1: "CONTINUE", 2: "SAVE", 3: "CONTINUE"}.get(
            reported.result["training_iteration"], "STOP"
        )

    with Driver(SimulatedExecutor(1), trainable, tmp_path, decide) as driver:
        told = driver.run()
    assert kinds(told) == ["Reported"] * 2 + ["Saved"] + ["Reported"] * 2 + ["Finished"]
    saved = told[2]
    assert isinstance(saved, Saved)
    assert (saved.time, saved.checkpoint) == (2.0, "checkpoint_000000")
    assert (tmp_path / "t0" / ".checkpoint_000000.attempt1").is_dir()


def test_only_what_was_configured_travels(tmp_path: Path) -> None:
    executor = SimulatedExecutor(7, {"GPU": 2})
    executor.start(Job(steps, "steps", lambda *_: None, lambda _: None, str(tmp_path)))
    executor.wait(12)
    copy = pickle.loads(pickle.dumps(executor))
    assert (copy.total, copy.clock.now()) == ({"CPU": 7.0, "GPU": 2.0}, 0.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_workers": 0}, "num_workers=0"),
        ({"num_workers": 1.5}, "num_workers=1.5"),
        ({"resources": {"GPU": -1}}, r"resources\['GPU'\]=-1"),
    ],
)
def test_impossible_amounts_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SimulatedExecutor(**arguments)


def test_the_capacity_is_told_first(tmp_path: Path) -> None:
    with Driver(SimulatedExecutor(5), steps, tmp_path) as driver:
        stimuli: list[Stimulus] = driver.executor.wait(0)
    assert [s.resources for s in stimuli] == [{"CPU": 5.0}]
