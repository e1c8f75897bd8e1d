"""How hyperparameters change while a population trains: drawn anew, or moved a little."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

from tuner.search_space.checks import same
from tuner.search_space.domains import Categorical, Domain, Float, Integer, Normal, SampleFrom
from tuner.search_space.multiples import Multiples
from tuner.search_space.streams import preserved_globals, seed_globals
from tuner.search_space.structure import fresh_copy, is_grid, refilled
from tuner.validation import reject

if TYPE_CHECKING:
    import numpy as np

_KINDS = "a list, a domain such as tune.uniform(0, 1), a function, or a dictionary of these"


class Mutations:
    """The `hyperparam_mutations` of a scheduler.

    A value is a list or tuple of values, of which neighbours are alike; a domain; a function
    without arguments that draws a value; or a dictionary of these, for nested hyperparameters.
    All that is drawn derives from a seed, also what a function draws from `random` and
    `np.random`, whose streams are put back.

    Args:
        owner: Whose they are; for errors.
        mutations: What to mutate, by name.

    Raises:
        ConfigError: A value is of another kind.

    Example:
        >>> mutations = Mutations("PBT", {"lr": Float(0, 1), "width": [8, 16, 32]})
        >>> mutations.explored(
        ...     {"lr": 0.9, "width": 16, "depth": 2},
        ...     seed=1,
        ...     resample_probability=0,
        ...     factors=(1.2,),
        ... )
        {'lr': 1.0, 'width': 8, 'depth': 2}
    """

    def __init__(self, owner: str, mutations: Mapping[str, Any]) -> None:
        _check(owner, "hyperparam_mutations", mutations)
        self._mutations = mutations

    def __bool__(self) -> bool:
        return bool(self._mutations)

    def completed(self, config: dict[str, Any], *, seed: int) -> dict[str, Any]:
        """The configuration with what it lacks drawn; itself if it lacks nothing."""
        if _has_all(self._mutations, config):
            return config
        return _completed(self._mutations, config, _generator(seed))

    def explored(
        self,
        config: dict[str, Any],
        *,
        seed: int,
        resample_probability: float,
        factors: Sequence[float],
    ) -> dict[str, Any]:
        """A configuration near another one.

        Each value named in the mutations is drawn anew with `resample_probability`, and whenever
        there is nothing to move: it is missing, or not in the list, or no number. Else a value
        of a list or `choice` becomes one of its neighbours there, or stays at the end of the list;
        a number is multiplied by one of the factors. Whole numbers stay whole, a domain's bounds
        are kept, and its multiples of `q`. A truth value changes only when it is drawn anew.

        Args:
            config: The configuration to start from, which is left as it is.
            seed: Where all that is drawn comes from.
            resample_probability: From 0 to 1.
            factors: What a number is multiplied by, each as likely as the others.
        """
        explorer = _Explorer(_generator(seed), resample_probability, factors)
        return explorer.explored(self._mutations, fresh_copy(config))


class _Explorer:
    def __init__(
        self, rng: np.random.Generator, resample_probability: float, factors: Sequence[float]
    ) -> None:
        self._rng = rng
        self._resample_probability = resample_probability
        self._factors = factors

    def explored(self, mutations: Mapping[str, Any], config: dict[str, Any]) -> dict[str, Any]:
        for name, space in mutations.items():
            value = config.get(name)
            if isinstance(space, Mapping):
                config[name] = self.explored(space, value if isinstance(value, dict) else {})
            elif name not in config or self._rng.random() < self._resample_probability:
                config[name] = _like(value, _drawn(space, self._rng))
            else:
                config[name] = self._moved(space, value)
        return config

    def _moved(self, space: Any, value: Any) -> Any:
        values = _values(space)
        if values is not None:
            place = next((i for i, each in enumerate(values) if same(each, value)), None)
            if place is None:
                return _drawn(space, self._rng)
            step = 1 if self._rng.integers(2) else -1
            return fresh_copy(values[min(max(place + step, 0), len(values) - 1)])
        if isinstance(value, bool):
            return value
        if not isinstance(value, Real) or not math.isfinite(value):
            return _drawn(space, self._rng)
        factor = self._factors[int(self._rng.integers(len(self._factors)))]
        return _fitted(space, _like(value, float(value) * factor))


def _completed(
    mutations: Mapping[str, Any], config: dict[str, Any], rng: np.random.Generator
) -> dict[str, Any]:
    added: dict[str, Any] = {}
    for name, space in mutations.items():
        value = config.get(name)
        if isinstance(space, Mapping) and (name not in config or isinstance(value, dict)):
            added[name] = _completed(space, value if isinstance(value, dict) else {}, rng)
        elif name not in config:
            added[name] = _drawn(space, rng)
    return refilled(config, {**config, **added})


def _has_all(mutations: Mapping[str, Any], config: dict[str, Any]) -> bool:
    return all(
        name in config
        and (
            not isinstance(space, Mapping)
            or not isinstance(config[name], dict)
            or _has_all(space, config[name])
        )
        for name, space in mutations.items()
    )


def _drawn(space: Any, rng: np.random.Generator) -> Any:
    values = _values(space)
    if values is not None:
        return fresh_copy(values[int(rng.integers(len(values)))])
    if isinstance(space, Domain):
        return space.draw(rng)
    with preserved_globals():
        seed_globals(int(rng.integers(2**63)))
        return space()


def _values(space: Any) -> Sequence[Any] | None:
    """The values to choose from, None where there is no list of them."""
    if isinstance(space, Categorical):
        return space.categories
    return space if isinstance(space, list | tuple) else None


def _like(before: Any, value: Any) -> Any:
    """A number as a whole one, or a truth value, if the one before it was."""
    if not isinstance(value, Real) or not math.isfinite(value):
        return value
    if isinstance(before, bool):
        return bool(value)
    return round(value) if isinstance(before, Integral) else value


def _fitted(space: Any, value: float) -> float:
    """The value of a domain that is nearest to a number; the number itself for a function."""
    if isinstance(space, Integer):
        q = space.q or 1
        last = space.upper - 1 if q == 1 else space.upper // q
        return q * min(max(round(value / q), -(-space.lower // q)), last)
    if isinstance(space, Float | Normal) and space.q is not None:
        multiples = Multiples(space.q)
        value = multiples.value(multiples.nearest(value))
    if isinstance(space, Float):
        return min(max(value, space.lower), space.upper)
    return value


def _generator(seed: int) -> np.random.Generator:
    import numpy as np

    return np.random.default_rng(seed)


def _check(owner: str, field: str, mutations: object) -> None:
    if not isinstance(mutations, Mapping):
        reject(owner, field, mutations, 'use a dictionary such as {"lr": tune.loguniform(1e-4, 1)}')
    for name, space in mutations.items():
        place = f"{field}[{name!r}]"
        if is_grid(space):
            reject(owner, place, space, "use the list of its values")
        if isinstance(space, Mapping):
            _check(owner, place, space)
        elif isinstance(space, SampleFrom):
            reject(owner, place, space, "use a function without arguments, or another domain")
        elif (values := _values(space)) is not None:
            _check_values(owner, place, space, values)
        elif not isinstance(space, Domain) and not callable(space):
            reject(owner, place, space, f"use {_KINDS}")


def _check_values(owner: str, place: str, space: object, values: Sequence[Any]) -> None:
    if not values:
        reject(owner, place, space, "give at least one value")
    if any(isinstance(value, Domain) or is_grid(value) for value in values):
        reject(owner, place, space, "list values, not domains")
