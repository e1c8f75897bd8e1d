"""ZOOpt: its sequential randomized coordinate shrinking (SRACOS) as a searcher."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Any

from tuner.flatten import unflatten
from tuner.integrations.library_searcher import LibrarySearcher
from tuner.search.flat_space import FlatSpace, Parameter, Values
from tuner.search.searcher import Searcher
from tuner.search.unit_interval import from_unit, to_unit
from tuner.search_space.domains import Categorical, Domain, Float, Integer
from tuner.validation import check_whole, shorten

if TYPE_CHECKING:
    from zoopt.solution import Solution

_ALGORITHMS = ("asracos",)
_LEAST_BUDGET = 3  # ZOOpt ends the process below it
_BUDGET_WITHOUT_LIMIT = 1000
_DISCRETE, _CONTINUOUS = 0, 1  # as `zoopt.ValueType` has them; 2 is a grid
_PRECISION = 1e-12


class ZOOptSearch(LibrarySearcher):
    """Asks ZOOpt's ASRACOS, which draws from boxes that hold a good configuration and no bad one.

    The first configurations are random: 4 of a budget up to 50, 6 up to 100, 12 up to 1000, 22
    beyond. Their number is all that the budget decides; when it is spent, proposals go on for as
    long as the experiment asks. Where all configurations of a small space have been tried, there
    are no more, and the experiment ends.

    Args:
        algo: `"asracos"`, the only one.
        budget: How many trials there will be; None takes the experiment's `num_samples`.
        dim_dict: The search space, if it is not the `param_space`: dimensions of ZOOpt by flat
            name, such as `(ValueType.CONTINUOUS, [0, 1], 0.01)` with a precision,
            `(ValueType.DISCRETE, [0, 9], True)` with whether its order means something, or
            `(ValueType.GRID, [8, 16])`; or a dict of ours.
        metric: The metric to optimize.
        mode: `"min"` or `"max"`.
        points_to_evaluate: Configurations to try first; they count as the first ones.
        parallel_num: How many trials may run at a time after the first ones.
        evaluated_rewards: Values of the first of the points.
        seed: What all randomness derives from; None takes the experiment's.
        **kwargs: More arguments of `zoopt.Parameter`, such as `exploration_rate`.

    Raises:
        ConfigError: An argument cannot work.
        MissingDependencyError: ZOOpt is not installed.

    Example:
        >>> from tuner import uniform
        >>> searcher = ZOOptSearch(metric="loss", mode="min", budget=20)
        >>> searcher.set_search_properties(None, None, {"x": uniform(0, 1)}, seed=1)
        True
        >>> 0 <= searcher.suggest("first")["x"] <= 1
        True

    Source: https://github.com/polixir/ZOOpt; Hu, Qian and Yu, "Sequential classification-based
    optimization for direct policy search", 2017.
    """

    library = "ZOOpt"
    module = "zoopt"
    extra = "zoopt"
    draws_when_told = False

    def __init__(
        self,
        algo: str = "asracos",
        budget: int | None = None,
        dim_dict: Mapping[str, Any] | None = None,
        metric: str | None = None,
        mode: str | None = None,
        points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
        parallel_num: int = 1,
        evaluated_rewards: Sequence[float] | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(dim_dict, metric, mode, points_to_evaluate, evaluated_rewards, seed)
        if algo.lower() not in _ALGORITHMS:
            self._refuse(f"algo={algo!r} must be one of {', '.join(map(repr, _ALGORITHMS))}")
        if budget is not None:
            check_whole(self._name, "budget", budget, "use how many trials there will be", least=1)
        check_whole(self._name, "parallel_num", parallel_num, "use a whole number >= 1", least=1)
        self._budget = budget
        self._parallel_num = parallel_num
        self._options = kwargs
        self._asked: dict[str, Solution] = {}

    def set_search_properties(
        self, metric: Any, mode: Any, config: dict[str, Any], seed: int | None = None, **spec: Any
    ) -> bool:
        """Takes the metric, the budget, and the search space if none was given."""
        if self._budget is None:
            num_samples = spec.get("num_samples", -1)
            self._budget = _BUDGET_WITHOUT_LIMIT if num_samples == -1 else num_samples
        return super().set_search_properties(metric, mode, config, seed, **spec)

    def read_space(self, space: Any) -> FlatSpace:
        """Reads a search space, dimensions of ZOOpt as domains."""
        if self._given_space is not None:
            space = unflatten({name: self._domain(name, each) for name, each in space.items()})
        return super().read_space(space)

    def open(self, space: FlatSpace, seed: int) -> None:
        """Makes the optimizer."""
        from zoopt import Dimension2, Parameter
        from zoopt.algos.opt_algorithms.racos.sracos import SRacosTune
        from zoopt.utils.zoo_global import gl

        try:
            parameter = Parameter(
                budget=max(int(self._budget or 0), _LEAST_BUDGET), **self._options
            )
        except TypeError as error:
            self._refuse(f"zoopt.Parameter: {error}")
        self._digits: list[int | None] = []
        with self._called():
            dimensions = Dimension2([self._dimension(each) for each in space.parameters])
            self._digits = gl.float_precisions
            self._racos = SRacosTune(dimensions, parameter, parallel_num=self._parallel_num)
        self._num_first = parameter.get_train_size()

    def ask(self, trial_id: str) -> Values | str | None:
        """Draws one of the first, or one of the learned box."""
        racos = self._racos
        is_first = racos.init_num < self._num_first
        if not is_first and (
            racos.complete_num < self._num_first or racos.live_num >= self._parallel_num
        ):
            return None
        with self._called():
            solution = self._first() if is_first else self._sampled()
        if solution is None:
            return Searcher.FINISHED
        racos.init_num += 1
        racos.live_num += 1
        self._asked[trial_id] = solution
        found = zip(self._opened().parameters, solution.get_x(), strict=True)
        return {parameter.name: _ours(parameter, x) for parameter, x in found}

    def tell(self, trial_id: str, values: Values, loss: Any) -> None:
        """Adds a configuration with its value; one that failed has the worst."""
        racos = self._racos
        solution = self._asked.pop(trial_id, None)
        if solution is None:
            found = [_theirs(each, values[each.name]) for each in self._opened().parameters]
            solution = racos.get_objective().construct_solution(found)
            racos._init_data.append(solution)  # what its first ones are not to repeat
            racos.init_num += 1
            racos.live_num += 1
        with self._called():
            if any(solution.get_x() == each.get_x() for each in self._kept()):
                racos.init_num -= 1  # it learns nothing from the same one twice, but runs endlessly
                racos.live_num -= 1
            else:
                racos.complete(solution, math.inf if loss is None else loss)

    def _first(self) -> Solution | None:
        solution, is_new = self._racos.tune_init_attribute()
        return solution if is_new else None

    def _sampled(self) -> Solution | None:
        """One that is new in the box, else anywhere, None if there is none."""
        racos = self._racos
        solution, is_new = racos.sample_solution(racos.ub)
        if not is_new:
            dimensions = racos.get_objective().get_dim()
            solution, is_new = racos.distinct_sample(dimensions, self._kept())
        return solution if is_new else None

    def _kept(self) -> list[Solution]:
        return [*self._racos.get_positive_data(), *self._racos.get_negative_data()]

    @contextmanager
    def _called(self) -> Iterator[None]:
        """ZOOpt has the digits of the dimensions in a global variable, and prints what it notes."""
        from zoopt.utils.zoo_global import gl

        before, gl.float_precisions = gl.float_precisions, self._digits
        try:
            with redirect_stdout(io.StringIO()):
                yield
        finally:
            gl.float_precisions = before

    def _domain(self, name: str, dimension: Any) -> Any:
        match dimension:
            case (2, [*values]):
                return Categorical(values)
            case (1, [lower, upper], precision):
                return Float(lower, upper, q=precision)
            case (0, [lower, upper], True):
                return Integer(lower, upper + 1)
            case (0, [lower, upper], *_):
                return Categorical(range(lower, upper + 1))
            case tuple():
                self._refuse(
                    f"dim_dict: {name}={shorten(dimension)} must be as (ValueType.GRID, [8, 16]), "
                    "(ValueType.DISCRETE, [0, 9], True) or (ValueType.CONTINUOUS, [0, 1], 0.01)"
                )
        return dimension

    def _dimension(self, parameter: Parameter) -> tuple[int, list[Any], Any]:
        if isinstance(parameter.domain, Categorical):
            return _DISCRETE, [0, len(parameter.domain.categories) - 1], False
        domain = self.bounded(parameter)
        if _step(domain) is None:
            return _CONTINUOUS, [0, 1], _PRECISION
        bounds = domain.nearest(domain.lower), domain.nearest(domain.upper)
        return _DISCRETE, [_theirs(parameter, bound) for bound in bounds], True


def _step(domain: Domain) -> float | None:
    """Between two values of a parameter that is one of ZOOpt's discrete ones; None for others."""
    if not isinstance(domain, Float | Integer) or domain.log:
        return None
    return domain.q or 1 if isinstance(domain, Integer) else domain.q


def _theirs(parameter: Parameter, value: Any) -> Any:
    domain, step = parameter.domain, _step(parameter.domain)
    if not isinstance(domain, Float | Integer):
        return value
    return to_unit(domain, value) if step is None else round(value / step)


def _ours(parameter: Parameter, x: Any) -> Any:
    domain, step = parameter.domain, _step(parameter.domain)
    if not isinstance(domain, Float | Integer):
        return int(x)
    return from_unit(domain, x) if step is None else domain.nearest(int(x) * step)
