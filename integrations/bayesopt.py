"""bayesian-optimization: a Gaussian process over bounds, as a searcher."""

from __future__ import annotations

import contextlib
import copy
import io
import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any

from tuner.flatten import lookup
from tuner.integrations.library_searcher import LibrarySearcher
from tuner.integrations.one_thread import one_thread
from tuner.search.evaluated_trials import evaluated_trials
from tuner.search.flat_space import FlatSpace, Values
from tuner.search_space.domains import Float, Integer

if TYPE_CHECKING:
    from bayes_opt import BayesianOptimization

    from tuner.analysis.experiment_analysis import ExperimentAnalysis
    from tuner.result_grid import ResultGrid

_UTILITY = {"kind": "ucb", "kappa": 2.576, "xi": 0.0}
_KINDS = ("ucb", "ei", "poi")


class BayesOptSearch(LibrarySearcher):
    """Asks a `BayesianOptimization`, which models numbers between bounds and nothing else.

    A logarithmic parameter is searched in its logarithm, one of whole numbers or multiples is
    rounded. A trial without a value counts as the worst one so far; while trials run, theirs is
    taken to be the mean so far, so that the next ones go elsewhere.

    Args:
        space: The search space, if it is not the `param_space`: a dict of ours, or of
            `(lower, upper)` by name.
        metric: The metric to optimize.
        mode: `"min"` or `"max"`.
        points_to_evaluate: Configurations to try first.
        utility_kwargs: What the next configuration maximizes: `kind` is `"ucb"` (default), `"ei"`
            or `"poi"`, `kappa` (2.576) the weight of uncertainty in the first, `xi` (0.0) the
            least improvement in the others.
        random_state: What all randomness derives from; None takes the experiment's seed.
        random_search_steps: How many values must be known before the model is asked; until then,
            configurations are drawn at random.
        verbose: How much the library prints.
        patience: The search ends when one configuration was proposed more often than this.
        skip_duplicate: Whether what was tried is not tried again.
        analysis: Results of an earlier experiment, to learn from: a `ResultGrid` or an
            `ExperimentAnalysis`.
        repeat_float_precision: To how many decimals configurations agree that count as the same;
            those of a logarithmic parameter are its logarithm's.
        evaluated_rewards: Values of the first of the points.
        seed: The same as `random_state`, as other searchers call it.

    Raises:
        ConfigError: An argument cannot work.
        MissingDependencyError: bayesian-optimization is not installed.

    Example:
        >>> from tuner import uniform
        >>> searcher = BayesOptSearch(metric="loss", mode="min")
        >>> searcher.set_search_properties(None, None, {"x": uniform(0, 1)}, seed=1)
        True
        >>> 0 <= searcher.suggest("first")["x"] <= 1
        True

    Source: https://bayesian-optimization.github.io/BayesianOptimization
    """

    library = "bayesian-optimization"
    module = "bayes_opt"
    extra = "bayesopt"
    has_categories = False
    draws_when_told = False

    def __init__(
        self,
        space: dict[str, Any] | None = None,
        metric: str | None = None,
        mode: str | None = None,
        points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
        utility_kwargs: Mapping[str, Any] | None = None,
        random_state: int | None = None,
        random_search_steps: int = 10,
        verbose: int = 0,
        patience: int = 5,
        skip_duplicate: bool = True,
        analysis: ResultGrid | ExperimentAnalysis | None = None,
        repeat_float_precision: int = 5,
        evaluated_rewards: Sequence[Any] | None = None,
        seed: int | None = None,
    ) -> None:
        if seed is not None and random_state is not None:
            self._refuse(f"seed={seed} and random_state={random_state} are the same; give one")
        super().__init__(
            space,
            metric,
            mode,
            points_to_evaluate,
            evaluated_rewards,
            random_state if seed is None else seed,
        )
        self._utility_kwargs = {**_UTILITY, **(utility_kwargs or {})}
        if self._utility_kwargs.keys() != _UTILITY.keys():
            unknown = next(iter(self._utility_kwargs.keys() - _UTILITY.keys()))
            self._refuse(f"utility_kwargs has {unknown!r}; it may have {', '.join(_UTILITY)}")
        if self._utility_kwargs["kind"] not in _KINDS:
            kind = self._utility_kwargs["kind"]
            self._refuse(f"utility_kwargs kind={kind!r} must be one of {', '.join(_KINDS)}")
        if patience < 1:
            self._refuse(f"patience={patience} must be 1 or more")
        self._random_search_steps = random_search_steps
        self._verbose = verbose
        self._patience = patience
        self._skip_duplicate = skip_duplicate
        self._analysis = analysis
        self._precision = repeat_float_precision
        self._times: dict[tuple[float, ...], int] = {}

    def _open(self, space: Any) -> None:
        """Opens bounds by name as well."""
        if space and all(map(_is_bounds, space.values())):
            space = {name: Float(*bounds) for name, bounds in space.items()}
        super()._open(space)

    def open(self, space: FlatSpace, seed: int) -> None:
        """Makes the optimizer, and takes over what an earlier experiment has found."""
        import numpy as np

        self._domains = {each.name: self.bounded(each) for each in space.parameters}
        self._rng = np.random.RandomState(seed % 2**32)
        bounds = {name: _bounds(domain) for name, domain in self._domains.items()}
        self._optimizer, self._utility = _optimizer(
            bounds, self._rng, self._verbose, **self._utility_kwargs
        )
        earlier, self._analysis = self._analysis, None
        for trial in evaluated_trials(earlier) if earlier is not None else ():
            value = lookup(trial.result, str(self.metric))
            self._evaluated.append((trial.config, value, trial.failed))

    def ask(self, trial_id: str) -> Values | str | None:
        """A configuration that is new, unless duplicates are wanted."""
        while True:
            values = self._proposed()
            key = self._rounded(values)
            times = self._times.get(key, 0) + 1
            if times > 1 and self._skip_duplicate and self._live:
                return None  # it will be another one when more is known
            self._times[key] = times
            if times > self._patience:
                return self.FINISHED
            if times == 1 or not self._skip_duplicate:
                return values

    def tell(self, trial_id: str, values: Values, loss: Any) -> None:
        """Registers the value, which the library maximizes."""
        self._times.setdefault(self._rounded(values), 1)
        known = self._optimizer.space.target
        if loss is not None:
            self._register(self._optimizer, values, -loss)
        elif len(known):
            self._register(self._optimizer, values, known.min())

    def _proposed(self) -> Values:
        import numpy as np

        if len(self._optimizer.space) < self._random_search_steps:
            return self._completed({})
        self._rng.seed(np.random.randint(2**31))
        optimizer = self._optimizer
        if self._live:
            optimizer = copy.deepcopy(optimizer)
            mean = optimizer.space.target.mean()
            for values in self._live.values():
                self._register(optimizer, values, mean)
        with one_thread():
            point = optimizer.suggest(*self._utility)
        return {name: _value(domain, point[name]) for name, domain in self._domains.items()}

    def _register(self, optimizer: BayesianOptimization, values: Values, target: float) -> None:
        quiet = io.StringIO()  # it prints what is a duplicate, whatever `verbose` is
        with contextlib.nullcontext() if self._verbose else contextlib.redirect_stdout(quiet):
            optimizer.register(params=self._point(values), target=target)

    def _rounded(self, values: Values) -> tuple[float, ...]:
        return tuple(round(each, self._precision) for each in self._point(values).values())

    def _point(self, values: Values) -> dict[str, float]:
        return {name: _coordinate(each, values[name]) for name, each in self._domains.items()}


