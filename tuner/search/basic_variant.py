"""Grid and random search: every grid point, `num_samples` times, the rest drawn at random."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from tuner.errors import SearchSpaceError
from tuner.search.searcher import Searcher, check_points
from tuner.search_space import SearchSpace, as_seed
from tuner.validation import check_flag, check_whole

if TYPE_CHECKING:
    import numpy as np


class BasicVariantGenerator(Searcher):
    """Proposes the variants of the search space; it does not look at results.

    There are `num_samples` samples. Each gives one variant, or one for each combination of grid
    values. A point of `points_to_evaluate` takes the place of a sample: its values are set, and
    what it leaves open is drawn, or expanded if it is a grid. Points beyond `num_samples` are
    evaluated too.

    Variant `i` is drawn from `numpy.random.default_rng([seed, i])`, so it does not depend on which
    variants were made before it.

    Args:
        points_to_evaluate: Configurations to begin with, whole or in part.
        max_concurrent: How many trials may be unfinished at a time; 0 for no limit.
        constant_grid_search: Whether the random values of a sample are the same for all its grid
            points, and not drawn anew for each.
        random_state: A seed, or a numpy generator that a seed is drawn from. None takes the
            experiment's seed, or without one a new seed each time.

    Raises:
        ConfigError: If an argument cannot work.

    Example:
        >>> from tuner.search_space import grid_search, randint
        >>> variants = BasicVariantGenerator(
        ...     points_to_evaluate=[{"a": 2, "b": 2}, {"b": 5}], random_state=0
        ... )
        >>> space = {"a": grid_search([1, 2]), "b": randint(0, 100)}
        >>> variants.set_search_properties("loss", "min", space, num_samples=3)
        True
        >>> [variants.suggest(f"trial_{i}") for i in range(3)]
        [{'a': 2, 'b': 2}, {'a': 1, 'b': 5}, {'a': 2, 'b': 5}]
        >>> variants.total_samples(num_samples=3)
        5
    """

    def __init__(
        self,
        points_to_evaluate: Sequence[dict[str, Any]] | None = None,
        max_concurrent: int = 0,
        constant_grid_search: bool = False,
        random_state: int | np.random.Generator | np.random.RandomState | None = None,
    ) -> None:
        super().__init__()
        owner = type(self).__name__
        check_whole(owner, "max_concurrent", max_concurrent, "use 0 for no limit, or 1 up", least=0)
        check_flag(owner, "constant_grid_search", constant_grid_search)
        self.max_concurrent = max_concurrent
        self._points = check_points(owner, points_to_evaluate)
        self._constant_grid_search = constant_grid_search
        self._seed = None if random_state is None else as_seed(random_state)
        self._space: SearchSpace | None = None
        self._preset_spaces: list[SearchSpace] = []
        self._ends: list[int] = []  # of each point, the number of variants up to its last
        self._num_samples = 1
        self._live: set[str] = set()
        self._start(self._seed)

    fills_space = True

    def set_search_properties(
        self,
        metric: str | None,
        mode: str | None,
        config: dict[str, Any],
        *,
        num_samples: int = 1,
        seed: int | None = None,
        **spec: Any,
    ) -> bool:
        """Takes the search space, and starts from the first variant.

        Args:
            metric: The experiment's metric.
            mode: The experiment's mode.
            config: The `param_space`.
            num_samples: How many samples, -1 for no limit.
            seed: The experiment's seed; `random_state` goes before it.
            **spec: Ignored.

        Returns:
            True.

        Raises:
            SearchSpaceError: If the space cannot be expanded, or a point does not fit it.
        """
        super().set_search_properties(metric, mode, config, **spec)
        self.set_param_space(config)
        self._num_samples = num_samples
        self._start(seed if self._seed is None else self._seed)
        return True

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Returns the next variant, None at the limit, `Searcher.FINISHED` after the last."""
        if self.max_concurrent and len(self._live) >= self.max_concurrent:
            return None
        total = self.total_samples(self._num_samples)
        if total is not None and self._index >= total:
            return Searcher.FINISHED
        config = self._variant(self._index)
        self.on_trial_recorded(trial_id, config)
        return config

    def on_trial_recorded(self, trial_id: str, config: dict[str, Any]) -> None:
        """Goes on to the next variant; nothing is drawn, and no user function is called."""
        self._index += 1
        self._live.add(trial_id)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Makes room for another trial where `max_concurrent` is set."""
        self._live.discard(trial_id)

    def total_samples(self, num_samples: int) -> int | None:
        """Returns how many variants `num_samples` samples give, None for -1."""
        if num_samples == -1:
            return None
        samples_left = max(0, num_samples - len(self._points))
        return self._from_points() + samples_left * self._searched_space().size

    def set_num_samples(self, num_samples: int) -> None:
        """Goes on after the last variant, or ends earlier."""
        self._num_samples = num_samples

    def set_param_space(self, param_space: dict[str, Any]) -> None:
        """Takes variants from this search space; which one is next stays."""
        self._space = SearchSpace(param_space)
        self._preset_spaces = [self._space.preset(point) for point in self._points]
        self._ends = list(accumulate(space.size for space in self._preset_spaces))

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        """Sets `max_concurrent`, which this searcher keeps to by itself."""
        self.max_concurrent = max_concurrent
        return True

    def get_state(self) -> dict[str, Any]:
        """Returns which variant is next, the seed, and the unfinished trials."""
        return {"index": self._index, "seed": self._run_seed, "live": sorted(self._live)}

    def set_state(self, state: dict[str, Any]) -> None:
        """Goes on from what `get_state` returned; the search space stays as it was set."""
        self._index = state["index"]
        self._run_seed = state["seed"]
        self._live = set(state["live"])

    def _start(self, seed: int | None) -> None:
        self._run_seed = _fresh_seed() if seed is None else seed
        self._index = 0
        self._live = set()

    def _variant(self, index: int) -> dict[str, Any]:
        space, grid_point, sample = self._located(index)
        if not space.is_random:
            return space.resolve(grid_point, rng=None)
        import numpy as np

        stream = sample if self._constant_grid_search else index
        return space.resolve(grid_point, rng=np.random.default_rng([self._run_seed, stream]))

    def _located(self, index: int) -> tuple[SearchSpace, int, int]:
        """Returns of a variant its space, its grid point, and the number of its sample."""
        if index < self._from_points():
            point = bisect_right(self._ends, index)
            space = self._preset_spaces[point]
            return space, index - (self._ends[point] - space.size), point
        space = self._searched_space()
        sample, grid_point = divmod(index - self._from_points(), space.size)
        return space, grid_point, len(self._points) + sample

    def _from_points(self) -> int:
        self._searched_space()
        return self._ends[-1] if self._ends else 0

    def _searched_space(self) -> SearchSpace:
        if self._space is None:
            raise SearchSpaceError(
                f"{type(self).__name__} has no search space yet; call set_search_properties first"
            )
        return self._space


def _fresh_seed() -> int:
    import secrets

    return secrets.randbits(63)
