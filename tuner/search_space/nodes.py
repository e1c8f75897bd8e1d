"""A search space taken apart once, as a tree of nodes from which configurations are built."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Any

from tuner.errors import SearchSpaceError
from tuner.search_space.domains import Categorical, Domain, SampleFrom
from tuner.search_space.structure import (
    Path,
    fresh_copy,
    grid_values,
    is_grid,
    is_sequence,
    path_text,
    rebuilder,
    refilled,
)

if TYPE_CHECKING:
    from tuner.search_space.resolution import Resolution


class Node(ABC):
    """One value of a search space."""

    __slots__ = ()

    def settled(self, resolution: Resolution) -> Node:
        """Returns what stands here in this configuration: never a place still open."""
        return self

    @abstractmethod
    def build(self, resolution: Resolution) -> Any:
        """Returns the value for this configuration, its dicts and lists fresh."""


class Leaf(Node):
    """A value that is not looked into; configurations share it."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def build(self, resolution: Resolution) -> Any:
        """Returns the value itself."""
        return self.value


class Fixed(Node):
    """A dict, list or tuple without a place in it: every configuration has a copy."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def opened(self) -> Node:
        """Returns a node that has nodes for its items; itself if it is a list without dicts."""
        if isinstance(self.value, dict):
            return DictNode(self.value, {key: _fixed(item) for key, item in self.value.items()})
        if any(isinstance(item, dict) for item in self.value):
            return ListNode(self.value, [_fixed(item) for item in self.value])
        return self

    def build(self, resolution: Resolution) -> Any:
        """Returns a fresh copy."""
        return fresh_copy(self.value)


class DictNode(Node):
    """A dict with places in it."""

    __slots__ = ("children", "origin")

    def __init__(self, origin: dict[Any, Any], children: dict[Any, Node]) -> None:
        self.origin = origin
        self.children = children

    def build(self, resolution: Resolution) -> Any:
        """Returns a dict of the class of the original."""
        values = {key: child.build(resolution) for key, child in self.children.items()}
        return refilled(self.origin, values)


class ListNode(Node):
    """A list or tuple with places in it."""

    __slots__ = ("children", "rebuild")

    def __init__(self, origin: Any, children: list[Node]) -> None:
        self.children = children
        self.rebuild = rebuilder(origin)

    def build(self, resolution: Resolution) -> Any:
        """Returns a list or tuple of the class of the original."""
        return self.rebuild([child.build(resolution) for child in self.children])


class Place(Node):
    """A value that a configuration decides, once."""

    __slots__ = ("path",)

    def __init__(self, path: Path) -> None:
        self.path = path

    @abstractmethod
    def decide(self, resolution: Resolution) -> Node:
        """Returns what the place becomes; asked once per configuration."""

    def settled(self, resolution: Resolution) -> Node:
        """Returns what the place became."""
        return resolution.settle(self)

    def build(self, resolution: Resolution) -> Any:
        """Returns the value of what the place became."""
        return resolution.settle(self).build(resolution)


class Grid(Place):
    """A `grid_search`; `size` counts what its values expand to, grids inside them included."""

    __slots__ = ("options", "size")

    def __init__(self, path: Path, options: list[Scope]) -> None:
        super().__init__(path)
        self.options = options
        self.size = sum(option.size for option in options)

    def locate(self, point: int) -> tuple[Scope, int]:
        """Returns the value at one of the grid's `size` points, and the point inside it."""
        for option in self.options:
            if point < option.size:
                return option, point
            point -= option.size
        raise IndexError(point)

    def decide(self, resolution: Resolution) -> Node:
        """Returns the value that the grid point selects."""
        return resolution.selected[self]


class Random(Place):
    """A domain that is drawn from."""

    __slots__ = ("domain",)

    def __init__(self, path: Path, domain: Domain) -> None:
        super().__init__(path)
        self.domain = domain

    def decide(self, resolution: Resolution) -> Node:
        """Draws a value."""
        return Leaf(self.domain.draw(resolution.stream(self)))


class Choice(Place):
    """A `choice`, whose categories may themselves hold places."""

    __slots__ = ("domain", "options")

    def __init__(self, path: Path, domain: Categorical, options: list[Node]) -> None:
        super().__init__(path)
        self.domain = domain
        self.options = options

    def decide(self, resolution: Resolution) -> Node:
        """Draws a category."""
        return self.options[self.domain.draw_index(resolution.stream(self))]


