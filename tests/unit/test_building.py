"""From the user's configs to what the controller joins, and back to results."""

from __future__ import annotations

import json
import pickle
import threading
from pathlib import Path
from typing import Any

import pytest

import tuner as tune
from tuner.assignments import AssignmentFactory, log_files
from tuner.description import describe, pickled
from tuner.errors import ConfigError, StorageError, TrainableError, TunerError
from tuner.experiment.commands import Launch
from tuner.experiment.trial import Trial
from tuner.flatten import flatten, lookup
from tuner.objective import Objective
from tuner.policies import build_scheduler, build_searcher
from tuner.recording.defaults import split_callbacks
from tuner.schedulers import ASHAScheduler, FIFOScheduler
from tuner.search import BasicVariantGenerator
from tuner.stoppers.limits import Limits
from tuner.trial_progress import Progress


def train(config: dict[str, Any]) -> dict[str, Any]:
    return {"x": 1}


def test_policies_by_name_by_object_and_by_default() -> None:
    assert isinstance(build_scheduler(tune.TuneConfig(), 0), FIFOScheduler)
    named = tune.TuneConfig(scheduler="asha", metric="loss", mode="min")
    assert isinstance(build_scheduler(named, 0), ASHAScheduler)
    mine = BasicVariantGenerator()
    config = tune.TuneConfig(search_alg=mine, num_samples=3)
    assert build_searcher(config, {"x": tune.grid_search([1, 2])}, 0) is mine
    assert mine.total_samples(3) == 6


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (
            {"scheduler": "hyperbandd"},
            "scheduler='hyperbandd' must be one of .*did you mean 'hyperband'",
        ),
        ({"search_alg": "magic"}, "search_alg='magic' must be one of"),
        (
            {"scheduler": ASHAScheduler(metric="a", mode="min"), "metric": "b", "mode": "min"},
            "are given here and also to scheduler=AsyncHyperBandScheduler; give them once",
        ),
    ],
)
def test_policies_that_cannot_be(config: dict[str, Any], words: str, tmp_path: Path) -> None:
    results = tmp_path / "results"
    run_config = tune.RunConfig(storage_path=str(results))
    tuner = tune.Tuner(train, tune_config=tune.TuneConfig(**config), run_config=run_config)
    with pytest.raises(ConfigError, match=words):
        tuner.fit()
    assert not results.exists()


def test_a_time_budget_has_a_deadline() -> None:
    stopper = Limits({"a": 1}, 10.0)
    stopper.on_time(100.0)
    assert stopper.deadline() == 110.0
    assert stopper("t", {"a": 2})
    assert Limits(None).deadline() is None


def test_default_loggers_unless_the_user_has_his_own(monkeypatch: pytest.MonkeyPatch) -> None:
    class Mine(tune.LoggerCallback):
        pass

    class MyCsv(tune.callbacks.CSVLoggerCallback):
        pass

    mine, csv = Mine(), MyCsv()
    here, recorded = split_callbacks([mine, csv])
    assert here == [mine]
    kinds = sorted(type(logger).__name__ for logger in recorded)
    assert kinds == ["JsonLoggerCallback", "MyCsv", "TBXLoggerCallback"]
    monkeypatch.setenv("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    assert split_callbacks([mine, csv]) == ([mine], [csv])


def test_an_assignment_says_all_that_a_worker_needs() -> None:
    factory = AssignmentFactory(
        experiment_name="e",
        seed=3,
        checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=4, checkpoint_at_end=True),
        log_to_file=log_files(True),
        keep_workers=True,
    )
    trial = Trial(
        trial_id="t",
        config={"x": (1, 2)},
        trainable_name="f",
        path="/e/t",
        number=2,
        bundles=[{"CPU": 3.5}, {"CPU": 2.0}],
        strategy="SPREAD",
    )
    first = factory.make(Launch(trial, 1, None, Progress()))
    second = factory.make(Launch(trial, 2, "checkpoint_000001", Progress(iteration=5)))
    assert first.checkpoint is None
    assert (first.bundles, first.strategy) == ([{"CPU": 3.5}, {"CPU": 2.0}], "SPREAD")
    assert second.checkpoint == tune.Checkpoint("/e/t/checkpoint_000001")
    assert (first.stdout, first.stderr) == ("/e/t/stdout", "/e/t/stderr")
    assert (first.num_threads, first.checkpoint_frequency, first.keep_worker) == (3, 4, True)
    assert first.seed != second.seed
    assert second.progress.iteration == 5


