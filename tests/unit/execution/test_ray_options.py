from __future__ import annotations

import math
import pickle
from typing import Any

import pytest

from tuner import RayExecutor
from tuner.errors import ConfigError


@pytest.mark.parametrize(
    ("name", "value", "fix"),
    [
        ("address", 3, "use an address such as 'auto'"),
        ("runtime_env", ["pip"], "use a dictionary"),
        ("uses_ray", "no", "use True or False"),
        ("shared_storage", 1, "use True or False"),
        ("idle_timeout_s", -1, "use seconds >= 0, or math.inf"),
        ("idle_timeout_s", None, "use seconds >= 0, or math.inf"),
        ("infeasible_timeout_s", math.nan, "use seconds >= 0, or math.inf"),
    ],
)
def test_an_argument_that_cannot_work_is_named(name: str, value: Any, fix: str) -> None:
    with pytest.raises(ConfigError) as caught:
        RayExecutor(**{name: value})
    assert str(caught.value).startswith(f"RayExecutor({name}={value!r}): {fix}")


@pytest.mark.parametrize("given", [{}, {"address": "auto", "idle_timeout_s": math.inf}])
def test_it_is_shown_and_pickled_as_it_was_given(given: dict[str, Any]) -> None:
    executor = RayExecutor(**given)
    shown = ", ".join(f"{name}={value!r}" for name, value in given.items())
    assert repr(executor) == f"RayExecutor({shown})"
    assert repr(pickle.loads(pickle.dumps(executor))) == repr(executor)
