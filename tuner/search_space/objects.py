"""Objects in a search space, such as references and handles: a restore is given them again.

Numbers, texts, truth values and None are plain: the journal has them, and they stay as recorded.
What a restore is given takes the place of everything else.
"""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Number
from typing import Any

from tuner.codec import StandIn
from tuner.search_space.checks import same
from tuner.search_space.domains import Categorical, Domain
from tuner.search_space.structure import (
    Path,
    grid_values,
    is_grid,
    is_place,
    is_sequence,
    path_text,
    rebuilder,
    refilled,
)
from tuner.validation import shorten

_PLAIN = frozenset({bool, int, float, complex, str, bytes, type(None)})

Outline = dict[str, tuple[str, Any]]
"""What a search space has at each flat name: the word for it, and its value if it is plain."""


def outline(space: Any, path: Path = ()) -> Outline:
    """Returns what can be told of a search space without the objects in it.

    Example:
        >>> from tuner.search_space import uniform
        >>> outline({"lr": uniform(0, 1), "data": object()})
        {'lr': ('the domain', 'uniform(0.0, 1.0)'), 'data': ('an object', None)}
        >>> outline({"net": {"depth": 3}})
        {'net/depth': ('the constant', 3)}
    """
    if is_place(space):
        text = repr(space)
        is_telling = not chooses_objects(space) and " at 0x" not in text
        return {path_text(path): ("the domain", text if is_telling else None)}
    items = _items(space)
    if items is not None and (items or not path):
        return {
            name: what for key, item in items for name, what in outline(item, (*path, key)).items()
        }
    if _is_plain(space) or items == []:
        return {path_text(path): ("the constant", space)}
    return {path_text(path): ("an object", None)}


def difference(given: Outline, known: Outline) -> str | None:
    """Returns in words what tells two search spaces apart, None if nothing does.

    Example:
        >>> difference(outline({"a": 1}), outline({"a": 2}))
        "has the constant 1 at 'a', where the run had the constant 2"
    """
    for name in (*known, *given):
        if name not in known:
            return f"has the key {name!r}, which the run had not"
        if name not in given:
            return f"lacks the key {name!r}, which the run had"
        if given[name][0] != known[name][0] or not _equal(given[name][1], known[name][1]):
            return f"has {_word(given[name])} at {name!r}, where the run had {_word(known[name])}"
    return None


def chooses_objects(space: Any) -> bool:
    """Returns whether a category of a `choice` or a `grid_search` is, or holds, an object."""
    categories = _categories(space)
    if categories is not None:
        return not all(map(_is_free_of_objects, categories))
    return any(chooses_objects(item) for _, item in _items(space) or [])


def chosen_objects(space: Any, config: Any, name: str = "") -> Iterator[tuple[str, int]]:
    """Yields where a configuration has a category that is, or holds, an object; and which one.

    Args:
        space: The search space, or a part of it.
        config: The configuration, whose objects are those of the space.
        name: The flat name of the part, with `#2` for a choice of the category 2.
    """
    categories = _categories(space)
    if categories is not None:
        index = next((i for i, each in enumerate(categories) if _could_be(each, config)), None)
        if index is not None and chooses_objects(space):
            yield name, index
            yield from chosen_objects(categories[index], config, f"{name}#{index}")
        return
    for key, item, value in _common(space, config):
        yield from chosen_objects(item, value, f"{name}/{key}")


def refreshed(space: Any, config: Any, chosen: dict[str, int], name: str = "") -> Any:
    """Returns a configuration of an earlier run with the objects of the search space.

    Args:
        space: The search space, or a part of it.
        config: The configuration, or the same part of it.
        chosen: What `chosen_objects` has yielded for it.
        name: As there.
    """
    categories = _categories(space)
    if categories is not None:
        index = chosen.get(name, len(categories))
        if index >= len(categories):
            return config
        return refreshed(categories[index], config, chosen, f"{name}#{index}")
    if isinstance(space, Domain) or _is_plain(space):
        return config
    if _items(space) is None:
        return space
    fresh = {
        key: refreshed(item, value, chosen, f"{name}/{key}")
        for key, item, value in _common(space, config)
    }
    if isinstance(config, dict):
        return refilled(config, {key: fresh.get(key, value) for key, value in config.items()})
    if is_sequence(config):
        return rebuilder(config)([fresh.get(key, value) for key, value in enumerate(config)])
    return config


def missing_objects(config: Any, path: Path = ()) -> Iterator[str]:
    """Yields the flat names of values in a configuration that could not be loaded."""
    if isinstance(config, StandIn):
        yield path_text(path)
    for key, value in _items(config) or []:
        yield from missing_objects(value, (*path, key))


def _items(value: Any) -> list[tuple[Any, Any]] | None:
    """The items of a container that is taken apart, None for any other value."""
    if isinstance(value, dict):
        return list(value.items())
    return list(enumerate(value)) if is_sequence(value) else None


def _common(space: Any, config: Any) -> Iterator[tuple[Any, Any, Any]]:
    """What two containers have under the same keys."""
    values = dict(_items(config) or [])
    for key, item in _items(space) or []:
        if key in values:
            yield key, item, values[key]


def _categories(space: Any) -> list[Any] | None:
    if is_grid(space):
        return grid_values(space)
    return list(space.categories) if isinstance(space, Categorical) else None


def _is_plain(value: Any) -> bool:
    kind = type(value)
    return kind in _PLAIN or (kind.__module__ == "numpy" and isinstance(value, Number))


def _is_free_of_objects(space: Any) -> bool:
    """Whether all that is in it, also in its categories, is plain or drawn."""
    parts = _categories(space)
    if parts is None and not isinstance(space, Domain):
        items = _items(space)
        parts = None if items is None else [item for _, item in items]
        if parts is None:
            return _is_plain(space)
    return all(map(_is_free_of_objects, parts or []))


def _could_be(space: Any, value: Any) -> bool:
    """Whether a part of a search space may have become this value, told by its objects."""
    categories = _categories(space)
    if categories is not None:
        return any(_could_be(category, value) for category in categories)
    if isinstance(space, Domain):
        return True
    items = _items(space)
    if items is None:
        return same(space, value) if _is_plain(space) else space is value
    values = _items(value)
    return (
        values is not None
        and len(items) == len(values)
        and dict(items).keys() == dict(values).keys()
        and all(_could_be(item, own) for _, item, own in _common(space, value))
    )


def _equal(one: Any, other: Any) -> bool:
    return same(one, other) or (one != one and other != other)


def _word(what: tuple[str, Any]) -> str:
    return what[0] if what[1] is None else f"{what[0]} {shorten(what[1])}"
