"""The lossless codec."""

from __future__ import annotations

import enum
import math
import pickle
import subprocess
import sys
import threading
import uuid
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tuner import codec


class Color(enum.Enum):
    RED = "red"


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=2**63)
    | st.floats(allow_nan=False)
    | st.text(st.characters())
    | st.binary()
)
keys = st.text(st.characters()) | st.sampled_from(["$", "v", "a"]) | st.integers() | st.booleans()
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(keys, inner)
        | st.frozensets(st.integers() | st.text())
    ),
    max_leaves=12,
)


@given(values)
def test_exact_values_come_back_with_their_types(value: Any) -> None:
    assert shape(codec.decode(codec.encode_exact(value))) == shape(value)


@given(st.dictionaries(st.text(st.characters()), values))
def test_metrics_come_back_with_tuples_as_lists(value: dict[str, Any]) -> None:
    decoded = codec.decode(codec.encode_metrics(value))
    assert shape(decoded) == shape(listed(value))


@pytest.mark.parametrize(
    "array",
    [
        np.array([1.5, math.nan, math.inf]),
        np.array([[1, 2], [3, 4]], dtype="int8"),
        np.zeros((0, 3), dtype="float32"),
        np.array([True, False]),
        np.array([2**64 - 1], dtype="uint64"),
    ],
    ids=repr,
)
def test_arrays_among_metrics_stay_arrays_and_are_lists_for_those_who_do_not_unpickle(
    array: Any,
) -> None:
    raw = codec.encode_metrics({"x": {"y": array}})
    decoded = codec.decode(raw)["x"]["y"]
    np.testing.assert_array_equal(decoded, array)
    assert (decoded.dtype, decoded.shape) == (array.dtype, array.shape)
    assert repr(codec.decode(raw, unpickle=False)["x"]["y"]) == repr(array.tolist())


@pytest.mark.parametrize(
    ("scalar", "plain"),
    [(np.float64(0.001), 0.001), (np.int64(3), 3), (np.bool_(True), True), (np.str_("a"), "a")],
    ids=repr,
)
def test_numpy_scalars_of_a_configuration_are_exact_and_readable(scalar: Any, plain: Any) -> None:
    raw = codec.encode_exact({"x": scalar})
    decoded, readable = codec.decode(raw)["x"], codec.decode(raw, unpickle=False)["x"]
    assert (decoded, type(decoded)) == (scalar, type(scalar))
    assert (readable, type(readable)) == (plain, type(plain))


def test_a_pickled_stand_in_brings_the_object_back() -> None:
    raw = codec.encode_exact({"net": [lambda x: x + 1]})
    config = codec.decode(raw, unpickle=False)
    assert "lambda" in config["net"][0]
    assert pickle.loads(pickle.dumps(config))["net"][0](1) == 2


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, [math.nan], {"a": math.inf}])
@pytest.mark.parametrize("encode", [codec.encode_exact, codec.encode_metrics])
def test_no_float_is_lost(value: Any, encode: Any) -> None:
    decoded = codec.decode(encode({"x": value, "none": None}))
    assert repr(decoded) == repr({"x": value, "none": None})


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.float64(0.5), 0.5),
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.array(2.0), 2.0),
        (np.array(["a", "b"]), ["a", "b"]),
        (np.float32("nan"), math.nan),
        (torch.tensor(1.5), 1.5),
        (torch.tensor([1, 2]), [1, 2]),
        (torch.tensor(1.5, requires_grad=True), 1.5),
        (type("Sub", (float,), {})(2.0), 2.0),
    ],
    ids=repr,
)
def test_metrics_become_plain(value: Any, plain: Any) -> None:
    decoded = codec.decode(codec.encode_metrics({"x": value}))["x"]
    assert repr(decoded) == repr(plain)
    assert type(decoded) is type(plain)


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.longdouble(1.5), 1.5),
        (np.array([1.5], dtype=np.longdouble), [1.5]),
        (np.float32(0.1), float(np.float32(0.1))),
        (torch.tensor(0.5, dtype=torch.bfloat16), 0.5),
        ({np.str_("cat"): 1, np.int64(3): 2}, {"cat": 1, 3: 2}),
        ({Color.RED: 0.5}, {"red": 0.5}),
        ({Color.RED: 0.5, "red": 1.0}, {Color.RED: 0.5, "red": 1.0}),
        ({(1, 2): 0.5, None: 1}, {(1, 2): 0.5, None: 1}),
        ({np.int64(1), (1, 2)}, {1, (1, 2)}),
        (Color.RED, "red"),
        (np.ndarray, np.ndarray),
        ([], []),
    ],
    ids=repr,
)
@pytest.mark.parametrize("others", [{}, {"none": None}], ids=["alone", "beside None"])
def test_metrics_are_the_same_whatever_is_beside_them(
    value: Any, plain: Any, others: dict[str, Any]
) -> None:
    decoded = codec.decode(codec.encode_metrics({"x": value, **others}))["x"]
    assert decoded == plain
    assert sorted(map(repr, flat(decoded))) == sorted(map(repr, flat(plain)))


class Unreadable:
    """Cannot be pickled, and has no `repr`."""

    def __reduce__(self) -> Any:
        raise RuntimeError

    def __repr__(self) -> str:
        raise ValueError


