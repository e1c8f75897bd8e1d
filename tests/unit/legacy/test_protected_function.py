"""Functions as values of configurations, and `tune.function`."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import pytest

import tuner as tune

pytestmark = pytest.mark.usefixtures("nothing_was_said")


def train(config: dict[str, Any]) -> dict[str, Any]:
    return {"score": config["model"]["width"]({"a": 1})}


def test_a_function_is_the_value_and_its_key_is_named(tmp_path: Path) -> None:
    config = {"model": {"width": lambda spec: 7}, "scale": math.sqrt}
    spec = {"run": train, "config": config, "local_dir": str(tmp_path)}
    with pytest.warns(FutureWarning) as caught:
        (trial,) = tune.run_experiments({"exp": spec}, verbose=0)
    messages = [str(each.message) for each in caught if "sample_from" in str(each.message)]
    assert messages == [
        "a function to be called for config['model/width'] is of an older API; today's form is "
        "tune.sample_from(function); as it is, the function is the value"
    ]
    assert trial.last_result["score"] == 7


def test_protected_functions_and_those_of_later_apis_are_not_named() -> None:
    def activation(x: float) -> float:
        return x

    with pytest.warns(FutureWarning, match=r"tune.function\(…\) is .* and has no effect"):
        assert tune.function(activation) is activation
    assert tune.function(math.sqrt) is math.sqrt
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        tune.Experiment("exp", train, config={"activation": activation})
