"""From the user's configs to the policies of one run: searcher, scheduler and stopper."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

from tuner.config import TuneConfig
from tuner.errors import ConfigError
from tuner.schedulers.async_hyperband import AsyncHyperBandScheduler
from tuner.schedulers.fifo import FIFOScheduler
from tuner.schedulers.scheduler import TrialScheduler
from tuner.search.basic_variant import BasicVariantGenerator
from tuner.search.searcher import Searcher
from tuner.stoppers.coercion import coerce
from tuner.stoppers.combined import CombinedStopper
from tuner.stoppers.stopper import Stopper
from tuner.stoppers.timeout import TimeoutStopper

LENIENT_VARIABLE = "TUNE_DISABLE_STRICT_METRIC_CHECKING"

_SEARCHERS: dict[str, Any] = {
    "random": BasicVariantGenerator,
    "variant_generator": BasicVariantGenerator,
}
_SCHEDULERS: dict[str, Any] = {
    "fifo": FIFOScheduler,
    "asha": AsyncHyperBandScheduler,
    "async_hyperband": AsyncHyperBandScheduler,
    "asynchyperband": AsyncHyperBandScheduler,
}


def build_searcher(config: TuneConfig, param_space: dict[str, Any], seed: int) -> Searcher:
    """The searcher, told what it searches.

    Raises:
        ConfigError: it is unknown, or metric and mode are given twice.
    """
    searcher = _resolved("search_alg", config.search_alg, Searcher, _SEARCHERS)
    searcher = BasicVariantGenerator() if searcher is None else searcher
    metric: Any = config.metric
    mode: Any = config.mode
    accepted = searcher.set_search_properties(
        metric, mode, param_space, num_samples=config.num_samples, seed=seed
    )
    if not accepted:
        _refuse_properties("search_alg", searcher, config)
    assert isinstance(searcher, Searcher)
    return searcher


def build_scheduler(config: TuneConfig, seed: int) -> TrialScheduler:
    """The scheduler, told what it compares.

    Raises:
        ConfigError: it is unknown, or metric and mode are given twice.
    """
    scheduler = _resolved("scheduler", config.scheduler, TrialScheduler, _SCHEDULERS)
    scheduler = FIFOScheduler() if scheduler is None else scheduler
    strict = os.environ.get(LENIENT_VARIABLE, "0") != "1"
    metric: Any = config.metric
    mode: Any = config.mode
    if not scheduler.set_search_properties(metric, mode, seed=seed, strict_metric_checking=strict):
        _refuse_properties("scheduler", scheduler, config)
    assert isinstance(scheduler, TrialScheduler)
    return scheduler


def build_stopper(stop: Any, time_budget_s: float | timedelta | None) -> Stopper:
    """What ends trials and the experiment: the user's criteria and the time budget."""
    stopper = coerce(stop)
    if time_budget_s is None:
        return stopper
    return CombinedStopper(stopper, TimeoutStopper(time_budget_s))


def _resolved(field: str, value: Any, kind: type, known: dict[str, Any]) -> Any:
    if value is None or isinstance(value, kind):
        return value
    if isinstance(value, str) and value.lower() in known:
        return known[value.lower()]()
    names = ", ".join(repr(name) for name in known)
    raise ConfigError(
        f"TuneConfig: {field}={value!r:.100} must be a {kind.__name__} or one of {names}"
    )


def _refuse_properties(field: str, policy: Any, config: TuneConfig) -> None:
    raise ConfigError(
        f"TuneConfig: metric={config.metric!r} and mode={config.mode!r} are given here and also to "
        f"{field}={type(policy).__name__}; give them once"
    )
