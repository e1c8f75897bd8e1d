"""A restore that is given its search space again, with other objects or another shape."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from fit_helpers import fit
from restore_helpers import Stateful, experiment

import tuner as tune
from tuner.errors import ConfigError, StorageError


class Handle:
    """Refers to a file; it cannot be unpickled once that is gone."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.text = path.read_text()

    def __reduce__(self) -> tuple[Any, ...]:
        return Handle, (self.path,)


class Interrupting(tune.Callback):
    """Presses Ctrl-C in the middle of the first attempt of the second trial."""

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: Any, **info: Any):
        if (trial.number, trial.attempt) == (1, 1) and result["n"] == 2:
            os.kill(os.getpid(), signal.SIGINT)


def read_handles(config: dict[str, Any]) -> None:
    for n in range(1, 5):
        handles = [config["data"]["main"], *config["data"]["more"], config["part"]["handle"]]
        tune.report({"n": n, "seen": " ".join(handle.text for handle in handles)})


def space_of_handles(folder: Path) -> dict[str, Any]:
    folder.mkdir()
    for number in range(3):
        (folder / str(number)).write_text(f"{folder.name}{number}")
    handles = [Handle(folder / str(number)) for number in range(3)]
    return {
        "data": {"main": handles[0], "more": [handles[1]]},
        "part": tune.grid_search([{"handle": each} for each in handles]),
        "lr": tune.uniform(0, 1),
        "depth": 3,
    }


@pytest.mark.parametrize("is_gone", [False, True])
@pytest.mark.parametrize("callbacks", [[], [Stateful()]], ids=["replayed", "from a snapshot"])
def test_objects_of_the_search_space_are_given_anew(
    callbacks: list[tune.Callback], is_gone: bool, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    first = fit(
        read_handles,
        results,
        space=space_of_handles(tmp_path / "old"),
        run={"callbacks": [Interrupting(), *callbacks]},
        max_concurrent_trials=1,
        seed=1,
    )
    assert [result.status for result in first] == ["TERMINATED", "PAUSED"]
    path = experiment(results)
    if is_gone:
        shutil.rmtree(tmp_path / "old")
        with pytest.raises(StorageError, match=r"give it again: Tuner\.restore\(param_space=…\)"):
            tune.Tuner.restore(path)
    space = space_of_handles(tmp_path / "new")
    with pytest.raises(ConfigError, match="the constant 4 at 'depth', where the run had the con"):
        tune.Tuner.restore(path, param_space={**space, "depth": 4})
    grid = tune.Tuner.restore(path, param_space=space).fit()
    assert [result.metrics["seen"] for result in grid] == [
        "old0 old1 old0",
        "new0 new1 new1",
        "new0 new1 new2",
    ]
    assert [result.metrics["n"] for result in grid] == [4, 4, 4]
    assert [result.config["lr"] for result in grid][:2] == [r.config["lr"] for r in first]


def test_an_object_that_nothing_takes_the_place_of(tmp_path: Path) -> None:
    def space(folder: Path) -> dict[str, Any]:
        space = space_of_handles(folder)
        (handle,) = space["data"].pop("more")
        return {**space, "data": {**space["data"], "more": tune.sample_from(lambda spec: [handle])}}

    results = tmp_path / "results"
    run = {"callbacks": [Interrupting()]}
    fit(read_handles, results, space=space(tmp_path / "old"), run=run, max_concurrent_trials=1)
    shutil.rmtree(tmp_path / "old")
    tuner = tune.Tuner.restore(experiment(results), param_space=space(tmp_path / "new"))
    journal = {p: p.read_bytes() for p in Path(experiment(results), "journal").glob("*.jsonl")}
    with pytest.raises(StorageError, match="'data/more/0' of its config cannot be loaded here"):
        tuner.fit()
    assert {path: path.read_bytes() for path in journal} == journal


@pytest.mark.parametrize(
    ("space", "words"),
    [
        ({"x": tune.grid_search([1, 3])}, r"has the domain .*\[1, 3\].* at 'x'"),
        ({"x": tune.uniform(0, 1)}, r"has the domain 'uniform\(0.0, 1.0\)' at 'x', where the run"),
    ],
)
def test_another_search_space_is_refused(space: dict[str, Any], words: str, tmp_path: Path) -> None:
    grid = {"x": tune.grid_search([1, 2])}
    fit(lambda config: config, tmp_path, run={"name": "e"}, space=grid)
    tune.Tuner.restore(tmp_path / "e", param_space={"x": tune.grid_search([1, 2])})
    with pytest.raises(ConfigError, match=words):
        tune.Tuner.restore(tmp_path / "e", param_space=space)
