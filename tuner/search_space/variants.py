"""From a `param_space` to the configurations of trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tuner.errors import SearchSpaceError
from tuner.search_space.nodes import Computed, take_apart
from tuner.search_space.objects import chooses_objects, chosen_objects, refreshed
from tuner.search_space.points import Unusual, preset, warn
from tuner.search_space.resolution import Resolution
from tuner.search_space.structure import overlaid, path_text
from tuner.validation import shorten

if TYPE_CHECKING:
    import numpy as np


class SearchSpace:
    """A `param_space`, taken apart once so that each configuration costs little.

    Args:
        space: Nested dicts, lists and tuples, with domains and grids anywhere in them, and any
            other values, which configurations share.

    Raises:
        SearchSpaceError: If it is no dict, or a grid in it cannot be expanded.

    Attributes:
        space: The `param_space` itself.
        size: How many configurations the grids in it give; 1 without a grid. The first grid turns
            fastest, in the order of their names (of list indices: as numbers).
        has_unresolved: Whether it has any domain or grid.
        is_random: Whether it has any domain, also inside a grid.
        searched: The flat names of its domains and grids, without functions of `sample_from`.

    Example:
        >>> import numpy as np
        >>> from tuner.search_space import grid_search, sample_from
        >>> space = SearchSpace({
        ...     "layers": [grid_search([16, 64]), 8],
        ...     "units": sample_from(lambda spec: sum(spec.config.layers)),
        ... })
        >>> [space.resolve(point, rng=np.random.default_rng(0)) for point in range(space.size)]
        [{'layers': [16, 8], 'units': 24}, {'layers': [64, 8], 'units': 72}]
    """

    def __init__(self, space: Mapping[str, Any] | None) -> None:
        if not isinstance(space, dict | None):
            raise SearchSpaceError(f"param_space={shorten(space)}: give a dict of parameters")
        self.space: dict[str, Any] = {} if space is None else space
        self._scope = take_apart(self.space)
        self._names = [(place.path, path_text(place.path)) for place in self._scope.places]
        self.size = self._scope.size
        self.has_unresolved = bool(self._names)
        self.is_random = self._scope.is_random
        self.searched = [
            path_text(place.path) for place in self._scope.places if not isinstance(place, Computed)
        ]

    @cached_property
    def _chooses_objects(self) -> bool:
        return chooses_objects(self.space)

    @classmethod
    def of(cls, space: SearchSpace | Mapping[str, Any] | None) -> SearchSpace:
        """Returns `space` itself if it was taken apart already, else takes it apart."""
        return space if isinstance(space, SearchSpace) else cls(space)

    def resolve(self, grid_point: int = 0, *, rng: np.random.Generator | None) -> dict[str, Any]:
        """Returns one configuration, its dicts and lists fresh.

        Args:
            grid_point: Which combination of grid values, from 0 up to and without `size`.
            rng: What to draw from; None will do where nothing `is_random`. During a call of a
                `sample_from` function, `random` and `np.random` are seeded from it; then they are
                as they were.

        Raises:
            SearchSpaceError: If a `sample_from` function raises, or depends on itself.
        """
        if not 0 <= grid_point < self.size:
            raise SearchSpaceError(f"grid_point={grid_point}: give 0 to {self.size - 1}")
        config: dict[str, Any] = Resolution(self._scope, grid_point, rng).run()
        return config

    def evaluated_params(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the values that `config` has at the places of the domains and grids.

        Args:
            config: A configuration of this space; places that it lacks are left out.

        Returns:
            Values by flat name, such as `{"lr": 0.1, "nn_layers/0": 16}`.
        """
        evaluated = {}
        for path, name in self._names:
            value: Any = config
            try:
                for key in path:
                    value = value[key]
            except (KeyError, IndexError, TypeError):
                continue
            evaluated[name] = value
        return evaluated

    def chosen_objects(self, config: Mapping[str, Any]) -> dict[str, int]:
        """Returns which categories of the space `config` has where they are, or hold, objects.

        Args:
            config: A configuration of this space in this process.
        """
        return dict(chosen_objects(self.space, config)) if self._chooses_objects else {}

    def refreshed(self, config: Mapping[str, Any], chosen: dict[str, int]) -> dict[str, Any]:
        """Returns a configuration of an earlier run with the objects of this space in it.

        Args:
            config: The configuration; numbers, texts and what was drawn stay.
            chosen: What `chosen_objects` has returned for it in that run.

        Example:
            >>> data = object()
            >>> space = SearchSpace({"lr": 0.1, "data": data})
            >>> space.refreshed({"lr": 0.2, "data": "another process's"}, {})["data"] is data
            True
        """
        fresh: dict[str, Any] = refreshed(self.space, config, chosen)
        return fresh

    def completed(self, suggestion: Mapping[str, Any], *, seed: Sequence[int]) -> dict[str, Any]:
        """Returns a searcher's suggestion with what it lacks: constants, functions, domains.

        Args:
            suggestion: Values, nested as in the space; they replace the space's own.
            seed: What domains that are left are drawn from.

        Raises:
            SearchSpaceError: If a grid is left, or a function of `sample_from` raises.

        Example:
            >>> space = SearchSpace({"model": {"depth": 3}, "batch": 32})
            >>> space.completed({"model": {"width": 8}}, seed=[0])
            {'model': {'depth': 3, 'width': 8}, 'batch': 32}
        """
        space = SearchSpace(overlaid(self.space, suggestion))
        if space._scope.grids:
            names = ", ".join(path_text(grid.path) for grid in space._scope.grids)
            raise SearchSpaceError(
                f"{names}: the searcher suggested no value for this grid_search; use choice"
            )
        if not space.is_random:
            return space.resolve(rng=None)
        import numpy as np

        return space.resolve(rng=np.random.default_rng(seed))

    def preset(self, point: Mapping[str, Any], *, unusual: Unusual = warn) -> SearchSpace:
        """Returns the space with the values of `point` in place of its own.

        Args:
            point: Values by name: nested as in the space, or with flat names such as `"model/lr"`.
                What it does not name stays a domain or a grid.
            unusual: Told of values that the space could not have given.

        Raises:
            SearchSpaceError: If it names what is not in the space, or does not fit its structure.
        """
        return SearchSpace(preset(self.space, point, unusual=unusual))


