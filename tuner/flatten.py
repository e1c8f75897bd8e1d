"""Nested dictionaries as flat ones whose keys are joined by `/`."""

from __future__ import annotations

from typing import Any

SEPARATOR = "/"
_TEXT = frozenset((str,))


def flatten(nested: dict[Any, Any]) -> dict[str, Any]:
    """A flat dictionary of the leaves; an empty dictionary is a leaf, and keys become strings.

    Example:
        >>> flatten({"loss": 1, "eval": {"acc": 0.5, "top": {}}})
        {'loss': 1, 'eval/acc': 0.5, 'eval/top': {}}
    """
    if dict not in map(type, nested.values()) and _TEXT.issuperset(map(type, nested)):
        return nested
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        if type(value) is dict and value:
            for inner, leaf in flatten(value).items():
                flat[f"{key}{SEPARATOR}{inner}"] = leaf
        else:
            flat[str(key)] = value
    return flat


def changed(before: dict[Any, Any], after: dict[Any, Any]) -> dict[str, Any]:
    """The leaves of `after` that `before` lacks, or has otherwise, by their flat keys.

    Example:
        >>> changed({"lr": 1, "net": {"width": 8}}, {"lr": 1, "net": {"width": 9, "depth": 2}})
        {'net/width': 9, 'net/depth': 2}
    """
    old = flatten(before)
    return {
        key: leaf
        for key, leaf in flatten(after).items()
        if key not in old or not _is_same(old[key], leaf)
    }


def _is_same(one: Any, other: Any) -> bool:
    try:
        return one is other or bool(one == other)
    except Exception:  # an array, which is compared element by element
        return False


def lookup(nested: dict[Any, Any], key: str, default: Any = None) -> Any:
    """The value under `key`, which may be a path such as `eval/acc`.

    Example:
        >>> lookup({"eval": {"acc": 0.5}}, "eval/acc")
        0.5
    """
    if key in nested:
        return nested[key]
    value: Any = nested
    for part in key.split(SEPARATOR):
        if not isinstance(value, dict) or part not in value:
            return default
        value = value[part]
    return value
