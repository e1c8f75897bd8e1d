"""BOHB: the model of HpBandSter as a searcher, for `HyperBandForBOHB`."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from tuner.errors import ConfigError
from tuner.flatten import flatten, unflatten
from tuner.integrations.library_searcher import LibrarySearcher
from tuner.search.flat_space import FlatSpace, Parameter, Values
from tuner.search.unit_interval import from_unit, to_unit
from tuner.search_space.domains import Categorical, Float, Integer
from tuner.validation import did_you_mean, shorten

if TYPE_CHECKING:
    from ConfigSpace import ConfigurationSpace
    from ConfigSpace.hyperparameters import Hyperparameter

_OPTIONS = (
    "min_points_in_model",
    "top_n_percent",
    "num_samples",
    "random_fraction",
    "bandwidth_factor",
    "min_bandwidth",
)
_NO_BUDGET = 0.0
"""The budget of what was not reached at a rung; a model of any rung comes before its model."""

_LOGGER = logging.getLogger(__name__)


class TuneBOHB(LibrarySearcher):
    """Asks the model of BOHB: a kernel density of the good configurations and one of the others.

    With `HyperBandForBOHB` it models the results of each rung by themselves, and proposes by the
    model of the highest rung that has enough of them. A trial that ends between two rungs adds
    nothing to what it reached at its rungs; one that fails counts as bad. With any other scheduler,
    the last result of each trial counts.

    Args:
        space: The search space, if it is not the `param_space`: a dict of ours, or a
            `ConfigSpace.ConfigurationSpace`, the parameters of which may have names as
            `"model/lr"`.
        bohb_config: Options of the model: `min_points_in_model` (default: one more than there are
            parameters), `top_n_percent` (15) that are good, `num_samples` (64) of which the best is
            proposed, `random_fraction` (1/3) of the proposals, `bandwidth_factor` (3),
            `min_bandwidth` (0.001).
        metric: The metric to optimize.
        mode: `"min"` or `"max"`.
        points_to_evaluate: Configurations to try first.
        seed: What all randomness derives from; None takes the experiment's.
        max_concurrent: How many trials may run at a time, those that wait at a rung not counted; 0
            for no limit. A `ConcurrencyLimiter` around this one sets it.
        evaluated_rewards: Values of the first of the points.

    Raises:
        ConfigError: An argument cannot work.
        MissingDependencyError: HpBandSter is not installed.

    Example:
        >>> from tuner import uniform
        >>> searcher = TuneBOHB(metric="loss", mode="min")
        >>> searcher.set_search_properties(None, None, {"x": uniform(0, 1)}, seed=1)
        True
        >>> 0 <= searcher.suggest("first")["x"] <= 1
        True

    Source: https://automl.github.io/HpBandSter; Falkner et al., "BOHB: Robust and Efficient
    Hyperparameter Optimization at Scale", 2018 (arXiv:1807.01774).
    """

    library = "HpBandSter"
    module = "hpbandster"
    extra = "bohb"
    has_conditions = True

    def __init__(
        self,
        space: Any = None,
        bohb_config: Mapping[str, Any] | None = None,
        metric: str | None = None,
        mode: str | None = None,
        points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
        seed: int | None = None,
        max_concurrent: int = 0,
        evaluated_rewards: Sequence[float] | None = None,
    ) -> None:
        super().__init__(space, metric, mode, points_to_evaluate, evaluated_rewards, seed)
        self._options = dict(bohb_config or {})
        for name in self._options:
            if name not in _OPTIONS:
                fix = did_you_mean(name, _OPTIONS)
                self._refuse(f"bohb_config has {name!r}; it may have {', '.join(_OPTIONS)}{fix}")
        self.max_concurrent = max(max_concurrent, 0)
        self._running: set[str] = set()
        self._budgets: dict[str, float] = {}  # the last one that each trial was told with

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        """Sets `max_concurrent`, which this searcher keeps to by itself."""
        self.max_concurrent = max_concurrent
        return True

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Returns the next of the points, then what the model proposes."""
        if self.max_concurrent and len(self._running) >= self.max_concurrent:
            return None
        config = super().suggest(trial_id)
        self._running.add(trial_id)
        return config

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Tells the model of a result at a rung, where the trial pauses."""
        values, budget = self._live.get(trial_id), _budget(result, None)
        if values is None:
            return
        if budget is None:
            self._running.add(trial_id)
            return
        self._running.discard(trial_id)
        self._budgets[trial_id] = budget
        with self._streams():
            self._learn(values, self._loss_of(result), budget)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tells the model of a last result at a rung, or of a failure."""
        self._running.discard(trial_id)
        told = self._budgets.pop(trial_id, None)
        if error or not result:
            super().on_trial_complete(trial_id, result, error)
            return
        # After a restore, a result of a trial that waits at a rung no longer says which.
        budget = _budget(result, _NO_BUDGET if told is None else told)
        self._check_reported(trial_id, result)
        values = self._live.pop(trial_id, None)
        if values is None or budget is None or budget == told:
            return
        with self._streams():
            self._learn(values, self._loss_of(result), budget)

    def read_space(self, space: Any) -> FlatSpace:
        """Reads a search space, or wraps one of ConfigSpace."""
        from ConfigSpace import ConfigurationSpace

        if isinstance(space, ConfigurationSpace):
            return _NativeSpace(space, self._name)
        return super().read_space(space)

    def open(self, space: FlatSpace, seed: int) -> None:
        """Makes the model."""
        with _without_warnings():
            from hpbandster.optimizers.config_generators.bohb import BOHB

            native = space.native if isinstance(space, _NativeSpace) else self._config_space(space)
            native.seed(seed % 2**32)
            try:
                self._bohb = BOHB(native, logger=_Log(), **self._options)
            except RuntimeError as error:  # an ordinal parameter
                self._refuse(f"space: {error}")

    def ask(self, trial_id: str) -> Values:
        """Draws from the model of the highest rung that has one, or at random."""
        with _without_warnings():
            sample, _ = self._bohb.get_config(None)
        if isinstance(self._space, _NativeSpace):
            return {name: _plain(value) for name, value in sample.items()}
        return {
            each.name: _ours(each, sample[each.name])
            for each in self._opened().parameters
            if each.name in sample
        }

    def tell(self, trial_id: str, values: Values, loss: Any) -> None:
        """Tells the model of a trial that failed, or that has no rungs."""
        known = self._bohb.kde_models or self._bohb.configs
        self._learn(values, loss, max(known, default=_NO_BUDGET) if loss is None else _NO_BUDGET)

    def _learn(self, values: Values, loss: float | None, budget: float) -> None:
        parameters = {each.name: each for each in self._opened().parameters}
        theirs = {
            name: _theirs(parameters[name], value) if name in parameters else value
            for name, value in values.items()
        }
        job = SimpleNamespace(
            id=None,
            exception=None,
            result=None if loss is None else {"loss": loss},
            kwargs={"config": theirs, "budget": budget},
        )
        with _without_warnings():
            self._bohb.new_result(job)

    def _config_space(self, space: FlatSpace) -> ConfigurationSpace:
        from ConfigSpace import ConfigurationSpace, EqualsCondition

        native = ConfigurationSpace()
        native.add([self._hyperparameter(each) for each in space.parameters])
        for parameter in space.parameters:
            if parameter.condition:  # a choice that is absent itself has no category
                choice, index = parameter.condition[-1]
                native.add(EqualsCondition(native[parameter.name], native[choice], index))
        return native

    def _hyperparameter(self, parameter: Parameter) -> Hyperparameter[Any, Any]:
        from ConfigSpace import hyperparameters as kinds

        name, domain = parameter.name, parameter.domain
        if isinstance(domain, Categorical):
            return kinds.CategoricalHyperparameter(name, [*range(len(domain.categories))])
        domain = self.bounded(parameter)
        if domain.nearest(domain.lower) == domain.nearest(domain.upper):
            return kinds.CategoricalHyperparameter(name, [_theirs(parameter, domain.lower)])
        if isinstance(domain, Integer):
            return kinds.UniformIntegerHyperparameter(
                name, domain.least, domain.most, log=domain.log
            )
        return kinds.UniformFloatHyperparameter(name, 0, 1)  # ConfigSpace keeps 13 decimals


