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


def test_one_without_the_name_that_it_needs_is_told_it():
    with pytest.raises(ConfigError, match=r"^tune.add: 'nm' is given without a name; give other='"):
        add(1, "nm")


def test_more_than_there_are_stay_a_type_error():
    with pytest.raises(TypeError, match="positional"):
        add(1, 2, 3)
