"""Trainables by themselves: autofill, session, class API, wrappers, registry."""

from __future__ import annotations

import functools
import logging
import os
from pathlib import Path
from typing import Any

import pytest

import tuner as tune
from tuner.errors import ConfigError, ReportError, StorageError, TrainableError
from tuner.placement import as_placement
from tuner.result_fields import AUTOFILLED
from tuner.trainable import session as session_module
from tuner.trainable.autofill import Autofill
from tuner.trainable.context import TuneContext
from tuner.trainable.registry import get_trainable
from tuner.trainable.session import Session, TrialStopped
from tuner.trainable.wrappers import check_trainable, resources_for, resources_vary, trainable_name
from tuner.trial_progress import Progress


def autofill(progress: Progress | None = None) -> Autofill:
    return Autofill(
        trial_id="t", progress=progress or Progress(), hostname="h", node_ip="1.2.3.4", pid=5
    )


def test_every_field_is_filled() -> None:
    result = autofill().fill({"loss": 1.0}, "checkpoint_000003")
    assert set(result) == AUTOFILLED | {"loss"}
    assert result["training_iteration"] == 1
    assert result["checkpoint_dir_name"] == "checkpoint_000003"
    assert (result["hostname"], result["node_ip"], result["pid"]) == ("h", "1.2.3.4", 5)


def test_what_the_user_reports_wins() -> None:
    filler = autofill()
    result = filler.fill({"training_iteration": 40, "time_this_iter_s": 2.5, "done": True}, None)
    assert (result["training_iteration"], result["done"]) == (40, True)
    assert result["time_total_s"] == 2.5
    assert filler.fill({"time_this_iter_s": 1.5}, None)["time_total_s"] == 4.0


def test_sums_go_on_from_where_the_trial_was() -> None:
    filler = autofill(Progress(iteration=10, time_total_s=5.0, timesteps_total=100))
    first = filler.fill({"timesteps_this_iter": 7, "time_this_iter_s": 1.0}, None)
    second = filler.fill({"timesteps_this_iter": 3, "episodes_this_iter": 2}, None)
    third = filler.fill({"timesteps_total": 500}, None)
    assert [r["timesteps_total"] for r in (first, second, third)] == [107, 110, 500]
    assert [r["episodes_total"] for r in (first, second, third)] == [None, 2, 2]
    assert [r["training_iteration"] for r in (first, second)] == [11, 12]
    assert [r["iterations_since_restore"] for r in (first, second)] == [1, 2]
    assert first["time_total_s"] == 6.0
    assert first["time_since_restore"] == 1.0


def make_session(decisions: list[str]) -> tuple[Session, list[Any], list[str]]:
    delivered: list[Any] = []
    staged: list[str] = []

    class Store:
        def staged(self, name: str) -> str:
            return name

        def add(self, checkpoint: tune.Checkpoint, name: str) -> tune.Checkpoint:
            staged.append(name)
            return self.keep(name)

        def keep(self, name: str, *, is_dear: bool = True) -> tune.Checkpoint:
            return tune.Checkpoint(f"/exp/t/{name}")

    def deliver(result: dict[str, Any], checkpoint: str | None) -> str:
        delivered.append((result["training_iteration"], checkpoint))
        return decisions.pop(0)

    made = Session(
        context=TuneContext(trial_id="t"),
        autofill=autofill(),
        checkpoint=None,
        next_checkpoint=0,
        store=Store(),
        deliver=deliver,
    )
    return made, delivered, staged


