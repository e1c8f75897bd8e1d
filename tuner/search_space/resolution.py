"""One configuration in the making: every place is decided once, when it is first needed."""

from __future__ import annotations

import zlib
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from tuner.errors import CircularDependencyError, SearchSpaceError
from tuner.search_space.nodes import (
    Computed,
    DictNode,
    Fixed,
    Grid,
    ListNode,
    Node,
    Place,
    Scope,
    take_apart,
)
from tuner.search_space.spec_view import ConfigView, ListView, Spec
from tuner.search_space.streams import as_generator, preserved_globals, seed_globals
from tuner.search_space.structure import fresh_copy, path_text

if TYPE_CHECKING:
    import numpy as np


class Resolution:
    """Decides the places of one configuration.

    A `sample_from` function that reads a parameter which is not yet decided makes it be decided
    there and then; so dependencies may stand in any order, and no function is called twice.

    Args:
        scope: The search space.
        grid_point: Which of the grid's `scope.size` configurations.
        rng: What to draw from; None if the search space has no domain.

    Attributes:
        selected: What each grid was set to by `grid_point`.
    """

    def __init__(self, scope: Scope, grid_point: int, rng: np.random.Generator | None) -> None:
        self.selected: dict[Grid, Node] = {}
        self._scope = scope
        self._rng = rng
        # Functions, and domains that not every grid point has, draw from streams of their own:
        # so what the others draw is the same at every grid point (`constant_grid_search`).
        self._inner_seed = 0 if rng is None else int(rng.integers(2**63))
        self._settled: dict[Place, Node] = {}
        self._deciding: list[Place] = []
        self._select(scope, grid_point)

    def run(self) -> Any:
        """Returns the configuration."""
        with preserved_globals() if self._scope.has_functions else nullcontext():
            for place in self._scope.randoms:
                self.settle(place)
            return self._scope.root.build(self)

    def settle(self, place: Place) -> Node:
        """Returns what `place` is in this configuration, deciding it at the first call.

        Raises:
            SearchSpaceError: If it is being decided already, and so depends on itself.
        """
        known = self._settled.get(place)
        if known is not None:
            return known
        if place in self._deciding:
            raise CircularDependencyError(_circle_text(self._deciding, place))
        self._deciding.append(place)
        try:
            node = place.decide(self).settled(self)
        finally:
            self._deciding.pop()
        self._settled[place] = node
        return node

    def stream(self, place: Place) -> np.random.Generator:
        """Returns what `place` draws from."""
        if place in self._scope.randoms and self._rng is not None:
            return self._rng
        return as_generator(self._seed_at(place))

    def call(self, place: Computed) -> Node:
        """Calls the function of a `sample_from` and takes its result apart.

        Raises:
            SearchSpaceError: If it raises, depends on itself, or returns a grid.
        """
        name = path_text(place.path)
        is_nested = len(self._deciding) > 1
        with preserved_globals() if is_nested else nullcontext():
            seed_globals(self._seed_at(place))
            try:
                result = fresh_copy(place.domain.call(self._spec()))
            except SearchSpaceError:
                raise
            except Exception as error:
                raise SearchSpaceError(_failed_call(name, error)) from error
        scope = take_apart(result, place.path)
        if scope.grids:
            raise SearchSpaceError(
                f"{name}: sample_from returned a grid_search, which would make the number of "
                "trials a matter of chance; return choice(...), or use grid_search directly"
            )
        return scope.root

    def read(self, node: Node) -> Any:
        """Returns what a `sample_from` function sees of `node`."""
        node = node.settled(self)
        if isinstance(node, Fixed):
            node = node.opened()
        if isinstance(node, DictNode):
            return ConfigView(node.children, self.read)
        if isinstance(node, ListNode):
            return self._read_list(node)
        return node.build(self)

    def _read_list(self, node: ListNode) -> Any:
        view = ListView(node.children, self.read, node.rebuild)
        try:
            items = list(view)
        except CircularDependencyError:  # only one of its other items is needed
            return view
        return view if any(isinstance(item, ConfigView) for item in items) else node.rebuild(items)

    def _seed_at(self, place: Place) -> int:
        return self._inner_seed ^ zlib.crc32(path_text(place.path).encode())

    def _spec(self) -> Spec:
        root = self._scope.root
        return Spec(root.children if isinstance(root, DictNode) else {}, self.read)

    def _select(self, scope: Scope, grid_point: int) -> None:
        for grid in scope.grids:
            grid_point, point = divmod(grid_point, grid.size)
            option, inner_point = grid.locate(point)
            self.selected[grid] = option.root
            self._select(option, inner_point)


def _circle_text(deciding: list[Place], place: Place) -> str:
    around = dict.fromkeys(path_text(p.path) for p in deciding[deciding.index(place) :])
    return (
        f"sample_from: {' -> '.join([*around, path_text(place.path)])} depend on each other in a "
        "circle; give one of them a value that reads none of the others"
    )


def _failed_call(name: str, error: Exception) -> str:
    detail = " ".join(str(error.args[0] if error.args else error).split())
    return f"{name}: the sample_from function raised {type(error).__name__}: {detail}"
