import pytest

from tuner.errors import ConfigError
from tuner.legacy.known_arguments import known_arguments_only


@known_arguments_only("tune.add")
def add(one, *, other=0):
    return one + other


def test_known_arguments_are_passed_on():
    assert add(1, other=2) == 3


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("othr", r"tune.add\(othr=2\): no such argument; did you mean 'other'\?"),
        ("return_trials", r"no such argument; what is returned has them as \.trials"),
        ("zzz", r"no such argument$"),
    ],
)
def test_an_unknown_one_is_named_with_the_nearest(name, message):
    with pytest.raises(ConfigError, match=message):
        add(1, **{name: 2})