class _NativeSpace(FlatSpace):
    """A space of ConfigSpace; the values are those that it knows."""

    def __init__(self, space: ConfigurationSpace, owner: str) -> None:
        super().__init__({}, owner)
        self.native = copy.deepcopy(space)

    def config(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return unflatten(values)

    def values(self, config: Mapping[str, Any], *, strict: bool = False) -> Values:
        from ConfigSpace.util import deactivate_inactive_hyperparameters

        given = flatten(dict(config))
        known = {name: value for name, value in given.items() if name in self.native}
        for name in given:
            if strict and name not in self.native:
                self._refuse(name, self.native)
        drawn = {
            name: _plain(each.sample_value(seed=self.native.random))
            for name, each in self.native.items()
        }
        try:
            active = deactivate_inactive_hyperparameters({**drawn, **known}, self.native)
        except ValueError as error:
            raise ConfigError(
                f"{self._owner}: {shorten(known)} is not in the space: {error}"
            ) from error
        return {name: _plain(value) for name, value in active.items()}


class _Log:
    """What HpBandSter logs, without the models' data that it lists whenever a category is new."""

    _LISTINGS = ("sampled vector", "data in the KDE", "bandwidth of the KDE", "l(x)", "g(x)")

    def debug(self, message: str, *args: Any) -> None:
        _LOGGER.debug(message, *args)

    def warning(self, message: str, *args: Any) -> None:
        if not message.startswith(self._LISTINGS):
            _LOGGER.warning(message, *args)


@contextmanager
def _without_warnings() -> Iterator[None]:
    """HpBandSter calls what ConfigSpace and statsmodels deprecate, and divides by zero."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _budget(result: Mapping[str, Any], without: float | None) -> float | None:
    """The rung that a result was reached at, None between two; `without` if there are no rungs."""
    info = result.get("hyperband_info")
    return without if info is None else info.get("budget")


def _ours(parameter: Parameter, value: Any) -> Any:
    domain = parameter.domain
    if isinstance(domain, Float):
        return from_unit(domain, float(value))
    return domain.nearest(int(value)) if isinstance(domain, Integer) else int(value)


def _theirs(parameter: Parameter, value: Any) -> Any:
    domain = parameter.domain
    return to_unit(domain, value) if isinstance(domain, Float) else value


def _plain(value: Any) -> Any:
    import numpy as np

    return value.item() if isinstance(value, np.generic) else value
