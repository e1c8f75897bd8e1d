"""The box that hyperparameters move in: between configurations and points of the unit cube."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from numbers import Integral
from typing import Any

from tuner.metrics import as_number
from tuner.search_space.domains import Domain, Float, Integer
from tuner.search_space.structure import fresh_copy
from tuner.validation import reject

Path = tuple[str, ...]


class Bounds:
    """The `hyperparam_bounds` of a scheduler.

    Args:
        owner: Whose they are; for errors.
        bounds: By name: `[lowest, highest]`, a domain with bounds, such as
            `tune.loguniform(1e-5, 1e-1)`, which is then a logarithmic axis, or a dictionary of
            these for nested hyperparameters.

    Attributes:
        domains: The same with a domain in each place.

    Raises:
        ConfigError: A bound is of another kind.

    Example:
        >>> bounds = Bounds("PB2", {"lr": [0.0, 2.0], "net": {"width": [8, 16]}})
        >>> bounds.to_point({"lr": 0.5, "net": {"width": 16}})
        (0.25, 1.0)
        >>> bounds.to_config((0.75, 0.4), {"lr": 0.1, "net": {"width": 9, "depth": 3}})
        {'lr': 1.5, 'net': {'width': 11, 'depth': 3}}
    """

    def __init__(self, owner: str, bounds: Mapping[str, Any]) -> None:
        self.domains = _as_domains(owner, "hyperparam_bounds", bounds)
        self._axes = [_Axis(path, domain) for path, domain in _leaves(self.domains)]

    def __len__(self) -> int:
        return len(self._axes)

    def to_point(self, config: Mapping[str, Any]) -> tuple[float, ...] | None:
        """Where a configuration lies; None if it lacks a hyperparameter or has no number there."""
        places = [axis.place(config) for axis in self._axes]
        return None if None in places else tuple(each for each in places if each is not None)

    def to_config(self, point: Sequence[float], config: Mapping[str, Any]) -> dict[str, Any]:
        """A configuration with the hyperparameters of a point; whole numbers stay whole."""
        changed: dict[str, Any] = fresh_copy(dict(config))
        for axis, place in zip(self._axes, point, strict=True):
            axis.put(changed, place)
        return changed


class _Axis:
    def __init__(self, path: Path, domain: Float | Integer) -> None:
        self._path = path
        self._is_whole = isinstance(domain, Integer)
        self._is_log = domain.log
        self._low = float(domain.lower)
        self._high = float(domain.upper - 1 if isinstance(domain, Integer) else domain.upper)

    def place(self, config: Mapping[str, Any]) -> float | None:
        value: Any = config
        for name in self._path:
            if not isinstance(value, Mapping) or name not in value:
                return None
            value = value[name]
        number = as_number(value)
        if number is None or not math.isfinite(number) or (self._is_log and number <= 0):
            return None
        low, high = self._scale(self._low), self._scale(self._high)
        return (self._scale(number) - low) / (high - low)

    def put(self, config: dict[str, Any], place: float) -> None:
        for name in self._path[:-1]:
            config = config.setdefault(name, {})
        low, high = self._scale(self._low), self._scale(self._high)
        scaled = low + place * (high - low)
        value = min(max(math.exp(scaled) if self._is_log else scaled, self._low), self._high)
        before = config.get(self._path[-1])
        is_whole = self._is_whole if before is None else isinstance(before, Integral)
        config[self._path[-1]] = round(value) if is_whole else value

    def _scale(self, value: float) -> float:
        return math.log(value) if self._is_log else value


def _as_domains(owner: str, field: str, bounds: object) -> dict[str, Any]:
    if not isinstance(bounds, Mapping) or not bounds:
        reject(owner, field, bounds, 'use a dictionary such as {"lr": [1e-4, 1e-1]}')
    return {
        name: _as_domains(owner, f"{field}[{name!r}]", space)
        if isinstance(space, Mapping)
        else _as_domain(owner, f"{field}[{name!r}]", space)
        for name, space in bounds.items()
    }


def _as_domain(owner: str, field: str, space: Any) -> Domain:
    fix = "use [lowest, highest], such as [1e-4, 1e-1], or tune.uniform, loguniform or randint"
    if isinstance(space, Float | Integer):
        if space.q is not None:
            reject(owner, field, space, "use the domain without q")
        domain: Domain = space
    elif isinstance(space, list | tuple) and len(space) == 2:
        low, high = space
        if any(as_number(end) is None or isinstance(end, bool) for end in space):
            reject(owner, field, space, fix)
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            reject(owner, field, space, "use two finite numbers, the lower one first")
        are_whole = isinstance(low, Integral) and isinstance(high, Integral)
        domain = Integer(int(low), int(high) + 1) if are_whole else Float(float(low), float(high))
    else:
        reject(owner, field, space, fix)
    if _width(domain) == 0:
        reject(owner, field, space, "use bounds that differ; a constant belongs in the param_space")
    return domain


def _width(domain: Any) -> float:
    return float(domain.upper - domain.lower - (1 if isinstance(domain, Integer) else 0))


def _leaves(domains: Mapping[str, Any], path: Path = ()) -> Iterator[tuple[Path, Any]]:
    for name, space in domains.items():
        if isinstance(space, Mapping):
            yield from _leaves(space, (*path, name))
        else:
            yield (*path, name), space
