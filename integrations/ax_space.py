"""Search spaces as Ax's parameters, and the other way round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any

from tuner.errors import ConfigError
from tuner.search.flat_space import Parameter
from tuner.search_space.domains import Categorical, Domain, Float, Integer
from tuner.search_space.structure import is_sequence
from tuner.validation import shorten

if TYPE_CHECKING:
    from ax.api.client import Client
    from ax.api.configs import ChoiceParameterConfig, RangeParameterConfig

_KEYS = {"name", "type", "bounds", "values", "value", "value_type", "log_scale"}
_NEEDED = {"range": "bounds", "choice": "values", "fixed": "value"}
_MOST_MULTIPLES = 100


def config_of(
    parameter: Parameter, domain: Float | Integer | None
) -> ChoiceParameterConfig | RangeParameterConfig:
    """One of our parameters as Ax takes it; of a choice it sees the numbers of the categories.

    Multiples are an ordered choice. Where these would be many, or on a logarithmic scale, Ax sees
    the range, and what it proposes is rounded.

    Args:
        parameter: The parameter.
        domain: Its domain if that is a range of numbers, None for a choice.
    """
    from ax.api.configs import ChoiceParameterConfig, RangeParameterConfig

    if domain is None:
        assert isinstance(parameter.domain, Categorical)
        numbers = list(range(len(parameter.domain.categories)))
        return ChoiceParameterConfig(parameter.name, numbers, "int", is_ordered=False)
    low, high = bounds_of(domain)
    kind: Any = "int" if isinstance(domain, Integer) else "float"
    steps = 0 if low == high else round((high - low) / (domain.q or (high - low)))
    if low == high or (domain.q and not domain.log and steps < _MOST_MULTIPLES):
        values: list[Any] = [domain.nearest(low + i * (domain.q or 0)) for i in range(steps + 1)]
        return ChoiceParameterConfig(parameter.name, values, kind, is_ordered=True)
    scaling: Any = "log" if domain.log else "linear"
    return RangeParameterConfig(parameter.name, (low, high), kind, scaling=scaling)


def bounds_of(domain: Float | Integer) -> tuple[float, float]:
    """The lowest and the highest value."""
    if isinstance(domain, Integer):
        return domain.least, domain.most
    return domain.lower, domain.upper


def space_of_dicts(parameters: Sequence[Mapping[str, Any]], owner: str) -> dict[str, Domain]:
    """A list of parameters as Ax knows them, as a search space of ours.

    Args:
        parameters: Dicts with `name`, `type` (`"range"`, `"choice"` or `"fixed"`), and `bounds`,
            `values` or `value`; of a range also `value_type` and `log_scale`.
        owner: Who asks, for errors.

    Raises:
        ConfigError: One of them has something else.

    Example:
        >>> space_of_dicts([{"name": "x", "type": "range", "bounds": [0.0, 1.0]}], "me")
        {'x': uniform(0.0, 1.0)}
    """
    space: dict[str, Domain] = {}
    for each in parameters:
        if not isinstance(each, Mapping) or not isinstance(each.get("name"), str):
            raise ConfigError(f"{owner}: {shorten(each)} in space must be a dict with a 'name'")
        space[each["name"]] = _domain_of_dict(each, owner)
    return space


def space_of_client(client: Client, owner: str) -> dict[str, Domain]:
    """The search space of a client's experiment, as one of ours.

    Raises:
        ConfigError: The client has no experiment, or a parameter that is no range or choice.
    """
    from ax.core.parameter import ChoiceParameter, FixedParameter, RangeParameter

    if client._maybe_experiment is None or client._experiment.optimization_config is None:
        raise ConfigError(
            f"{owner}: ax_client needs configure_experiment and configure_optimization first"
        )
    space: dict[str, Domain] = {}
    for name, each in client._experiment.search_space.parameters.items():
        if each.is_hierarchical:
            raise ConfigError(f"{owner}: ax_client: {name!r} has parameters that depend on it")
        if isinstance(each, RangeParameter):
            is_int = each.parameter_type.name == "INT"
            space[name] = _range(each.lower, each.upper, is_int, each.log_scale)
        elif isinstance(each, ChoiceParameter):
            space[name] = Categorical(each.values)
        elif isinstance(each, FixedParameter):
            space[name] = Categorical([each.value])
        else:
            raise ConfigError(f"{owner}: ax_client: {name!r} is no range, choice or fixed value")
    return space


def is_metric(name: str) -> bool:
    """Whether Ax, which reads objectives as formulas, takes a text for one metric's name.

    Example:
        >>> is_metric("val/loss"), is_metric("lambda"), is_metric("gamma")
        (True, False, False)
    """
    from ax.api.utils.instantiation.from_string import optimization_config_from_string
    from ax.exceptions.core import AxError

    try:
        names: list[str] = optimization_config_from_string(f"-{name}").objective.metric_names
    except (AxError, TypeError, ValueError):
        return False
    return names == [name]


def _domain_of_dict(given: Mapping[str, Any], owner: str) -> Domain:
    kind, unknown = given.get("type"), given.keys() - _KEYS
    if unknown:
        raise ConfigError(
            f"{owner}: {given['name']!r} has {min(unknown)!r}; give an ax_client for such a space"
        )
    if kind not in _NEEDED:
        raise ConfigError(f"{owner}: type of {shorten(given)} must be range, choice or fixed")
    if _NEEDED[kind] not in given:
        raise ConfigError(f"{owner}: {shorten(given)} is a {kind} and needs {_NEEDED[kind]!r}")
    if kind == "choice":
        return Categorical(given["values"])
    if kind == "fixed":
        return Categorical([given["value"]])
    bounds = given["bounds"]
    if not (is_sequence(bounds) and len(bounds) == 2 and all(map(_is_number, bounds))):
        raise ConfigError(f"{owner}: bounds of {shorten(given)} must be two numbers")
    low, high = bounds
    is_int = given.get("value_type", "int" if isinstance(low, int) else "float") == "int"
    return _range(low, high, is_int, given.get("log_scale", False))


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _range(low: float, high: float, is_int: bool, log: bool) -> Float | Integer:
    if is_int:
        return Integer(int(low), int(high) + 1, log=log)
    return Float(float(low), float(high), log=log)