def test_the_description_is_readable_and_the_pickle_complete() -> None:
    config = tune.TuneConfig(metric="x", mode="max", num_samples=3)
    run = tune.RunConfig(name="n", stop={"x": 3}, callbacks=[tune.Callback()])
    described = describe(
        version="1",
        name="n",
        trainable="train",
        seed=3,
        id_prefix="abc",
        tune_config=config,
        run_config=run,
        objective=Objective("x", "max"),
    )
    text = json.loads(json.dumps(described))
    assert text["tune_config"]["num_samples"] == 3
    assert text["run_config"]["stop"] == {"x": 3}
    parts = pickle.loads(pickled(train, {"a": tune.uniform(0, 1)}, config, run))
    assert pickle.loads(parts["trainable"])({}) == {"x": 1}
    assert pickle.loads(parts["param_space"]) == {"a": tune.uniform(0, 1)}
    assert pickle.loads(parts["tune_config"]) == config


def test_what_cannot_be_pickled_is_named() -> None:
    lock = threading.Lock()
    with pytest.raises(ConfigError, match=r"^Tuner: param_space\['b'\]=<unlocked .* object .*>"):
        pickled(train, {"a": 1, "b": lock}, tune.TuneConfig(), tune.RunConfig())
    with pytest.raises(TrainableError, match="the trainable cannot be pickled"):
        pickled(lambda config: lock, {}, tune.TuneConfig(), tune.RunConfig())


def test_a_large_trainable_is_not_stored_twice() -> None:
    large = bytes(65 * 1024 * 1024)
    content = pickled(lambda config: large, {}, tune.TuneConfig(), tune.RunConfig())
    assert pickle.loads(content)["trainable"] is None


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"trainable": None}, TrainableError, "must be a function"),
        ({"trainable": "unheard of"}, TrainableError, "no trainable is registered"),
        ({"param_space": [1]}, ConfigError, "must be a dictionary"),
        ({"tune_config": {"metric": "x"}}, ConfigError, "must be a TuneConfig"),
        ({"run_config": tune.RunConfig(stop={"a": "b"})}, ConfigError, "stop"),
        (
            {
                "run_config": tune.RunConfig(
                    checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=3)
                )
            },
            ConfigError,
            "checkpoint_frequency=3 has no effect on a function trainable",
        ),
    ],
)
def test_a_tuner_checks_its_arguments(
    arguments: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words) as raised:
        tune.Tuner(arguments.pop("trainable", train), **arguments)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("run", "error", "words"),
    [
        ({"storage_path": "s4://bucket/x"}, ConfigError, "s4://bucket/x.* cannot be used"),
        ({"storage_path": "memory://"}, ConfigError, "names no folder"),
        ({"storage_path": "/proc/nowhere"}, StorageError, "cannot be made"),
    ],
)
def test_what_cannot_be_done_is_refused(
    run: dict[str, Any], error: type[Exception], words: str, tmp_path: Path
) -> None:
    config = tune.RunConfig(**{"storage_path": str(tmp_path), **run})
    with pytest.raises(error, match=words):
        tune.Tuner(train, run_config=config).fit()


def test_results_only_after_a_fit() -> None:
    with pytest.raises(TunerError, match="call fit\\(\\) first"):
        tune.Tuner(train).get_results()


def test_flat_keys() -> None:
    nested = {"a": {"b": {"c": 1}, "d": {}}, "e": 2}
    assert flatten(nested) == {"a/b/c": 1, "a/d": {}, "e": 2}
    assert lookup(nested, "a/b/c") == 1
    assert lookup({"a/b": 3, "a": {"b": 4}}, "a/b") == 3
    assert lookup(nested, "a/x", "missing") == "missing"


def test_every_public_name_can_be_had() -> None:
    for name in tune.__all__:
        assert getattr(tune, name) is not None
    for name in tune.callbacks.__all__:
        assert getattr(tune.callbacks, name) is not None
    assert tune.experiment.Trial is Trial
    assert "Tuner" in dir(tune)
    with pytest.raises(AttributeError, match="no attribute 'Tunr'"):
        tune.Tunr  # noqa: B018
