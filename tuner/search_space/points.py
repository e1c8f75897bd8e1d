"""Putting the values of a point (one of `points_to_evaluate`) into a search space."""

import copy
import logging
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from tuner.errors import SearchSpaceError
from tuner.search_space.checks import call_text, same
from tuner.search_space.constructors import GRID_KEY
from tuner.search_space.domains import Categorical, Domain
from tuner.search_space.structure import (
    Path,
    grid_values,
    is_grid,
    is_place,
    is_sequence,
    path_text,
    rebuilder,
)
from tuner.validation import did_you_mean, shorten

logger = logging.getLogger(__name__)


Unusual = Callable[[Any, Path, Any, str], None]
"""Takes a part of a space, where it is, a value that it could not have given, and why not."""


def warn(space: Any, path: Path, value: Any, problem: str) -> None:
    """Says that a value of a point is unusual."""
    logger.warning(
        "points_to_evaluate: %s=%s %s; it is used as given",
        path_text(path),
        shorten(value),
        problem,
    )


def preset(space: Any, point: Any, path: Path = (), *, unusual: Unusual = warn) -> Any:
    """Returns a search space in which the values of `point` stand in place of its own.

    What `point` does not name stays a domain or a grid.

    Args:
        space: The search space, or the part of it at `path`.
        point: Values by name: nested as in the space, or with flat names such as `"model/lr"`.
        path: Where `space` stands in the whole.
        unusual: Told of values that the space could not have given; then they are used.

    Raises:
        SearchSpaceError: If `point` names a parameter that is not in the space, or has something
            else where the space has a dict or a list.

    Example:
        >>> preset({"a": {"x": 1, "y": 2}, "b": 3}, {"a/x": 10})
        {'a': {'x': 10, 'y': 2}, 'b': 3}
    """
    if is_place(space):
        if not _possible(space, point):
            unusual(space, path, point, f"is outside of {_described(space)}")
        return point
    if isinstance(space, dict):
        return _preset_dict(space, point, path, unusual)
    if is_sequence(space):
        return _preset_sequence(space, point, path, unusual)
    if not same(space, point):
        unusual(space, path, point, f"is not the search space's constant {shorten(space)}")
    return point


def _preset_dict(space: dict[Any, Any], point: Any, path: Path, unusual: Unusual) -> dict[Any, Any]:
    if not isinstance(point, Mapping):
        _refuse(path, point, f"the search space has a dict here, with {_names(space)}")
    merged = copy.copy(space)
    for name, value in point.items():
        key, inner = first_step(space, name, value)
        if key not in space:
            unknown = path_text((*path, name))
            raise SearchSpaceError(
                f"points_to_evaluate: {unknown!r} is not in the search space, which has "
                f"{_names(space)} here{did_you_mean(str(name), map(str, space))}"
            )
        merged[key] = preset(merged[key], inner, (*path, key), unusual=unusual)
    return merged


def _preset_sequence(space: Any, point: Any, path: Path, unusual: Unusual) -> Any:
    items = list(space)
    if isinstance(point, Mapping):
        by_index = {str(index): None for index in range(len(items))}
        values = [first_step(by_index, str(name), value) for name, value in point.items()]
    elif is_sequence(point) and len(point) == len(items):
        values = [(str(index), value) for index, value in enumerate(point)]
    else:
        _refuse(path, point, f"the search space has {len(items)} items here; give as many")
    for index, value in values:
        if not index.isdecimal() or int(index) >= len(items):
            _refuse((*path, index), value, f"the search space has {len(items)} items here")
        place = (*path, int(index))
        items[int(index)] = preset(items[int(index)], value, place, unusual=unusual)
    return rebuilder(space)(items)


def first_step(known: Mapping[Any, Any], name: Any, value: Any) -> tuple[Any, Any]:
    """Returns the first key of a flat name, and the value with the rest of the name around it.

    Args:
        known: What has the keys; a name that is one of them as a whole is left whole.
        name: A key, or a flat name such as `"model/lr"`.
        value: The value of that name.

    Example:
        >>> first_step({"model": 1}, "model/lr", 0.1)
        ('model', {'lr': 0.1})
    """
    if name in known or not isinstance(name, str):
        return name, value
    first, _, rest = name.partition("/")
    key = next((key for key in known if str(key) == first), first)
    return key, {rest: value} if rest else value


def _possible(space: Any, value: Any) -> bool:
    """Whether a part of a search space could have given `value`."""
    if isinstance(space, Categorical):
        return any(_possible(category, value) for category in space.categories)
    if isinstance(space, Domain):
        return space.is_valid(value)
    if is_grid(space):
        return any(_possible(option, value) for option in grid_values(space))
    if isinstance(space, dict):
        return (
            isinstance(value, Mapping)
            and value.keys() == space.keys()
            and all(_possible(space[key], item) for key, item in value.items())
        )
    if is_sequence(space):
        return is_sequence(value) and len(value) == len(space) and all(map(_possible, space, value))
    return same(space, value)


def _described(place: Any) -> str:
    return call_text(GRID_KEY, place[GRID_KEY]) if is_grid(place) else shorten(place)


def _refuse(path: Path, value: Any, fix: str) -> NoReturn:
    where = f"{path_text(path)}=" if path else ""
    raise SearchSpaceError(f"points_to_evaluate: {where}{shorten(value)} does not fit: {fix}")


def _names(space: dict[Any, Any]) -> str:
    return ", ".join(map(repr, space)) or "no parameters"
