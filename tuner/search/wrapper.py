"""What searchers around another one pass on to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tuner.search.searcher import Searcher


class SearcherWrapper(Searcher):
    """Base of the searchers that change when another one is asked and told, not what it is told.

    Args:
        searcher: The other one, whose metric and mode are its own.
    """

    def __init__(self, searcher: Searcher) -> None:
        super().__init__(searcher.metric, searcher.mode)
        self.searcher = searcher
        self.fills_space = searcher.fills_space

    def add_evaluated_point(
        self,
        parameters: Mapping[str, Any],
        value: Any,
        error: bool = False,
        pruned: bool = False,
        intermediate_values: Sequence[float] | None = None,
    ) -> None:
        """Passes it on."""
        self.searcher.add_evaluated_point(parameters, value, error, pruned, intermediate_values)

    def total_samples(self, num_samples: int) -> int | None:
        """Returns how many trials the searcher will propose."""
        return self.searcher.total_samples(num_samples)

    def set_num_samples(self, num_samples: int) -> None:
        """Passes it on."""
        self.searcher.set_num_samples(num_samples)

    def set_param_space(self, param_space: dict[str, Any]) -> None:
        """Passes it on."""
        self.searcher.set_param_space(param_space)
