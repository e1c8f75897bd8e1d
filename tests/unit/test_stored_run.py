"""What a restore finds in a folder, and what it says of what is missing."""

from __future__ import annotations

import json
import pickle
import threading
from pathlib import Path
from typing import Any

import pytest

from tuner.callbacks import Callback
from tuner.config import RunConfig, TuneConfig
from tuner.description import describe, pickled
from tuner.errors import StorageError
from tuner.experiment.folder import FORMAT
from tuner.objective import Objective
from tuner.stored_run import has_stored_run, load_stored_run


def train(config: dict[str, Any]) -> dict[str, Any]:
    return {"x": 1}


def store(
    folder: Path, trainable: Any = train, run_config: RunConfig | None = None, format: int = FORMAT
) -> str:
    tune_config, run_config = TuneConfig(num_samples=3), run_config or RunConfig(name="n")
    description = describe(
        version="9.9",
        name="n",
        trainable="train",
        seed=5,
        id_prefix="abc",
        tune_config=tune_config,
        run_config=run_config,
        objective=Objective(tune_config.metric, tune_config.mode),
    )
    (folder / "experiment.json").write_text(json.dumps({"format": format, **description}))
    (folder / "tuner.pkl").write_bytes(pickled(trainable, {"lr": 1}, tune_config, run_config))
    return str(folder)


def test_everything_comes_back(tmp_path: Path) -> None:
    stored = load_stored_run(store(tmp_path))
    assert (stored.trainable_name, stored.seed, stored.id_prefix) == ("train", 5, "abc")
    assert stored.trainable({}) == {"x": 1}
    assert stored.param_space == {"lr": 1}
    assert stored.tune_config == TuneConfig(num_samples=3)
    assert stored.run_config == RunConfig(name="n")
    assert set(stored.random_state) == {"python", "numpy"}


class Locked(Callback):
    def __init__(self) -> None:
        self.lock = threading.Lock()


def test_callbacks_that_could_not_be_stored_are_done_without(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run_config = RunConfig(name="n", callbacks=[Locked()], stop={"x": 3})
    stored = load_stored_run(store(tmp_path, run_config=run_config))
    assert "callbacks cannot be pickled" in caplog.text
    assert "goes on without it" in caplog.text
    assert stored.run_config == RunConfig(name="n", stop={"x": 3})


def test_a_stop_criterion_that_could_not_be_stored_is_an_error(tmp_path: Path) -> None:
    lock = threading.Lock()
    run_config = RunConfig(name="n", stop=lambda trial_id, result: lock.locked())
    stored = load_stored_run(store(tmp_path, run_config=run_config))
    with pytest.raises(StorageError, match=r"RunConfig\(stop=…\) could not be stored"):
        _ = stored.run_config


def test_a_trainable_that_cannot_be_loaded_is_to_be_given_again(tmp_path: Path) -> None:
    store(tmp_path)
    parts = pickle.loads((tmp_path / "tuner.pkl").read_bytes())
    parts["trainable"] = b"cmodule_that_is_gone\ntrain\n."
    (tmp_path / "tuner.pkl").write_bytes(pickle.dumps(parts))
    with pytest.raises(StorageError, match=r"give it again: Tuner.restore\(trainable=…\)"):
        _ = load_stored_run(str(tmp_path)).trainable


def test_no_experiment(tmp_path: Path) -> None:
    assert not has_stored_run(str(tmp_path))
    with pytest.raises(StorageError, match="there is no experiment"):
        load_stored_run(str(tmp_path / "nowhere"))


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    path = store(tmp_path, format=FORMAT + 1)
    with pytest.raises(StorageError, match=rf"written by tuner 9.9 in format {FORMAT + 1}"):
        load_stored_run(path)