def test_a_session_numbers_checkpoints_and_stops(tmp_path: Path) -> None:
    made, delivered, staged = make_session(["CONTINUE", "CONTINUE", "STOP"])
    checkpoint = tune.Checkpoint.from_directory(tmp_path)
    made.report({"a": 1}, checkpoint=checkpoint)
    made.report({"a": 1})
    with pytest.raises(TrialStopped):
        made.report({"a": 1}, checkpoint=checkpoint)
    with pytest.raises(TrialStopped):
        made.report({"a": 1})
    assert staged == ["checkpoint_000000", "checkpoint_000001"]
    assert delivered == [(1, "checkpoint_000000"), (2, None), (3, "checkpoint_000001")]
    assert not isinstance(TrialStopped(), Exception)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((3,), "metrics must be a dictionary"),
        (({"a": 1}, "path"), "must be a tuner.Checkpoint"),
    ],
)
def test_a_report_is_checked(arguments: tuple[Any, ...], words: str) -> None:
    made, delivered, _ = make_session(["CONTINUE"])
    with pytest.raises(ReportError, match=words):
        made.report(arguments[0], checkpoint=arguments[1] if len(arguments) > 1 else None)
    assert delivered == []


def test_outside_of_a_trial_nothing_happens_but_one_warning(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "_warned", False)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            tune.report({"a": 1})
        assert tune.get_checkpoint() is None
    assert len(caplog.records) == 1
    context = tune.get_context()
    assert context.get_trial_id() is context.get_trial_dir() is None
    assert (context.get_world_size(), context.get_world_rank()) == (1, 0)


class Counter(tune.Trainable):
    def setup(self, config: dict[str, Any], step: int = 1) -> None:
        self.n = config.get("start", 0)
        self.by = step

    def step(self) -> dict[str, Any]:
        self.n += self.by
        return {"n": self.n}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        return {"n": self.n}

    def load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.n = checkpoint["n"]

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.n = new_config.get("start", 0)
        return True


class Files(Counter):
    def save_checkpoint(self, checkpoint_dir: str) -> None:
        Path(checkpoint_dir, "n").write_text(str(self.n))

    def load_checkpoint(self, checkpoint: Any) -> None:
        self.n = int(Path(checkpoint, "n").read_text())


@pytest.mark.parametrize("kind", [Counter, Files])
def test_a_class_can_be_used_alone(kind: type[Counter], tmp_path: Path) -> None:
    one = kind({"start": 5})
    assert [one.train()["n"] for _ in range(3)] == [6, 7, 8]
    assert (one.iteration, one.trial_id, one.logdir) == (3, "default", os.getcwd())
    saved = one.save(str(tmp_path / "saved"))
    other = kind({})
    other.restore(saved)
    assert other.train()["n"] == 9
    other.restore(saved.path)
    assert other.reset({"start": 20})
    assert other.config == {"start": 20}
    assert other.train()["n"] == 21
    other.stop()


@pytest.mark.parametrize("kind", [Counter, Files])
def test_a_class_that_is_used_alone_counts_on(kind: type[Counter]) -> None:
    one = kind({})
    for _ in range(3):
        one.train()
    saved = one.save()
    other = kind({})
    other.train()
    other.restore(saved)
    assert other.iteration == 3
    result = other.train()
    assert (result["n"], result["training_iteration"]) == (4, 4)
    assert result["iterations_since_restore"] == 1


def test_a_damaged_count_is_named() -> None:
    saved = Counter({}).save()
    Path(saved.path, "trainable_progress.json").write_text('{"iteration": 3, "loss": 1}')
    with pytest.raises(StorageError, match=r"/trainable_progress\.json is damaged .*delete it"):
        Counter({}).restore(saved)


@pytest.mark.parametrize("method", ["step", "save_checkpoint", "load_checkpoint"])
def test_what_a_class_lacks_is_named(method: str, tmp_path: Path) -> None:
    class Empty(tune.Trainable):
        pass

    arguments = [] if method == "step" else [str(tmp_path)]
    with pytest.raises(TrainableError, match=rf"Empty\.{method}\(\) is missing"):
        getattr(Empty({}), method)(*arguments)


def train(config: dict[str, Any], data: Any = None, more: int = 0) -> Any:
    return {"data": data, "more": more}


