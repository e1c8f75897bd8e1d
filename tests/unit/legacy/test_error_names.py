import pytest

from tuner.config import RunConfig
from tuner.errors import ConfigError
from tuner.legacy.error_names import named_as


def test_the_argument_tells_who_was_called():
    owners = {"verbose": "run_experiments"}
    with pytest.raises(ConfigError, match=r"^run_experiments\(verbose=7\): use 0"):
        with named_as(owners.__getitem__):
            RunConfig(verbose=7)


def test_other_errors_are_left_as_they_are():
    with pytest.raises(ConfigError, match=r"^Tuner: param_space"):
        with named_as("tune.run"):
            raise ConfigError("Tuner: param_space=3 must be a dictionary")
