"""Functions of `(config, reporter)`, and which functions are such."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import pytest

import tuner as tune
from tuner.errors import ReportError, TrainableError
from tuner.execution.uses_ray import uses_ray
from tuner.legacy.reporter_function import Reporter
from tuner.trainable.registry import get_trainable
from tuner.trainable.wrappers import WrappedFunction, resources_for, trainable_name

pytestmark = pytest.mark.filterwarnings("ignore:.*older API:FutureWarning")


def train(config: dict[str, Any], reporter: Any, data: Any = 1) -> dict[str, Any]:
    assert isinstance(reporter, Reporter)
    return {"x": config["x"], "data": data}


def train_verbosely(config: dict[str, Any], status_reporter: Any) -> dict[str, Any]:
    return train(config, status_reporter)


def train_by_and_by(config: dict[str, Any], reporter: Any) -> Iterator[dict[str, Any]]:
    yield train(config, reporter)


class Callable:
    def __call__(self, config: dict[str, Any], reporter: Any) -> dict[str, Any]:
        return train(config, reporter)

    def train(self, config: dict[str, Any], reporter: Any) -> dict[str, Any]:
        return train(config, reporter)


@functools.wraps(train)
def decorated(*args: Any, **kwargs: Any) -> Any:
    return train(*args, **kwargs)


@pytest.mark.parametrize(
    "function",
    [
        train,
        train_verbosely,
        lambda config, reporter: train(config, reporter),
        functools.partial(train, data=1),
        Callable(),
        Callable().train,
        decorated,
    ],
)
def test_a_reporter_is_given_to(function: Any) -> None:
    assert get_trainable(function)({"x": 3}) == {"x": 3, "data": 1}
    tune.register_trainable("of old", function)
    assert get_trainable("of old")({"x": 4}) == {"x": 4, "data": 1}
    sized = tune.with_resources(function, {"cpu": 2})
    assert get_trainable(sized)({"x": 5}) == {"x": 5, "data": 1}
    assert resources_for(get_trainable(sized), {}).required_resources == {"CPU": 2.0}


def test_further_parameters() -> None:
    wrapped = tune.with_parameters(tune.with_resources(train, {"cpu": 2}), data=[2])
    assert get_trainable(wrapped)({"x": 1}) == {"x": 1, "data": [2]}
    assert trainable_name(wrapped) == "train"
    other = tune.with_resources(tune.with_parameters(train, data=[2]), {"cpu": 2})
    assert get_trainable(other)({"x": 1}) == {"x": 1, "data": [2]}


def test_a_generator() -> None:
    assert list(get_trainable(train_by_and_by)({"x": 1})) == [{"x": 1, "data": 1}]


def test_a_parameter_of_todays_that_is_called_alike() -> None:
    def modern(config: dict[str, Any], report_every: int) -> int:
        return report_every

    def optional(config: dict[str, Any], reporter: Any = None) -> Any:
        return reporter

    assert tune.with_parameters(modern, report_every=10)({}) == 10
    assert get_trainable(functools.partial(modern, report_every=5))({}) == 5
    assert get_trainable(optional) is optional
    assert not isinstance(get_trainable(print), WrappedFunction)


def test_what_cannot_be_trained_is_refused() -> None:
    with pytest.raises(TrainableError, match="cannot be called with one argument"):
        get_trainable(lambda config, other: None)

    with pytest.raises(
        TrainableError, match=r"argument: 'tell'.*; one to report by is called 'rep"
    ):
        get_trainable(lambda config, tell: tell(loss=1))

    async def later(config: dict[str, Any], reporter: Any) -> None:
        pass

    with pytest.raises(TrainableError, match="'later' is an async function"):
        get_trainable(later)


def test_whether_it_uses_ray_is_seen() -> None:
    def distributed(config: dict[str, Any], reporter: Any) -> None:
        import ray

        ray.get([])

    assert uses_ray(get_trainable(distributed))
    assert not uses_ray(get_trainable(train))


def test_a_reporter_outside_of_a_trial() -> None:
    reporter = Reporter()
    reporter(loss=1)
    reporter({"loss": 1})
    assert reporter.logdir is reporter.trial_id is reporter.trial_name is None
    assert reporter.trial_resources is None
    with pytest.raises(ReportError, match=r"reporter\(\{'a': 1\}, b=…\): metrics are given"):
        reporter({"a": 1}, b=2)


def test_a_warning_points_at_the_script(nothing_was_said: None) -> None:
    with pytest.warns(FutureWarning, match=r"\(config, reporter\) is of an older API") as caught:
        assert [get_trainable(each) for each in (train, train_verbosely)]
    assert [each.filename for each in caught] == [__file__]