def test_parameters_and_resources_in_any_order() -> None:
    one = tune.with_resources(tune.with_parameters(train, data=[1]), {"cpu": 2, "GPU": 0.5})
    other = tune.with_parameters(tune.with_resources(train, {"cpu": 2, "GPU": 0.5}), data=[1])
    for wrapped in (one, other):
        assert wrapped({}) == {"data": [1], "more": 0}
        assert resources_for(wrapped, {}).required_resources == {"CPU": 2.0, "GPU": 0.5}
        assert trainable_name(wrapped) == "train"
    both = tune.with_parameters(one, more=3)
    assert both({}) == {"data": [1], "more": 3}


def test_parameters_and_resources_of_a_class() -> None:
    wrapped = tune.with_resources(
        tune.with_parameters(Counter, step=10), lambda config: {"cpu": config["start"]}
    )
    assert wrapped({"start": 3}).train()["n"] == 13
    assert resources_for(wrapped, {"start": 3}).required_resources == {"CPU": 3.0}
    assert trainable_name(wrapped) == "Counter"
    assert resources_vary(wrapped)
    assert resources_for(Counter, {}).required_resources == {"CPU": 1.0}


@pytest.mark.parametrize("trainable", [train, Counter])
def test_unknown_parameters_are_refused(trainable: Any) -> None:
    with pytest.raises(TrainableError, match=r"takes no argument 'dta' beside the configuration"):
        tune.with_parameters(trainable, dta=1)


@pytest.mark.parametrize(
    ("resources", "words"),
    [
        ({"cpu": -1}, "cpu=-1 must be finite and not negative"),
        ({"cpu": "2"}, "cpu='2' must be a number"),
        (3, "must be a dictionary such as"),
        ({"gpu": float("nan")}, "gpu=nan must be finite"),
        ({"": 1}, "the name '' must be a string that is not empty"),
    ],
)
def test_bad_resources_are_refused(resources: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        tune.with_resources(train, resources)


def test_placement() -> None:
    factory = tune.PlacementGroupFactory([{"cpu": 1, "GPU": 0}, {"CPU": 2, "x": 1}], "SPREAD")
    assert factory.bundles == [{"CPU": 1.0}, {"CPU": 2.0, "x": 1.0}]
    assert factory.required_resources == {"CPU": 3.0, "x": 1.0}
    assert (factory.head_cpus, factory.strategy) == (1.0, "SPREAD")
    assert as_placement(factory) is factory
    assert tune.PlacementGroupFactory([{}]).head_bundle_is_empty
    with pytest.raises(ConfigError, match="needs at least one bundle"):
        tune.PlacementGroupFactory([])
    with pytest.raises(ConfigError, match="strategy='NEAR' must be one of PACK"):
        tune.PlacementGroupFactory([{"CPU": 1}], "NEAR")


@pytest.mark.parametrize(
    ("trainable", "words"),
    [
        (dict, "class 'dict' must be a subclass of tuner.Trainable"),
        (lambda: None, "cannot be called with one argument"),
        (lambda config, reporter: None, "cannot be called with one argument"),
        (7, "must be a function, a Trainable class or a registered name"),
    ],
)
def test_what_cannot_be_trained_is_refused(trainable: Any, words: str) -> None:
    with pytest.raises(TrainableError, match=words):
        check_trainable(trainable)


def test_names() -> None:
    assert trainable_name(functools.partial(functools.partial(train), more=1)) == "train"
    assert trainable_name(lambda config: None) == "lambda"
    assert trainable_name(Counter) == "Counter"


def test_the_registry() -> None:
    tune.register_trainable("registered", train)
    assert get_trainable("registered") is train
    assert get_trainable(Counter) is Counter
    with pytest.raises(TrainableError, match="no trainable is registered as 'unknown'"):
        get_trainable("unknown")
    with pytest.raises(TrainableError, match="name='' must be a string"):
        tune.register_trainable("", train)