def grid_size(space: SearchSpace | Mapping[str, Any] | None) -> int:
    """Returns how many configurations the grids in `space` give; 1 without a grid.

    Example:
        >>> grid_size({"a": {"grid_search": [1, 2]}, "b": [{"grid_search": [3, 4, 5]}]})
        6
    """
    return SearchSpace.of(space).size


def has_unresolved(space: SearchSpace | Mapping[str, Any] | None) -> bool:
    """Returns whether `space` has any domain or grid.

    Example:
        >>> has_unresolved({"a": {"grid_search": [1, 2]}}), has_unresolved({"a": 1})
        (True, False)
    """
    return SearchSpace.of(space).has_unresolved


def resolve(
    space: SearchSpace | Mapping[str, Any] | None,
    *,
    grid_point: int = 0,
    rng: np.random.Generator,
    point: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Returns one configuration of `space`; see `SearchSpace.resolve` and `SearchSpace.preset`.

    Example:
        >>> import numpy as np
        >>> resolve({"a": {"grid_search": [1, 2]}}, grid_point=1, rng=np.random.default_rng(0))
        {'a': 2}
    """
    whole = SearchSpace.of(space)
    return (whole.preset(point) if point else whole).resolve(grid_point, rng=rng)


def evaluated_params(
    space: SearchSpace | Mapping[str, Any] | None, config: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns the values of `config` at the domains and grids of `space`, by flat name.

    Example:
        >>> evaluated_params({"layers": [{"grid_search": [1, 2]}], "b": 3}, {"layers": [2], "b": 3})
        {'layers/0': 2}
    """
    return SearchSpace.of(space).evaluated_params(config)
