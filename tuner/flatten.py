"""Nested dictionaries as flat ones whose keys are joined by `/`."""

from __future__ import annotations

from collections.abc import Mapping
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


def unflatten(flat: Mapping[str, Any]) -> dict[str, Any]:
    """A dict with keys such as `"model/lr"` as one with dicts in it.

    Example:
        >>> unflatten({"model/lr": 0.1, "model/depth": 3, "seed": 1})
        {'model': {'lr': 0.1, 'depth': 3}, 'seed': 1}
    """
    nested: dict[str, Any] = {}
    for name, value in flat.items():
        *outer, last = name.split("/")
        target = nested
        for key in outer:
            target = target.setdefault(key, {})
        target[last] = value
    return nested
