"""A searcher around another one that has each configuration tried several times."""

from __future__ import annotations

import math
from typing import Any

from tuner.flatten import lookup
from tuner.metrics import as_number
from tuner.search.searcher import Searcher
from tuner.search.wrapper import SearcherWrapper
from tuner.validation import check_flag, check_whole, reject

TRIAL_INDEX = "__trial_index__"
"""Key in the configuration that tells the repetitions of one apart, from 0."""


class Repeater(SearcherWrapper):
    """Has each configuration of a searcher tried `repeat` times, and tells it the mean.

    The searcher knows one trial per configuration. It hears of its end when all repetitions have
    ended: the mean of the metric over those that have a finite value, or a failure if none has.
    Set `num_samples` to a multiple of `repeat`; repetitions left over are not told.

    Args:
        searcher: The searcher that proposes configurations.
        repeat: How often each is tried, 1 or more.
        set_index: Whether `config["__trial_index__"]` tells the repetition, such as for a seed.

    Raises:
        ConfigError: If an argument cannot work.

    Example:
        >>> from tuner.search.basic_variant import BasicVariantGenerator
        >>> repeater = Repeater(BasicVariantGenerator(), repeat=2)
        >>> repeater.set_search_properties("loss", "min", {"x": 3}, num_samples=2)
        True
        >>> repeater.suggest("a"), repeater.suggest("b")
        ({'x': 3, '__trial_index__': 0}, {'x': 3, '__trial_index__': 1})
    """

    def __init__(self, searcher: Searcher, repeat: int = 1, set_index: bool = True) -> None:
        owner = type(self).__name__
        if not isinstance(searcher, Searcher):
            reject(owner, "searcher", searcher, "give a Searcher object")
        check_whole(owner, "repeat", repeat, "use a whole number >= 1", least=1)
        check_flag(owner, "set_index", set_index)
        super().__init__(searcher)
        self.repeat = repeat
        self.set_index = set_index
        self._open: _Group | None = None
        self._groups: dict[str, _Group] = {}

    def set_search_properties(
        self, metric: Any, mode: Any, config: dict[str, Any], **spec: Any
    ) -> bool:
        """Passes them on, and returns whether the searcher takes the search space."""
        taken = self.searcher.set_search_properties(metric, mode, config, **spec)
        self.metric, self.mode = self.searcher.metric, self.searcher.mode
        return taken

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Returns the configuration that is to be repeated, or a new one."""
        if self._open is None:
            config = self.searcher.suggest(trial_id)
            if not isinstance(config, dict):
                return config
            self._open = _Group(trial_id, config)
        return self._join(trial_id)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Passes on the results of the first repetition."""
        if trial_id in self._groups and self._groups[trial_id].first == trial_id:
            self.searcher.on_trial_result(trial_id, result)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Passes on the mean when the last repetition has ended."""
        group = self._groups.pop(trial_id, None)
        if group is None:
            return
        group.results.append(None if error else result)
        if len(group.results) == self.repeat:
            metrics = self.metric if isinstance(self.metric, list) else [str(self.metric)]
            mean = group.mean(metrics)
            self.searcher.on_trial_complete(group.first, mean, error=mean is None)

    def on_trial_recorded(self, trial_id: str, config: dict[str, Any]) -> bool | None:
        """Counts the trial, and passes the record on if it is a new configuration."""
        if self._open is None:
            config = {name: value for name, value in config.items() if name != TRIAL_INDEX}
            if self.searcher.on_trial_recorded(trial_id, config) is False:
                return False
            self._open = _Group(trial_id, config)
        self._join(trial_id)
        return True

    def _join(self, trial_id: str) -> dict[str, Any]:
        group = self._open
        assert group is not None
        index = group.num_trials
        group.num_trials += 1
        self._groups[trial_id] = group
        if group.num_trials == self.repeat:
            self._open = None
        return {**group.config, TRIAL_INDEX: index} if self.set_index else dict(group.config)


class _Group:
    """The repetitions of one configuration."""

    def __init__(self, first: str, config: dict[str, Any]) -> None:
        self.first = first
        self.config = config
        self.num_trials = 0
        self.results: list[dict[str, Any] | None] = []

    def mean(self, metrics: list[str]) -> dict[str, Any] | None:
        """The mean of each metric over the repetitions that have it, None if none has all."""
        means: dict[str, Any] = {}
        for metric in metrics:
            values = [as_number(lookup(result or {}, metric)) for result in self.results]
            finite = [value for value in values if value is not None and math.isfinite(value)]
            if not finite:
                return None
            means[metric] = sum(finite) / len(finite)
        return means
