"""Nevergrad: optimizers that need no derivatives (evolution, CMA, swarms, …) as a searcher."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from inspect import signature
from threading import Thread
from typing import TYPE_CHECKING, Any

from tuner.errors import SearchSpaceError
from tuner.integrations.library_searcher import LibrarySearcher
from tuner.search.flat_space import FlatSpace, Parameter, Values
from tuner.search_space.domains import Categorical, Integer, Normal
from tuner.validation import did_you_mean, shorten

if TYPE_CHECKING:
    from nevergrad.optimization.base import Optimizer
    from nevergrad.parametrization.core import Parameter as Parametrization

logger = logging.getLogger(__name__)

Condition = tuple[tuple[str, int], ...]

_DEFAULT = "NGOptBase"
_DEFAULT_BUDGET = 100
_DEFAULT_WORKERS = 2
_HUGE = 1e20  # of the losses that Nevergrad takes as they are
_OWN = "value"  # the name of the value of a parametrization of Nevergrad's own
_INDEX = ""  # the name of a category's index, beside its parameters


class NevergradSearch(LibrarySearcher):
    """Asks an optimizer of Nevergrad.

    Where the optimizer knows one trial at a time only (its `num_workers` is 1), nothing is proposed
    before the last one has ended. Those of them that run another library's loop in a thread, such
    as `"Cobyla"`, cannot be pickled: `save` raises, and a restored experiment replays its journal.

    Args:
        optimizer: A name such as `"OnePlusOne"`, a class or a configured optimizer of
            `nevergrad.optimizers`, or an optimizer itself, whose parametrization is then the search
            space and whose random state is left as it is. By default `"NGOptBase"`, which chooses
            by the search space and the budget. (`"NGOpt"` chooses among more, some of which, as of
            Nevergrad 1.0.12, fail with NumPy 2.4.)
        optimizer_kwargs: What the optimizer is made with: `budget`, by default the experiment's
            `num_samples`, or 100 if that has no limit; `num_workers`, how many trials run at a
            time, by default 2, or 1 for an optimizer that knows no more.
        space: The search space, if it is not the `param_space`: a dict of ours; a parametrization
            of Nevergrad, `Dict` or `Instrumentation`; or, with an optimizer whose parametrization
            has positions and not names, the names.
        metric: The metric to optimize, or a list of several.
        mode: `"min"` or `"max"`, or a list.
        points_to_evaluate: Configurations to try first. With a parametrization of Nevergrad they
            are nested as the space and whole.
        evaluated_rewards: Values of the first of the points.
        seed: What the parametrization's random state is seeded with; None takes the experiment's.

    Raises:
        ConfigError: An argument cannot work.
        MissingDependencyError: Nevergrad is not installed.

    Example:
        >>> from tuner import uniform
        >>> searcher = NevergradSearch("OnePlusOne", metric="loss", mode="min")
        >>> searcher.set_search_properties(None, None, {"x": uniform(0, 1)}, seed=1)
        True
        >>> 0 <= searcher.suggest("first")["x"] <= 1
        True

    Source: https://facebookresearch.github.io/nevergrad
    """

    library = "Nevergrad"
    module = "nevergrad"
    extra = "nevergrad"
    has_conditions = True
    has_objectives = True

    def __init__(
        self,
        optimizer: Any = None,
        optimizer_kwargs: Mapping[str, Any] | None = None,
        space: Any = None,
        metric: str | list[str] | None = None,
        mode: str | list[str] | None = None,
        points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
        evaluated_rewards: Sequence[Any] | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__(space, metric, mode, points_to_evaluate, evaluated_rewards, seed)
        self._made_with = dict(optimizer_kwargs or {})
        self._budget = _DEFAULT_BUDGET
        self._candidates: dict[str, Parametrization] = {}
        self._worst: Any = None
        self._given_optimizer = None if optimizer is None else self._checked(optimizer)

    def set_search_properties(
        self, metric: Any, mode: Any, config: dict[str, Any], seed: int | None = None, **spec: Any
    ) -> bool:
        """Takes the number of trials as the budget, too."""
        num_samples = spec.get("num_samples")
        if num_samples is not None and num_samples > 0:
            self._budget = num_samples
        return super().set_search_properties(metric, mode, config, seed, **spec)

    def read_space(self, space: Any) -> FlatSpace:
        """Reads parametrizations of Nevergrad as well."""
        import nevergrad

        if isinstance(self._given_optimizer, nevergrad.optimizers.base.Optimizer):
            return _OwnSpace(self._given_optimizer.parametrization, space, self._name)
        if isinstance(space, nevergrad.p.Parameter):
            return _OwnSpace(space, (), self._name)
        return super().read_space(space)

    def open(self, space: FlatSpace, seed: int) -> None:
        """Makes the optimizer, unless it was given."""
        import nevergrad

        given = self._given_optimizer or nevergrad.optimizers.registry[_DEFAULT]
        if isinstance(given, nevergrad.optimizers.base.Optimizer):
            self._optimizer: Optimizer = given
        else:
            self._optimizer = self._make_optimizer(given, space, seed)
        if len(self._signs) > 1:
            self._optimizer.num_objectives = len(self._signs)

    def ask(self, trial_id: str) -> Values | None:
        """Asks, unless the optimizer waits for the trial before."""
        if self._optimizer.num_workers == 1 and self._candidates:
            return None
        candidate = self._candidates[trial_id] = self._asked()
        return self._ours(candidate.value)

    def tell(self, trial_id: str, values: Values, loss: Any) -> None:
        """Tells the value; the worst one so far for a trial that has none."""
        from nevergrad.common.errors import TellNotAskedNotSupportedError

        candidate = self._candidates.pop(trial_id, None)
        if loss is not None:
            losses = [loss, loss if self._worst is None else self._worst]
            self._worst = list(map(max, *losses)) if isinstance(loss, list) else max(losses)
        elif self._worst is not None:
            loss = self._worst
        elif candidate is not None and self._optimizer.num_workers == 1:
            loss = _HUGE if len(self._signs) == 1 else [_HUGE] * len(self._signs)  # it waits
        else:
            return
        if candidate is None:
            candidate = self._candidate(values)
        try:
            self._optimizer.tell(candidate, loss)
        except TellNotAskedNotSupportedError:
            logger.warning(
                "%s: %s learns from its own proposals only, not from %s",
                self._name,
                self._optimizer.name,
                shorten(self._opened().config(values)),
            )

    def _checked(self, optimizer: Any) -> Any:
        """What makes the optimizer, or the optimizer itself."""
        import nevergrad

        if isinstance(optimizer, str):
            known = nevergrad.optimizers.registry
            if optimizer not in known:
                self._refuse(
                    f"optimizer={optimizer!r} is none of nevergrad.optimizers.registry"
                    f"{did_you_mean(optimizer, known)}"
                )
            return known[optimizer]
        base = nevergrad.optimizers.base
        if isinstance(optimizer, base.Optimizer):
            if self._made_with:
                self._refuse(
                    f"optimizer_kwargs={self._made_with!r}: the optimizer is made already; "
                    "give its class, or no optimizer_kwargs"
                )
            self._given_space = [] if self._given_space is None else self._given_space
            return optimizer
        is_class = isinstance(optimizer, type) and issubclass(optimizer, base.Optimizer)
        if not is_class and not isinstance(optimizer, base.ConfiguredOptimizer):
            self._refuse(
                f"optimizer={shorten(optimizer)}: give a name, a class or a configured optimizer "
                "of nevergrad.optimizers, or an optimizer"
            )
        return optimizer

    def _make_optimizer(self, given: Any, space: FlatSpace, seed: int) -> Optimizer:
        import nevergrad
        import numpy as np

        if isinstance(space, _OwnSpace):
            parametrization = space.parametrization
        else:
            parametrization = nevergrad.p.Dict(**self._within(()))
        if not parametrization.dimension:
            self._refuse("the search space has nothing to search for")
        parametrization.random_state = np.random.RandomState(seed % 2**32)
        workers = 1 if given.no_parallelization else _DEFAULT_WORKERS
        made_with = {"budget": self._budget, "num_workers": workers, **self._made_with}
        known = [name for name in signature(given).parameters if name != "parametrization"]
        for name in self._made_with:
            if name not in known:
                self._refuse(
                    f"optimizer_kwargs has {name!r}, and an optimizer is made with "
                    f"{', '.join(known)} only{did_you_mean(str(name), known)}"
                )
        optimizer: Optimizer = given(parametrization=parametrization, **made_with)
        return optimizer

    @contextmanager
    def _streams(self) -> Iterator[None]:
        """Python does not warn: what the optimizers' own libraries say helps nobody here."""
        with super()._streams(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield

    def _asked(self) -> Parametrization:
        if self._optimizer.num_workers > 1:
            return self._optimizer.ask()
        # Some start a thread for good, which keeps Python from ending unless a daemon starts it.
        answer: Future[Parametrization] = Future()

        def ask() -> None:
            try:
                answer.set_result(self._optimizer.ask())
            except BaseException as error:
                answer.set_exception(error)

        Thread(target=ask, daemon=True).start()
        return answer.result()

    def _candidate(self, values: Values) -> Parametrization:
        """What stands for values that the optimizer has not asked for."""
        own = isinstance(self._opened(), _OwnSpace)
        value = values[_OWN] if own else self._theirs((), values)
        return self._optimizer.parametrization.spawn_child(new_value=value)

    def _within(self, condition: Condition) -> dict[str, Any]:
        """Parametrizations by name of the parameters that a condition has."""
        return {
            each.name: self._parametrization(each)
            for each in self._opened().parameters
            if each.condition == condition
        }

    def _parametrization(self, parameter: Parameter) -> Any:
        from nevergrad import p

        domain = parameter.domain
        if isinstance(domain, Categorical):
            options: list[Any] = []
            for index in range(len(domain.categories)):
                inner = self._within((*parameter.condition, (parameter.name, index)))
                options.append(p.Dict(**{_INDEX: index}, **inner) if inner else index)
            return options[0] if len(options) == 1 else p.Choice(options)
        if isinstance(domain, Normal):
            if domain.sd == 0:
                return domain.mean
            return p.Scalar(init=domain.mean, mutable_sigma=False).set_mutation(sigma=domain.sd)
        domain = self.bounded(parameter)
        lower, upper = domain.lower, domain.upper
        if isinstance(domain, Integer):
            step = domain.q or 1
            lower, upper = domain.least - step / 2, domain.most + step / 2
        if domain.nearest(lower) == domain.nearest(upper):
            return domain.nearest(lower)
        kind = p.Log if domain.log else p.Scalar
        numbers = kind(lower=lower, upper=upper)
        # Nevergrad chooses other optimizers for whole numbers; multiples are rounded here.
        is_whole = isinstance(domain, Integer) and domain.q is None
        return numbers.set_integer_casting() if is_whole else numbers

    def _ours(self, value: Any) -> Values:
        """The values of what Nevergrad has drawn."""
        space = self._opened()
        if isinstance(space, _OwnSpace):
            return {_OWN: value}
        drawn = dict(_flat(value))
        values: Values = {}
        for parameter in space.parameters:
            if parameter.name in drawn:
                number, domain = drawn[parameter.name], parameter.domain
                is_index = isinstance(domain, Categorical)
                values[parameter.name] = number if is_index else _nearest(domain, number)
        return values

    def _theirs(self, condition: Condition, values: Values) -> dict[str, Any]:
        """What Nevergrad would have drawn for values."""
        drawn: dict[str, Any] = {}
        for parameter in self._opened().parameters:
            if parameter.condition != condition:
                continue
            name, domain = parameter.name, parameter.domain
            number = values[name]
            if isinstance(domain, Categorical):
                inner = self._theirs((*condition, (name, number)), values)
                drawn[name] = {_INDEX: number, **inner} if inner else number
            else:
                drawn[name] = _nearest(domain, number)
        return drawn


class _OwnSpace(FlatSpace):
    """A parametrization of Nevergrad; names are needed where it has positions."""

    def __init__(self, parametrization: Parametrization, names: Any, owner: str) -> None:
        from nevergrad import p

        self.parameters = []
        self.parametrization = parametrization
        self._owner = owner
        if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
            raise SearchSpaceError(
                f"{owner}: space={shorten(names)}: the optimizer has a parametrization already; "
                "give the names of its positions, or nothing"
            )
        self._names = list(names)
        kinds = (p.Dict, p.Instrumentation, p.Tuple, p.Array)
        if not isinstance(parametrization, kinds) or len(self._names) != len(self._split()[0]):
            raise SearchSpaceError(
                f"{owner}: the parametrization {shorten(parametrization)} must be a Dict or an "
                "Instrumentation of names, or be in an optimizer, with space=[a name for each of "
                f"its positions]; got {self._names}"
            )

    def config(self, values: Mapping[str, Any]) -> dict[str, Any]:
        args, kwargs = self._split(values[_OWN])
        return {**dict(zip(self._names, args, strict=True)), **kwargs}

    def values(self, config: Mapping[str, Any], *, strict: bool = False) -> Values:
        from nevergrad import p

        _, kwargs = self._split()
        known = [*self._names, *kwargs]
        unknown = config.keys() - known if strict else set()
        if unknown or not config.keys() >= set(known):
            raise SearchSpaceError(
                f"{self._owner}: the point {shorten(dict(config))} must have all of {known}, and "
                "nothing else"
            )
        args = tuple(config[name] for name in self._names)
        kwargs = {name: config[name] for name in kwargs}
        if isinstance(self.parametrization, p.Instrumentation):
            return {_OWN: (args, kwargs)}
        return {_OWN: kwargs if isinstance(self.parametrization, p.Dict) else args}

    def _split(self, value: Any = None) -> tuple[Sequence[Any], dict[str, Any]]:
        """What has positions, and what has names."""
        from nevergrad import p

        value = self.parametrization.value if value is None else value
        if isinstance(self.parametrization, p.Instrumentation):
            return value  # type: ignore[no-any-return]
        return ((), value) if isinstance(value, dict) else ([*map(_plain, value)], {})


def _plain(value: Any) -> Any:
    """A number of an array as Python's own."""
    import numpy as np

    return value.item() if isinstance(value, np.generic) else value


def _nearest(domain: Any, number: float) -> float:
    value: float = domain.nearest(number)
    return value


def _flat(drawn: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Names and numbers; those within a category beside its index."""
    for name, value in drawn.items():
        if isinstance(value, dict):
            yield name, value[_INDEX]
            yield from _flat({key: inner for key, inner in value.items() if key != _INDEX})
        else:
            yield name, value
