"""`tune.checkpoint_dir` and `checkpoint_dir=None`, outside of trials."""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

import tuner as tune
from tuner.errors import TrainableError
from tuner.execution.uses_ray import uses_ray
from tuner.trainable.registry import get_trainable
from tuner.trainable.wrappers import WrappedFunction, resources_for, trainable_name

pytestmark = pytest.mark.filterwarnings("ignore:.*older API:FutureWarning")


def train(config: dict[str, Any], checkpoint_dir: str | None = None, data: Any = 1) -> Any:
    return {"x": config["x"], "begins_at": checkpoint_dir, "data": data}


def generate(config: dict[str, Any], *, checkpoint_dir: str | None = None) -> Iterator[Any]:
    yield {"begins_at": checkpoint_dir}


def test_the_folder_is_gone_outside_of_a_trial() -> None:
    with tune.checkpoint_dir(step=3) as folder:
        assert os.listdir(folder) == []
    assert not os.path.exists(folder)


def test_the_warning_points_at_the_script(nothing_was_said: None) -> None:
    with pytest.warns(FutureWarning, match="tune.checkpoint_dir") as caught:
        with tune.checkpoint_dir(step=3):
            pass
    assert [each.filename for each in caught] == [__file__]


def test_functions_of_a_folder() -> None:
    expected = {"x": 1, "begins_at": None, "data": 2}
    for function in (
        functools.partial(train, data=2),
        tune.with_parameters(train, data=2),
        tune.with_parameters(tune.with_resources(train, {"cpu": 2}), data=2),
    ):
        assert get_trainable(function)({"x": 1}) == expected
        assert trainable_name(get_trainable(function)) == "train"
    assert list(get_trainable(generate)({})) == [{"begins_at": None}]
    sized = get_trainable(tune.with_resources(train, {"cpu": 2}))
    assert resources_for(sized, {}).required_resources == {"CPU": 2.0}


def test_a_parameter_of_that_name_with_a_value_is_the_users(
    nothing_was_said: None,
) -> None:
    bound = functools.partial(train, checkpoint_dir="mine")
    assert get_trainable(bound) is bound
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        given = tune.with_parameters(train, checkpoint_dir="mine")
    assert get_trainable(given)({"x": 1})["begins_at"] == "mine"
    assert isinstance(given, WrappedFunction)


def test_what_lacks_further_arguments_is_refused() -> None:
    def lacking(config: dict[str, Any], data: Any, checkpoint_dir: str | None = None) -> None:
        pass

    with pytest.raises(TrainableError, match="missing a required argument: 'data'"):
        get_trainable(lacking)
    get_trainable(tune.with_parameters(lacking, data=[]))


def test_whether_it_uses_ray_is_seen() -> None:
    def distributed(config: dict[str, Any], checkpoint_dir: str | None = None) -> None:
        import ray

        ray.get([])

    assert uses_ray(get_trainable(distributed))
    assert not uses_ray(get_trainable(train))
