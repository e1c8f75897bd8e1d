"""From the user's configs to the policies of one run: searcher and scheduler."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from typing import Any

from tuner.config import TuneConfig
from tuner.errors import ConfigError
from tuner.schedulers.async_hyperband import AsyncHyperBandScheduler
from tuner.schedulers.fifo import FIFOScheduler
from tuner.schedulers.hb_bohb import HyperBandForBOHB
from tuner.schedulers.hyperband import HyperBandScheduler
from tuner.schedulers.median_stopping import MedianStoppingRule
from tuner.schedulers.pb2 import PB2
from tuner.schedulers.pbt import PopulationBasedTraining
from tuner.schedulers.pbt_replay import PopulationBasedTrainingReplay
from tuner.schedulers.resource_changing_scheduler import ResourceChangingScheduler
from tuner.schedulers.scheduler import TrialScheduler
from tuner.search.basic_variant import BasicVariantGenerator
from tuner.search.searcher import Searcher
from tuner.search_space.variants import SearchSpace

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
    "resource_changing": ResourceChangingScheduler,
    "pb2": PB2,
    "pbt": PopulationBasedTraining,
    "pbt_replay": PopulationBasedTrainingReplay,
    "hyperband": HyperBandScheduler,
    "hb_bohb": HyperBandForBOHB,
    "bohb": HyperBandForBOHB,
    "median_stopping_rule": MedianStoppingRule,
    "medianstopping": MedianStoppingRule,
}


def build_searcher(config: TuneConfig, param_space: dict[str, Any], seed: int) -> Searcher:
    """The searcher, told what it searches.

    Raises:
        ConfigError: it is unknown, or does not take the domains in the `param_space`.
    """
    searcher = _resolved("search_alg", config.search_alg, Searcher, _SEARCHERS)
    searcher = BasicVariantGenerator() if searcher is None else searcher
    metric: Any = config.metric
    mode: Any = config.mode
    spec = {"num_samples": config.num_samples, "seed": seed}
    accepted = searcher.set_search_properties(
        metric, mode, param_space, **_understood(searcher.set_search_properties, spec)
    )
    places = SearchSpace(param_space).searched
    if not accepted and places:
        raise ConfigError(
            f"Tuner: param_space has {', '.join(places)} to be searched, but search_alg="
            f"{type(searcher).__name__} has a search space of its own (its set_search_properties "
            "returned False); leave only constants and sample_from in the param_space"
        )
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
    spec = {"seed": seed, "strict_metric_checking": strict}
    accepted = scheduler.set_search_properties(
        metric, mode, **_understood(scheduler.set_search_properties, spec)
    )
    if not accepted:
        raise ConfigError(
            f"TuneConfig: metric={config.metric!r} and mode={config.mode!r} are given here and "
            f"also to scheduler={type(scheduler).__name__}; give them once"
        )
    assert isinstance(scheduler, TrialScheduler)
    return scheduler


def _understood(function: Callable[..., Any], arguments: dict[str, Any]) -> dict[str, Any]:
    """Those of the keyword arguments that a function of the user takes."""
    parameters = inspect.signature(function).parameters
    if any(each.kind is each.VAR_KEYWORD for each in parameters.values()):
        return arguments
    return {name: value for name, value in arguments.items() if name in parameters}


def _resolved(field: str, value: Any, kind: type, known: dict[str, Any]) -> Any:
    if value is None or isinstance(value, kind):
        return value
    if isinstance(value, str) and value.lower() in known:
        return _made_without_arguments(field, value, known[value.lower()])
    names = ", ".join(repr(name) for name in known)
    raise ConfigError(
        f"TuneConfig: {field}={value!r:.100} must be a {kind.__name__} or one of {names}"
    )


def _made_without_arguments(field: str, name: str, factory: Callable[..., Any]) -> Any:
    parameters = inspect.signature(factory).parameters.values()
    needed = [f"{each.name}=..." for each in parameters if each.default is each.empty]
    if needed:
        raise ConfigError(
            f"TuneConfig: {field}={name!r} needs more than a name; give "
            f"{factory.__name__}({', '.join(needed)})"
        )
    return factory()
