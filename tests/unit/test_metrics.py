import math

import numpy as np
import pytest

from tuner.errors import ConfigError
from tuner.metrics import as_number, required_number


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (1.5, 1.5),
        (3, 3.0),
        (True, 1.0),
        (np.float32(0.5), 0.5),
        (np.int64(7), 7.0),
        (np.array(2.5), 2.5),
        (10**400, math.inf),
        (-(10**400), -math.inf),
    ],
)
def test_numbers(value, number):
    assert as_number(value) == number
    assert type(as_number(value)) is float


@pytest.mark.parametrize("value", [None, "1.5", b"1", [1], {}, np.array([1.0, 2.0]), 1j, object()])
def test_what_is_not_one_number(value):
    assert as_number(value) is None


def test_torch_scalars_are_numbers():
    torch = pytest.importorskip("torch")
    assert as_number(torch.tensor(0.5)) == 0.5
    assert as_number(torch.tensor([1.0, 2.0])) is None


def test_a_nested_value_is_found_by_its_path():
    assert required_number({"eval": {"loss": 2}}, "eval/loss", role="metric", trial_id="a") == 2.0


def test_nan_is_a_number():
    assert math.isnan(required_number({"loss": math.nan}, "loss", role="metric", trial_id="a"))


def test_the_error_names_what_was_reported_on_one_short_line():
    result = {f"metric_{n}": n for n in range(500)}
    with pytest.raises(ConfigError, match="metric='loss': trial a did not report it") as error:
        required_number(result, "loss", role="metric", trial_id="a")
    assert "metric_0" in str(error.value)
    assert len(str(error.value)) < 500
    assert "\n" not in str(error.value)
