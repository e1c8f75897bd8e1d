"""Taking a nested configuration apart: which values are places to fill, and fresh copies."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

from tuner.search_space.checks import listed
from tuner.search_space.constructors import GRID_KEY
from tuner.search_space.domains import Domain
from tuner.search_space.spec_view import ConfigView, ListView

_ATOMS = frozenset({bool, int, float, str, type(None)})

Path = tuple[Any, ...]
"""Keys and list indices from the top of a search space to a place in it."""


def path_text(path: Path) -> str:
    """Returns the flat name of a place.

    Example:
        >>> path_text(("nn_layers", 0))
        'nn_layers/0'
    """
    return "/".join(map(str, path))


def is_grid(value: Any) -> bool:
    """Whether `value` is `{"grid_search": ...}`, as `grid_search` returns it."""
    return isinstance(value, dict) and len(value) == 1 and GRID_KEY in value


def grid_values(grid: dict[str, Any]) -> list[Any]:
    """Returns the values of a grid.

    Raises:
        SearchSpaceError: If it was written by hand and has no list of values.
    """
    return listed(GRID_KEY, grid[GRID_KEY])


def is_place(value: Any) -> bool:
    """Whether a trial's configuration has another value where the search space has this one."""
    return isinstance(value, Domain) or is_grid(value)


def is_sequence(value: Any) -> bool:
    """Whether `value` is a list or tuple that is taken apart; other tuple classes are leaves."""
    return isinstance(value, list) or type(value) is tuple or _is_namedtuple(value)


def rebuilder(origin: Any) -> Callable[[list[Any]], Any]:
    """Returns what makes a list or tuple of the kind of `origin` from new items."""
    if type(origin) is list:
        return list
    if type(origin) is tuple:
        return tuple
    if _is_namedtuple(origin):
        return type(origin)._make  # type: ignore[no-any-return]
    return lambda items: _refilled_list(origin, items)


def refilled(origin: dict[Any, Any], items: dict[Any, Any]) -> dict[Any, Any]:
    """Returns a dict of the class of `origin`, with `items` in place of its own."""
    if type(origin) is dict:
        return items
    fresh = copy.copy(origin)
    fresh.update(items)
    return fresh


def overlaid(space: Any, values: Any) -> Any:
    """Returns a dict with `values` on top, dicts in it likewise; all else is replaced.

    Example:
        >>> overlaid({"a": {"x": 1, "y": 2}, "b": 3}, {"a": {"x": 10}, "c": 4})
        {'a': {'x': 10, 'y': 2}, 'b': 3, 'c': 4}
    """
    if not isinstance(space, dict) or not isinstance(values, Mapping) or is_grid(space):
        return values
    merged = copy.copy(space)
    for key, value in values.items():
        merged[key] = overlaid(space[key], value) if key in space else value
    return merged


def fresh_copy(value: Any) -> Any:
    """Returns new dicts, lists and tuples all the way down, sharing every other value.

    A view that a `sample_from` function has handed back becomes what it is a view of.

    Example:
        >>> shared = object()
        >>> copied = fresh_copy({"a": [1, (shared,)]})
        >>> copied["a"][1][0] is shared
        True
    """
    kind = type(value)
    if kind in _ATOMS:
        return value
    if kind is dict:
        return {key: fresh_copy(item) for key, item in value.items()}
    if kind is list:
        return [fresh_copy(item) for item in value]
    if isinstance(value, dict):
        return refilled(value, {key: fresh_copy(item) for key, item in value.items()})
    if is_sequence(value):
        return rebuilder(value)([fresh_copy(item) for item in value])
    if isinstance(value, ConfigView):
        return {key: fresh_copy(item) for key, item in value.items()}
    if isinstance(value, ListView):
        return value.rebuild([fresh_copy(item) for item in value])
    return value


def _is_namedtuple(value: Any) -> bool:
    return isinstance(value, tuple) and hasattr(type(value), "_make")


def _refilled_list(origin: list[Any], items: list[Any]) -> list[Any]:
    fresh = copy.copy(origin)
    fresh[:] = items
    return fresh