def _optimizer(
    bounds: dict[str, tuple[float, float]],
    rng: Any,
    verbose: int,
    kind: str,
    kappa: float,
    xi: float,
) -> tuple[BayesianOptimization, tuple[Any, ...]]:
    """The library's optimizer, and what its `suggest` is called with: releases differ in that."""
    import bayes_opt

    arguments: dict[str, Any] = {}
    utility: tuple[Any, ...] = ()
    if hasattr(bayes_opt, "acquisition"):
        from bayes_opt import acquisition

        arguments["acquisition_function"] = {
            "ucb": lambda: acquisition.UpperConfidenceBound(kappa=kappa),
            "ei": lambda: acquisition.ExpectedImprovement(xi=xi),
            "poi": lambda: acquisition.ProbabilityOfImprovement(xi=xi),
        }[kind]()
    else:  # before 2.0
        utility = (bayes_opt.UtilityFunction(kind=kind, kappa=kappa, xi=xi),)
    optimizer = bayes_opt.BayesianOptimization(
        None,
        bounds,
        random_state=rng,
        verbose=verbose,
        allow_duplicate_points=True,
        **arguments,
    )
    return optimizer, utility


def _is_bounds(value: Any) -> bool:
    return (
        isinstance(value, (list, tuple))
        and len(value) == 2
        and all(isinstance(bound, Real) for bound in value)
    )


def _bounds(domain: Float | Integer) -> tuple[float, float]:
    """Bounds of what the model sees: the logarithm, and room to round to the outermost numbers."""
    low, high = (
        (domain.lower, domain.upper)
        if isinstance(domain, Float)
        else (domain.least - (domain.q or 1) / 2, domain.most + (domain.q or 1) / 2)
    )
    return (math.log(low), math.log(high)) if domain.log else (low, high)


def _coordinate(domain: Float | Integer, value: float) -> float:
    return math.log(value) if domain.log else float(value)


def _value(domain: Float | Integer, coordinate: float) -> float:
    return domain.nearest(math.exp(coordinate) if domain.log else coordinate)
