"""`HyperOptScheduler`, which was given as a scheduler in 0.5 and is a searcher today."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tuner.errors import ConfigError
from tuner.integrations.hyperopt import HyperOptSearch
from tuner.legacy.deprecation import warn_once
from tuner.validation import check_text, check_whole

_SPACE = "space"


class HyperOptScheduler:
    """Stands for `HyperOptSearch` and no scheduler, where 0.5 takes a scheduler.

    The configuration has a search space of HyperOpt under the key `"space"`. Trials get its values,
    beside the constants that the configuration has.

    Args:
        max_concurrent: How many trials may be unfinished at a time; None for no limit.
        reward_attr: The reported value that is to grow.

    Raises:
        ConfigError: An argument has a value that cannot work.
    """

    def __init__(
        self, max_concurrent: int | None = None, reward_attr: str = "episode_reward_mean"
    ) -> None:
        warn_once("HyperOptScheduler(…)", 'search_alg=HyperOptSearch(space, metric=…, mode="max")')
        check_text("HyperOptScheduler", "reward_attr", reward_attr, "name a reported value")
        if max_concurrent is not None:
            fix = "use a whole number >= 1, or None for no limit"
            check_whole("HyperOptScheduler", "max_concurrent", max_concurrent, fix, least=1)
        self._max_concurrent = max_concurrent
        self._reward_attr = reward_attr

    def as_searcher(self, config: Mapping[str, Any]) -> tuple[HyperOptSearch, dict[str, Any]]:
        """What an experiment with this configuration is to be run with.

        Args:
            config: The experiment's configuration, with the search space.

        Returns:
            The `search_alg`, and the `param_space`: what the configuration has beside the space.

        Raises:
            ConfigError: The configuration has no search space.
            MissingDependencyError: HyperOpt is not installed.

        Example:
            >>> from hyperopt import hp
            >>> config = {"space": {"x": hp.uniform("x", 0, 20)}, "epochs": 3}
            >>> searcher, param_space = HyperOptScheduler(max_concurrent=2).as_searcher(config)
            >>> searcher.max_concurrent, param_space
            (2, {'epochs': 3})
        """
        if not isinstance(config.get(_SPACE), Mapping):
            raise ConfigError(
                f"HyperOptScheduler: config={dict(config)!r:.100} must have the search space as a "
                f'dictionary, such as {{"{_SPACE}": {{"x": hp.uniform("x", 0, 20)}}}}'
            )
        searcher = HyperOptSearch(
            config[_SPACE],
            metric=self._reward_attr,
            mode="max",
            max_concurrent=self._max_concurrent,
        )
        return searcher, {name: each for name, each in config.items() if name != _SPACE}