class Unloadable(Exception):
    """Can be pickled, and not be unpickled."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} and {second}")


class Torn:
    def __reduce__(self) -> Any:
        raise RuntimeError

    def __repr__(self) -> str:
        return "half a character: \ud800"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (Unreadable(), "<Unreadable, whose repr raised ValueError>"),
        (Unloadable("this", "that"), "Unloadable('this and that')"),
        (Torn(), "half a character: \\ud800"),
        (threading.Lock(), "<unlocked _thread.lock object"),
    ],
    ids=["unreadable", "unloadable", "torn", "lock"],
)
def test_no_metric_raises_neither_where_it_is_written_nor_where_it_is_read(
    value: Any, words: str
) -> None:
    raw = codec.encode_metrics({"loss": 0.5, "deep": {"x": [value]}})
    for unpickle in (True, False):
        decoded = codec.decode(raw, unpickle=unpickle)
        assert decoded["loss"] == 0.5
        (stand_in,) = decoded["deep"]["x"]
        assert isinstance(stand_in, codec.StandIn)
        assert stand_in.startswith(words)


def test_tensors_without_numbers_at_hand_are_kept() -> None:
    sparse = torch.eye(2).to_sparse()
    decoded = codec.decode(codec.encode_metrics({"x": sparse}))["x"]
    assert torch.equal(decoded.to_dense(), torch.eye(2))
    meta = torch.empty(2, device="meta")
    assert codec.decode(codec.encode_metrics({"x": meta}))["x"].shape == (2,)


def test_what_cannot_be_loaded_in_a_configuration_has_a_stand_in() -> None:
    raw = codec.encode_exact({"x": Unloadable("this", "that")})
    decoded = codec.decode(raw)["x"]
    assert isinstance(decoded, codec.StandIn)
    assert decoded == "Unloadable('this and that')"


def test_configurations_keep_every_type() -> None:
    config = {
        "scalar": np.float32(0.1),
        "array": np.arange(3, dtype=np.int8),
        "tensor": torch.tensor([1.0]),
        "class": dict,
        "function": len,
        "lambda": lambda value: value + 1,
        "enum": Color.RED,
        "set": {(1, 2)},
        "$": {"$": "tuple", "v": [1]},
        3: (1, [2, (3,)]),
    }
    decoded = codec.decode(codec.encode_exact(config))
    assert type(decoded["scalar"]) is np.float32
    assert decoded["scalar"] == np.float32(0.1)
    assert decoded["array"].dtype == np.int8
    assert decoded["array"].tolist() == [0, 1, 2]
    assert torch.equal(decoded["tensor"], torch.tensor([1.0]))
    assert (decoded["class"], decoded["function"]) == (dict, len)
    assert decoded["lambda"](1) == 2
    assert decoded[3] == (1, [2, (3,)])
    assert decoded["enum"] is Color.RED
    assert decoded["set"] == {(1, 2)}
    assert decoded["$"] == {"$": "tuple", "v": [1]}


def test_what_cannot_be_pickled_is_its_repr_in_metrics_and_an_error_in_configurations() -> None:
    generator = (i for i in range(3))
    decoded = codec.decode(codec.encode_metrics({"x": generator}))["x"]
    assert isinstance(decoded, codec.StandIn)
    assert "generator object" in decoded
    with pytest.raises(TypeError, match="pickle"):
        codec.encode_exact({"x": generator})


def test_reading_needs_no_module_of_the_user() -> None:
    raw = codec.encode_exact({"class": Local, "object": Local(), "lr": 0.1})
    script = f"from tuner import codec\nprint(codec.decode({raw!r}, unpickle=False))"
    printed = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout
    assert "Local" in printed
    assert "'lr': 0.1" in printed


class Local:
    pass


def flat(value: Any) -> list[Any]:
    """All that a value consists of."""
    if isinstance(value, dict):
        return [part for pair in value.items() for part in flat(pair)]
    if isinstance(value, list | tuple | set):
        return [part for item in value for part in flat(item)]
    return [value]


def listed(value: Any) -> Any:
    """The value with lists instead of tuples, other than in keys and sets."""
    if isinstance(value, dict):
        return {key: listed(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [listed(item) for item in value]
    return value


def shape(value: Any) -> Any:
    """A value in a form whose equality also compares types, such as 1, 1.0 and True."""
    if isinstance(value, dict):
        return {"dict": [(shape(key), shape(item)) for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return (type(value).__name__, [shape(item) for item in value])
    if isinstance(value, frozenset):
        return ("frozenset", sorted(map(repr, value)))
    return (type(value).__name__, repr(value))


def test_no_member_of_a_set_and_no_key_of_a_metric_can_end_an_experiment() -> None:
    lock = threading.Lock()  # it cannot be pickled
    raw = codec.encode_metrics({"set": {lock}, "keys": {(1, lock): 2, 3: 4}})
    decoded = codec.decode(raw)
    assert [type(member) for member in decoded["set"]] == [codec.StandIn]
    ((number, stand_in), three) = decoded["keys"]
    assert (number, type(stand_in), three) == (1, codec.StandIn, 3)


@pytest.mark.parametrize("other", [1.0, math.nan])
def test_a_uuid_is_text_whatever_else_is_reported(other: float) -> None:
    value = uuid.UUID(int=1)
    assert codec.decode(codec.encode_metrics({"id": value, "x": other}))["id"] == str(value)
