"""From the user's configs to the policies of one run: searcher and scheduler."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tuner.by_name import SCHEDULERS, SEARCHERS, made
from tuner.config import TuneConfig
from tuner.errors import ConfigError
from tuner.schedulers.fifo import FIFOScheduler
from tuner.schedulers.scheduler import TrialScheduler
from tuner.search.basic_variant import BasicVariantGenerator
from tuner.search.searcher import Searcher
from tuner.search_space.variants import SearchSpace

LENIENT_VARIABLE = "TUNE_DISABLE_STRICT_METRIC_CHECKING"


def build_searcher(config: TuneConfig, param_space: dict[str, Any], seed: int) -> Searcher:
    """The searcher, told what it searches.

    Raises:
        ConfigError: it is unknown, is given another metric or mode than the experiment, or does
            not take the domains in the `param_space`.
    """
    searcher = _resolved("search_alg", config.search_alg, Searcher, SEARCHERS)
    searcher = BasicVariantGenerator() if searcher is None else searcher
    _check_same_objective(config, searcher)
    metric, mode = _objectives(config)
    spec = {
        "num_samples": config.num_samples,
        "seed": seed,
        "strict_metric_checking": _is_strict(),
    }
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


def _check_same_objective(config: TuneConfig, searcher: Searcher) -> None:
    """Of several objectives, here or there, the other side may have some."""
    for field in ("metric", "mode"):
        here, there = getattr(config, field), getattr(searcher, field)
        if here and there and set(_listed(here)).isdisjoint(_listed(there)):
            raise ConfigError(
                f"TuneConfig: {field}={here!r} is given here and also to "
                f"search_alg={type(searcher).__name__}, as {there!r}; give it once"
            )


def _listed(value: str | Sequence[str]) -> Sequence[str]:
    return [value] if isinstance(value, str) else value


def build_scheduler(config: TuneConfig, seed: int) -> TrialScheduler:
    """The scheduler, told what it compares.

    Raises:
        ConfigError: it is unknown, metric and mode are given twice, or there are several and it has
            none of its own.
    """
    scheduler = _resolved("scheduler", config.scheduler, TrialScheduler, SCHEDULERS)
    scheduler = FIFOScheduler() if scheduler is None else scheduler
    metric, mode = _objectives(config)
    if isinstance(metric, list) and scheduler.metric is not None:
        metric = mode = None  # it compares trials by one metric, which it was given
    spec = {"seed": seed, "strict_metric_checking": _is_strict()}
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


def _is_strict() -> bool:
    return os.environ.get(LENIENT_VARIABLE, "0") != "1"


def _objectives(config: TuneConfig) -> tuple[Any, Any]:
    """Metric and mode: names, lists of them, or None."""
    metric, mode = config.metric, config.mode
    if metric is None or isinstance(metric, str):
        return metric, mode
    return list(metric), list(mode or ())


def _understood(function: Callable[..., Any], arguments: dict[str, Any]) -> dict[str, Any]:
    """Those of the keyword arguments that a function of the user takes."""
    parameters = inspect.signature(function).parameters
    if any(each.kind is each.VAR_KEYWORD for each in parameters.values()):
        return arguments
    return {name: value for name, value in arguments.items() if name in parameters}


def _resolved(field: str, value: Any, kind: type, known: Mapping[str, str]) -> Any:
    if value is None or isinstance(value, kind):
        return value
    if isinstance(value, str):
        return made("TuneConfig", field, value, known, {})
    raise ConfigError(
        f"TuneConfig: {field}={value!r:.100} must be a {kind.__name__} or the name of one "
        f"({', '.join(map(repr, known))})"
    )