class Computed(Place):
    """A `sample_from`."""

    __slots__ = ("domain",)

    def __init__(self, path: Path, domain: SampleFrom) -> None:
        super().__init__(path)
        self.domain = domain

    def decide(self, resolution: Resolution) -> Node:
        """Calls the function, and takes apart what it returns."""
        return resolution.call(self)


@dataclass
class Scope:
    """A value taken apart, with the places that are in every configuration that contains it.

    Attributes:
        root: The whole value.
        places: Its places in the order of the value, without those inside options.
        has_functions: Whether a `sample_from` is anywhere in it, also inside options.
        is_random: Whether a domain is anywhere in it, also inside options.
    """

    root: Node
    places: list[Place]
    has_functions: bool
    is_random: bool

    @cached_property
    def grids(self) -> list[Grid]:
        """The grids, in the order in which they turn: the first is the fastest."""
        grids = [place for place in self.places if isinstance(place, Grid)]
        return sorted(grids, key=lambda grid: [_sort_key(part) for part in grid.path])

    @cached_property
    def randoms(self) -> dict[Place, None]:
        """The places that are drawn without looking at others, in order."""
        return dict.fromkeys(p for p in self.places if isinstance(p, (Random, Choice)))

    @cached_property
    def size(self) -> int:
        """How many configurations the grids give."""
        return prod(grid.size for grid in self.grids)


def take_apart(value: Any, path: Path = ()) -> Scope:
    """Takes a search space, or a part of one, apart.

    Args:
        value: Anything; dicts, lists, tuples and named tuples are looked into.
        path: Where in the search space the value stands.

    Raises:
        SearchSpaceError: If a grid is empty or inside a `choice`, or a container holds itself.
    """
    return _Workshop().scope(value, path)


class _Workshop:
    """Builds nodes, collecting the places of the scope that is being taken apart."""

    def __init__(self, inside: frozenset[int] = frozenset()) -> None:
        self._inside = inside
        self._places: list[Place] = []
        self._has_functions = False
        self._is_random = False

    def scope(self, value: Any, path: Path) -> Scope:
        root = self._node(value, path)
        return Scope(root, self._places, self._has_functions, self._is_random)

    def _node(self, value: Any, path: Path) -> Node:
        if isinstance(value, Domain) or is_grid(value):
            place = self._place(value, path)
            self._places.append(place)
            return place
        if not isinstance(value, dict) and not is_sequence(value):
            return Leaf(value)
        return self._container(value, path)

    def _container(self, value: Any, path: Path) -> Node:
        if id(value) in self._inside:
            raise SearchSpaceError(f"param_space: {_where(path)} contains itself; break the loop")
        outside, self._inside = self._inside, self._inside | {id(value)}
        places_before = len(self._places)
        node: Node
        if isinstance(value, dict):
            node = DictNode(value, {k: self._node(v, (*path, k)) for k, v in value.items()})
        else:
            node = ListNode(value, [self._node(v, (*path, i)) for i, v in enumerate(value)])
        self._inside = outside
        return node if len(self._places) > places_before else Fixed(value)

    def _place(self, value: Any, path: Path) -> Place:
        self._is_random |= isinstance(value, Domain)
        if isinstance(value, SampleFrom):
            self._has_functions = True
            return Computed(path, value)
        if isinstance(value, Categorical):
            return Choice(path, value, self._categories(value, path))
        if isinstance(value, Domain):
            return Random(path, value)
        return Grid(path, [self._option(option, path) for option in grid_values(value)])

    def _categories(self, domain: Categorical, path: Path) -> list[Node]:
        options = [self._option(category, path) for category in domain.categories]
        if any(option.grids for option in options):
            raise SearchSpaceError(
                f"{path_text(path)}: a grid_search inside choice would make the number of trials "
                "a matter of chance; use choice inside, or grid_search outside"
            )
        return [option.root for option in options]

    def _option(self, value: Any, path: Path) -> Scope:
        option = _Workshop(self._inside).scope(value, path)
        self._has_functions |= option.has_functions
        self._is_random |= option.is_random
        return option


def _fixed(value: Any) -> Node:
    return Fixed(value) if isinstance(value, dict) or is_sequence(value) else Leaf(value)


def _where(path: Path) -> str:
    return repr(path_text(path)) if path else "the search space"


def _sort_key(part: Any) -> tuple[int, Any]:
    return (0, part) if isinstance(part, int) else (1, str(part))
