"""Nested dictionaries made flat, and values looked up in them."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tuner.flatten import flatten, lookup

names = st.text("ab1", min_size=1, max_size=3)
leaves = st.integers() | st.none() | st.text(max_size=2) | st.lists(st.integers(), max_size=2)
nested = st.recursive(
    st.dictionaries(names, leaves, max_size=3),
    lambda inner: st.dictionaries(names, leaves | inner, max_size=3),
    max_leaves=8,
)


@given(nested)
def test_every_leaf_is_found_under_its_path(value: dict[str, Any]) -> None:
    flat = flatten(value)
    assert list(flat.items()) == list(leaves_of(value))
    for key, leaf in flat.items():
        assert lookup(value, key) is leaf
        assert lookup(flat, key) is leaf


def leaves_of(value: dict[str, Any], prefix: str = "") -> Any:
    for key, item in value.items():
        if item and isinstance(item, dict):
            yield from leaves_of(item, f"{prefix}{key}/")
        else:
            yield f"{prefix}{key}", item


def test_keys_become_strings_nested_or_not() -> None:
    assert flatten({0: 0.5, None: 1}) == {"0": 0.5, "None": 1}
    assert flatten({0: {1: 0.5}, 2: 3}) == {"0/1": 0.5, "2": 3}


def test_what_is_flat_already_is_not_copied() -> None:
    flat = {"a": 1, "b/c": 2}
    assert flatten(flat) is flat


def test_what_is_not_there_is_the_default() -> None:
    value = {"a": {"b": None}, "n": 3}
    assert lookup(value, "a/b", "default") is None
    for key in ("a/c", "a/b/c", "n/m", "x", "", "a/"):
        assert lookup(value, key, "default") == "default"
        assert lookup(value, key) is None
