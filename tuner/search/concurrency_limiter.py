"""A searcher around another one that limits how many trials are unfinished at a time."""

from __future__ import annotations

from typing import Any

from tuner.search.searcher import Searcher
from tuner.search.wrapper import SearcherWrapper
from tuner.validation import check_flag, check_whole, reject


class ConcurrencyLimiter(SearcherWrapper):
    """Lets at most `max_concurrent` trials of a searcher be unfinished at a time.

    A searcher that keeps to a limit by itself is told it, and then does so.

    Args:
        searcher: The searcher that proposes configurations.
        max_concurrent: How many trials may be unfinished, 1 or more.
        batch: Whether trials come in batches of `max_concurrent`, and the searcher hears of their
            completion when the whole batch has ended. A batch is cut short where the searcher has
            nothing more to propose before it has heard of them.

    Raises:
        ConfigError: If an argument cannot work.

    Example:
        >>> from tuner.search.basic_variant import BasicVariantGenerator
        >>> limited = ConcurrencyLimiter(BasicVariantGenerator(), max_concurrent=1)
        >>> limited.set_search_properties("loss", "min", {"x": 3}, num_samples=2)
        True
        >>> limited.suggest("first"), limited.suggest("second")
        ({'x': 3}, None)
        >>> limited.on_trial_complete("first", {"loss": 0.1})
        >>> limited.suggest("second")
        {'x': 3}
    """

    def __init__(self, searcher: Searcher, max_concurrent: int, batch: bool = False) -> None:
        owner = type(self).__name__
        if not isinstance(searcher, Searcher):
            reject(owner, "searcher", searcher, "give a Searcher object")
        check_whole(owner, "max_concurrent", max_concurrent, "use a whole number >= 1", least=1)
        check_flag(owner, "batch", batch)
        super().__init__(searcher)
        self.max_concurrent = max_concurrent
        self.batch = batch
        self._limits_itself = searcher.set_max_concurrency(max_concurrent)
        self._live: set[str] = set()
        self._ended: dict[str, tuple[dict[str, Any] | None, bool]] = {}

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any
    ) -> bool:
        """Passes them on, and returns whether the searcher takes the search space."""
        taken = self.searcher.set_search_properties(metric, mode, config, **spec)
        self.metric, self.mode = self.searcher.metric, self.searcher.mode
        return taken

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Returns what the searcher proposes, None at the limit."""
        if not self._limits_itself and len(self._live) >= self.max_concurrent:
            return None
        config = self.searcher.suggest(trial_id)
        if not isinstance(config, dict) and self._ended and len(self._ended) == len(self._live):
            self._end_batch()
            config = self.searcher.suggest(trial_id)
        if isinstance(config, dict):
            self._live.add(trial_id)
        return config

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Passes the result on."""
        self.searcher.on_trial_result(trial_id, result)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Passes the completion on, in a batch when the whole batch has ended."""
        if trial_id not in self._live:
            return
        if not self.batch:
            self._live.discard(trial_id)
            self.searcher.on_trial_complete(trial_id, result, error)
            return
        self._ended[trial_id] = (result, error)
        if len(self._ended) >= self.max_concurrent:
            self._end_batch()

    def on_trial_recorded(self, trial_id: str, config: dict[str, Any]) -> bool | None:
        """Counts the trial as unfinished, and passes the record on."""
        answers = self.searcher.on_trial_recorded(trial_id, config)
        if answers is False and self._ended and len(self._ended) == len(self._live):
            self._end_batch()  # as `suggest` has done
            answers = self.searcher.on_trial_recorded(trial_id, config)
        self._live.add(trial_id)
        return answers

    def get_state(self) -> dict[str, Any]:
        """Returns the unfinished trials, and the searcher's state."""
        return {
            "live": sorted(self._live),
            "ended": dict(self._ended),
            "searcher": self.searcher.get_state(),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Goes on from what `get_state` returned."""
        self._live = set(state["live"])
        self._ended = dict(state["ended"])
        self.searcher.set_state(state["searcher"])

    def _end_batch(self) -> None:
        ended, self._ended = self._ended, {}
        for trial_id, (result, error) in ended.items():
            self._live.discard(trial_id)
            self.searcher.on_trial_complete(trial_id, result, error)
