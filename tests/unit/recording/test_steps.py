from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import pytest

from tuner.recording.steps import MAX_STEP, step_of, time_of


@pytest.mark.parametrize(
    ("result", "step"),
    [
        ({"training_iteration": 3}, 3),
        ({"training_iteration": 3, "timesteps_total": 4000}, 4000),
        ({"training_iteration": 3, "timesteps_total": None}, 3),
        ({}, 0),
        ({"training_iteration": 3, "timesteps_total": 1000.0}, 1000),
        ({"training_iteration": 3, "timesteps_total": np.float32(7.9)}, 7),
        ({"training_iteration": 3, "timesteps_total": 2**60 + 1}, 2**60 + 1),
        ({"training_iteration": 3, "timesteps_total": 10**400}, MAX_STEP),
        ({"training_iteration": 3, "timesteps_total": math.inf}, MAX_STEP),
        ({"training_iteration": 3, "timesteps_total": math.nan}, 3),
        ({"training_iteration": 3, "timesteps_total": -5}, 3),
        ({"training_iteration": 3, "timesteps_total": "5"}, 3),
        ({"training_iteration": 3, "timesteps_total": [5]}, 3),
        ({"training_iteration": "x"}, 0),
    ],
)
def test_steps(result: dict[str, Any], step: int) -> None:
    assert step_of(result) == step
    assert type(step_of(result)) is int


@pytest.mark.parametrize("value", ["2024-01-01", None, math.nan, math.inf, -1, 10**400, [1]])
def test_a_time_that_no_clock_shows_is_now(value: Any) -> None:
    before = time.time()
    assert before <= time_of({"timestamp": value}) <= time.time()


def test_a_time_is_seconds_since_1970() -> None:
    assert time_of({"timestamp": 1_700_000_000}) == 1_700_000_000.0
