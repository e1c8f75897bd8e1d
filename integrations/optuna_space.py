"""Search spaces of Optuna's own: distributions by name, and define-by-run functions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from tuner.errors import SearchSpaceError
from tuner.flatten import flatten
from tuner.validation import did_you_mean, shorten

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import BaseTrial, FixedTrial

_OWNER = "OptunaSearch"


class OptunaSpace(ABC):
    """A search space as Optuna itself takes it.

    Attributes:
        distributions: What Optuna is to suggest values of at once; None if a function says it.
    """

    distributions: dict[str, BaseDistribution] | None = None

    @abstractmethod
    def constants(self, trial: BaseTrial) -> dict[str, Any]:
        """What a configuration has besides parameters; has the trial suggest those."""

    @abstractmethod
    def point(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters of a configuration to try, by flat name; it may lack some.

        Raises:
            SearchSpaceError: A name or a value is not in the search space.
        """

    @abstractmethod
    def evaluated(
        self, config: Mapping[str, Any], *, strict: bool = False
    ) -> tuple[dict[str, Any], dict[str, BaseDistribution]]:
        """The parameters of a configuration that was tried, and their distributions.

        Args:
            config: The configuration, nested or with flat names.
            strict: Whether names that the search space does not have are refused, not ignored.

        Raises:
            SearchSpaceError: A parameter is missing, or has a value that it cannot have.
        """


def optuna_space(space: Any) -> OptunaSpace | None:
    """A search space of Optuna's own; None if it is none.

    Raises:
        SearchSpaceError: A dict holds other things besides Optuna's distributions.
    """
    from optuna.distributions import BaseDistribution

    if callable(space):
        return _Function(space)
    flat = flatten(space) if isinstance(space, dict) else {}
    others = [name for name, each in flat.items() if not isinstance(each, BaseDistribution)]
    if len(others) == len(flat):
        return None
    if others:
        raise SearchSpaceError(
            f"{_OWNER}: {others[0]}={shorten(flat[others[0]])} stands among distributions of "
            "Optuna; write all parameters as these, or all as ours (tuner.uniform, …)"
        )
    return _Distributions(flat)


class _Distributions(OptunaSpace):
    def __init__(self, distributions: dict[str, BaseDistribution]) -> None:
        self.distributions: dict[str, BaseDistribution] = distributions

    def constants(self, trial: BaseTrial) -> dict[str, Any]:
        return {}

    def point(self, config: Mapping[str, Any]) -> dict[str, Any]:
        flat = flatten(dict(config))
        _check_names(flat, self.distributions)
        return {name: _value(name, flat[name], self.distributions[name]) for name in flat}

    def evaluated(
        self, config: Mapping[str, Any], *, strict: bool = False
    ) -> tuple[dict[str, Any], dict[str, BaseDistribution]]:
        flat = flatten(dict(config))
        if strict:
            _check_names(flat, self.distributions)
        for name in self.distributions:
            if name not in flat:
                _refuse_without(name, flat)
        return self.point({name: flat[name] for name in self.distributions}), self.distributions


class _Function(OptunaSpace):
    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._function = function

    def constants(self, trial: BaseTrial) -> dict[str, Any]:
        try:
            constants = self._function(trial)
        except SearchSpaceError:
            raise
        except Exception as error:
            raise SearchSpaceError(
                f"{_OWNER}: the define-by-run function raised {shorten(error, 200)}"
            ) from error
        if constants is not None and not isinstance(constants, dict):
            raise SearchSpaceError(
                f"{_OWNER}: the define-by-run function returned {shorten(constants)}; it must "
                "return a dict of constants, or None, as the trainable reports what is optimized"
            )
        return constants or {}

    def point(self, config: Mapping[str, Any]) -> dict[str, Any]:
        return flatten(dict(config))

    def evaluated(
        self, config: Mapping[str, Any], *, strict: bool = False
    ) -> tuple[dict[str, Any], dict[str, BaseDistribution]]:
        flat = flatten(dict(config))
        trial = _fixed_trial(flat)
        constants = self.constants(trial)
        known = trial.distributions
        if strict:
            _check_names(flat, [*known, *flatten(constants)])
        return {name: _value(name, flat[name], known[name]) for name in known}, known


def _fixed_trial(params: dict[str, Any]) -> FixedTrial:
    """A trial that suggests given values; Optuna's own only warns of those out of range."""
    from optuna.trial import FixedTrial

    class PointTrial(FixedTrial):
        def _suggest(self, name: str, distribution: BaseDistribution) -> Any:
            if name not in params:
                _refuse_without(name, params)
            _value(name, params[name], distribution)
            return super()._suggest(name, distribution)

    return PointTrial(params)


def _value(name: str, value: Any, distribution: BaseDistribution) -> Any:
    """A parameter's value as Optuna would suggest it; raises if it never would."""
    try:
        internal = distribution.to_internal_repr(value)
        if distribution._contains(internal):
            return distribution.to_external_repr(internal)
    except (TypeError, ValueError):
        pass
    raise SearchSpaceError(f"{_OWNER}: {name}={shorten(value)} is not in {distribution}")


def _check_names(names: Iterable[str], known: Iterable[str]) -> None:
    known = list(known)
    for name in names:
        if name not in known:
            raise SearchSpaceError(
                f"{_OWNER}: {name!r} is not in the search space, which has "
                f"{', '.join(map(repr, known))}{did_you_mean(name, known)}"
            )


def _refuse_without(name: str, params: dict[str, Any]) -> NoReturn:
    raise SearchSpaceError(
        f"{_OWNER}: the evaluated point {shorten(params)} lacks {name!r}; "
        "a point with a value must have all parameters"
    )
