"""What can be wrapped, and what cannot be trained."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tuner.errors import TrainableError
from tuner.trainable import Trainable, with_parameters, with_resources
from tuner.trainable.wrappers import check_trainable, trainable_name


async def coroutine(config: dict[str, Any]) -> None: ...


async def generator(config: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    yield {}


class AsyncCall:
    async def __call__(self, config: dict[str, Any]) -> None: ...


class AsyncStep(Trainable):
    async def step(self) -> dict[str, Any]:  # type: ignore[override]
        return {}


@pytest.mark.parametrize(
    "trainable",
    [coroutine, generator, AsyncCall(), AsyncStep, functools.partial(coroutine, other=1)],
)
def test_async_functions_are_refused(trainable: Any) -> None:
    for use in (check_trainable, with_parameters, lambda t: with_resources(t, {"CPU": 1})):
        with pytest.raises(TrainableError, match=r"async function.*asyncio\.run"):
            use(trainable)


def test_a_wrapped_partial_function_has_the_name_of_the_function():
    def train(config, data):
        return {"score": data}

    bound = functools.partial(train, data=1)
    assert trainable_name(bound) == "train"
    assert trainable_name(with_resources(bound, {"cpu": 2})) == "train"
