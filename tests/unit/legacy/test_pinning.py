"""Objects that are pinned and got in one process, or looked for in vain."""

from __future__ import annotations

import dataclasses
import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from tuner.errors import TunerError
from tuner.legacy import util
from tuner.legacy.utils import get_pinned_object, pin_in_object_store

pytestmark = pytest.mark.filterwarnings("ignore:.*older API:FutureWarning")


@pytest.mark.parametrize(
    "value",
    [
        7,
        None,
        "text",
        {"a": [1, (2, {3})]},
        np.arange(12.0).reshape(3, 4),
        np.asfortranarray([[1]]),
    ],
)
def test_it_is_got_back(value: Any) -> None:
    pinned = pickle.loads(pickle.dumps(pin_in_object_store(value)))
    got = get_pinned_object(pinned)
    assert type(got) is type(value)
    assert np.array_equal(got, value)


def test_arrays_are_shared_and_read_only() -> None:
    original = {"x": np.arange(100), "names": ["a"]}
    pinned = pin_in_object_store(original)
    original["x"][0] = -1
    one, other = get_pinned_object(pinned), get_pinned_object(pinned)
    one["names"].append("b")
    assert other["names"] == ["a"]
    assert one["x"][0] == other["x"][0] == 0
    with pytest.raises(ValueError, match="read-only"):
        one["x"][0] = 1


def test_an_object_of_a_class_of_the_script() -> None:
    class Model:
        def __init__(self) -> None:
            self.weights = np.ones(1000)

    assert get_pinned_object(pin_in_object_store(Model())).weights.sum() == 1000


def test_another_process_reads_it_as_long_as_this_one_has_it() -> None:
    pinned = pin_in_object_store(np.arange(1000))
    script = f"""
import pickle
from tuner.legacy.utils import get_pinned_object
print(get_pinned_object(pickle.loads({pickle.dumps(pinned)!r})).sum())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "499500\n", done.stderr


PINNING = """
import pickle, sys
from tuner.legacy.utils import pin_in_object_store
sys.stdout.buffer.write(pickle.dumps(pin_in_object_store([1])))
"""


def test_the_object_of_a_process_that_is_gone() -> None:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", PINNING], capture_output=True)
    pinned = pickle.loads(done.stdout)
    with pytest.raises(TunerError, match=r"pinned by process \d+ of .*that process is gone"):
        get_pinned_object(pinned)


def test_another_file_under_the_same_number_is_not_taken_for_it() -> None:
    pinned, other = pin_in_object_store([1]), pin_in_object_store([2])
    with pytest.raises(TunerError, match="that process is gone"):
        get_pinned_object(dataclasses.replace(pinned, fd=other.fd))


def test_what_was_not_pinned() -> None:
    with pytest.raises(
        TunerError, match=r"get_pinned_object\('X'\): pass what pin_in_object_store"
    ):
        get_pinned_object("X")


def test_the_old_module() -> None:
    assert util.pin_in_object_store is pin_in_object_store
    assert util.get_pinned_object is get_pinned_object
