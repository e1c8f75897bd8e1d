"""Policies by their names: `"optuna"` for `OptunaSearch`, `"asha"` for the scheduler."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tuner.errors import ConfigError
from tuner.validation import did_you_mean

if TYPE_CHECKING:
    from tuner.schedulers.scheduler import TrialScheduler
    from tuner.search.searcher import Searcher

# Where they are: those of libraries that may not be installed are imported when they are asked for.
SEARCHERS: Mapping[str, str] = {
    "random": "tuner.search.basic_variant:BasicVariantGenerator",
    "variant_generator": "tuner.search.basic_variant:BasicVariantGenerator",
    "ax": "tuner.integrations.ax:AxSearch",
    "bayesopt": "tuner.integrations.bayesopt:BayesOptSearch",
    "bohb": "tuner.integrations.bohb:TuneBOHB",
    "hyperopt": "tuner.integrations.hyperopt:HyperOptSearch",
    "nevergrad": "tuner.integrations.nevergrad:NevergradSearch",
    "optuna": "tuner.integrations.optuna:OptunaSearch",
    "zoopt": "tuner.integrations.zoopt:ZOOptSearch",
}
_LEFT_OUT = {"hebo": "HEBO cannot be installed beside a present numpy; see docs/guide/search.md"}
SCHEDULERS: Mapping[str, str] = {
    "fifo": "tuner.schedulers.fifo:FIFOScheduler",
    "asha": "tuner.schedulers.async_hyperband:AsyncHyperBandScheduler",
    "async_hyperband": "tuner.schedulers.async_hyperband:AsyncHyperBandScheduler",
    "asynchyperband": "tuner.schedulers.async_hyperband:AsyncHyperBandScheduler",
    "resource_changing": "tuner.schedulers.resource_changing_scheduler:ResourceChangingScheduler",
    "pb2": "tuner.schedulers.pb2:PB2",
    "pbt": "tuner.schedulers.pbt:PopulationBasedTraining",
    "pbt_replay": "tuner.schedulers.pbt_replay:PopulationBasedTrainingReplay",
    "hyperband": "tuner.schedulers.hyperband:HyperBandScheduler",
    "hb_bohb": "tuner.schedulers.hb_bohb:HyperBandForBOHB",
    "bohb": "tuner.schedulers.hb_bohb:HyperBandForBOHB",
    "median_stopping_rule": "tuner.schedulers.median_stopping:MedianStoppingRule",
    "medianstopping": "tuner.schedulers.median_stopping:MedianStoppingRule",
}


def create_searcher(search_alg: str, **kwargs: Any) -> Searcher:
    """Makes a searcher by its name.

    Args:
        search_alg: Its name; `TuneConfig(search_alg=…)` takes the same ones.
        **kwargs: What its class is called with.

    Raises:
        ConfigError: There is none of this name, or its class does not take these arguments.
        MissingDependencyError: Its library is not installed.

    Example:
        >>> create_searcher("random", max_concurrent=2).max_concurrent
        2
    """
    searcher: Searcher = made("create_searcher", "search_alg", search_alg, SEARCHERS, kwargs)
    return searcher


def create_scheduler(scheduler: str, **kwargs: Any) -> TrialScheduler:
    """Makes a scheduler by its name.

    Args:
        scheduler: Its name; `TuneConfig(scheduler=…)` takes the same ones.
        **kwargs: What its class is called with.

    Raises:
        ConfigError: There is none of this name, or its class does not take these arguments.

    Example:
        >>> type(create_scheduler("asha", max_t=10)).__name__
        'AsyncHyperBandScheduler'
    """
    policy: TrialScheduler = made("create_scheduler", "scheduler", scheduler, SCHEDULERS, kwargs)
    return policy


def made(
    owner: str, field: str, name: str, known: Mapping[str, str], arguments: dict[str, Any]
) -> Any:
    """Makes what has a name.

    Args:
        owner: Who asks, for errors.
        field: What the name was given as.
        name: The name, in small or large letters.
        known: Module and class by name.
        arguments: What the class is called with.
    """
    place = known.get(name.lower()) if isinstance(name, str) else None
    if place is None:
        names = ", ".join(map(repr, known))
        fix = did_you_mean(name, known) if isinstance(name, str) else ""
        why = _LEFT_OUT.get(str(name).lower())
        fix = f": {why}" if why else fix
        raise ConfigError(f"{owner}: {field}={name!r:.100} must be one of {names}{fix}")
    module, _, class_name = place.partition(":")
    factory = getattr(importlib.import_module(module), class_name)
    try:
        inspect.signature(factory).bind(**arguments)
    except TypeError as error:
        raise ConfigError(
            f"{owner}: {field}={name!r} is a {class_name}, and {error}; "
            f"it takes {class_name}({_described(inspect.signature(factory))})"
        ) from None
    return factory(**arguments)


def _described(signature: inspect.Signature) -> str:
    return ", ".join(
        str(each.replace(annotation=each.empty))
        if each.default is not each.empty or each.kind in (each.VAR_KEYWORD, each.VAR_POSITIONAL)
        else f"{each.name}=..."
        for each in signature.parameters.values()
    )
