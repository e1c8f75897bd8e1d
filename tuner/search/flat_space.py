"""A search space as the flat list of parameters that search libraries know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from tuner.errors import SearchSpaceError
from tuner.search_space.checks import same
from tuner.search_space.domains import Categorical, Domain, Float, Integer, SampleFrom
from tuner.search_space.points import first_step
from tuner.search_space.structure import (
    Path,
    is_grid,
    is_sequence,
    path_text,
    rebuilder,
    refilled,
)
from tuner.validation import did_you_mean, shorten

Values = dict[str, Any]
"""Values by the flat names of parameters; of a categorical one the index of its category."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a search space.

    Attributes:
        name: Its flat name, such as `"model/lr"`; within the category 1 of a `choice` at `"model"`,
            `"model#1/lr"`.
        domain: What it is drawn from: Float, Integer, Normal or Categorical.
        condition: The names and categories of the choices within which it is, from outside in;
            empty for one that every configuration has.
    """

    name: str
    domain: Domain
    condition: tuple[tuple[str, int], ...] = ()

    def is_active(self, values: Mapping[str, Any]) -> bool:
        """Whether a configuration with these values has the parameter."""
        return all(values.get(name) == index for name, index in self.condition)


class FlatSpace:
    """A search space, taken apart into parameters and put together again.

    Args:
        space: The search space: nested dicts, lists and tuples with domains in them. What is not a
            domain is a constant.
        owner: Who asks, for errors.

    Raises:
        SearchSpaceError: It has a grid search.

    Attributes:
        parameters: Those of which values are searched for, in the order of the space; a choice
            before what is within its categories. `sample_from` is not among them.

    Example:
        >>> from tuner import choice, uniform
        >>> space = FlatSpace(
        ...     {"lr": uniform(0, 1), "net": choice(["a", {"depth": uniform(1, 2)}]), "k": 3}, "me"
        ... )
        >>> [parameter.name for parameter in space.parameters]
        ['lr', 'net', 'net#1/depth']
        >>> space.config({"lr": 0.5, "net": 1, "net#1/depth": 1.5})
        {'lr': 0.5, 'net': {'depth': 1.5}}
        >>> space.values({"lr": 0.5, "net": "a"})
        {'lr': 0.5, 'net': 0}
    """

    def __init__(self, space: Mapping[str, Any], owner: str) -> None:
        if not isinstance(space, Mapping):
            raise SearchSpaceError(f"{owner}: the search space {shorten(space)} must be a dict")
        self._space = dict(space)
        self._owner = owner
        self.parameters: list[Parameter] = []
        self._collect(self._space, "", (), ())

    def config(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """What a searcher suggests for these values: a configuration without constants.

        What stands in a list, or is a category of a choice, is whole.

        Args:
            values: A value for each parameter that it has, by flat name; others are ignored.
        """
        config: dict[str, Any] = self._suggested(self._space, "", values)
        return config

    def values(self, config: Mapping[str, Any], *, strict: bool = False) -> Values:
        """The values of a configuration: the inverse of `config`.

        A number between the steps of its domain counts as the nearest one.

        Args:
            config: Nested as the search space, or with flat names such as `"model/lr"`. It may lack
                parameters, which are then not in the result.
            strict: Whether names that the search space does not have are refused, not ignored.

        Raises:
            SearchSpaceError: A value is not in its domain, or a name is refused.
        """
        found: Values = {}
        self._read(self._space, config, "", found, strict)
        return found

    def _collect(
        self, part: Any, name: str, condition: tuple[tuple[str, int], ...], path: Path
    ) -> None:
        if is_grid(part):
            raise SearchSpaceError(
                f"{self._owner}: {path_text(path)}={shorten(part)}: a grid search is for "
                "BasicVariantGenerator alone; use choice here"
            )
        if isinstance(part, SampleFrom):
            return
        if isinstance(part, Domain):
            self.parameters.append(Parameter(name, part, condition))
            if isinstance(part, Categorical):
                for index, category in enumerate(part.categories):
                    inner = (*condition, (name, index))
                    self._collect(category, f"{name}#{index}", inner, path)
            return
        for key, item in _items(part):
            self._collect(item, _joined(name, key), condition, (*path, key))

    def _suggested(self, part: Any, name: str, values: Mapping[str, Any]) -> Any:
        if not isinstance(part, dict):
            return self._whole(part, name, values)
        return {
            key: self._suggested(item, _joined(name, key), values)
            for key, item in part.items()
            if _is_searched(item)
        }

    def _whole(self, part: Any, name: str, values: Mapping[str, Any]) -> Any:
        if isinstance(part, SampleFrom):
            return part  # the experiment calls the function when all else is known
        if isinstance(part, Categorical):
            index = int(values[name])
            return self._whole(part.categories[index], f"{name}#{index}", values)
        if isinstance(part, Domain):
            return values[name]
        if isinstance(part, dict):
            items = {k: self._whole(item, _joined(name, k), values) for k, item in part.items()}
            return refilled(part, items)
        if is_sequence(part):
            whole = [self._whole(item, _joined(name, i), values) for i, item in enumerate(part)]
            return rebuilder(part)(whole)
        return part

    def _read(self, part: Any, config: Any, name: str, found: Values, strict: bool) -> None:
        if isinstance(part, SampleFrom):
            return
        if isinstance(part, Categorical):
            index = _category(part, config)
            if index is None:
                raise SearchSpaceError(
                    f"{self._owner}: {name}={shorten(config)} is no category of {shorten(part)}"
                )
            found[name] = index
            self._read(part.categories[index], config, f"{name}#{index}", found, strict)
        elif isinstance(part, Domain):
            found[name] = self._checked(part, config, name)
        elif isinstance(part, dict) or is_sequence(part):
            known = dict(_items(part))
            for key, value in _items(config):
                first, inner = first_step(known, key, value)
                if first in known:
                    self._read(known[first], inner, _joined(name, first), found, strict)
                elif strict:
                    self._refuse(_joined(name, first), known)
        elif strict and not same(part, config):
            raise SearchSpaceError(
                f"{self._owner}: {name}={shorten(config)} is not the search space's constant "
                f"{shorten(part)}"
            )

    def _checked(self, domain: Domain, value: Any, name: str) -> Any:
        if not domain.is_valid(value):
            raise SearchSpaceError(f"{self._owner}: {name}={shorten(value)} is not in {domain}")
        return domain.nearest(value) if isinstance(domain, Float | Integer) else float(value)

    def _refuse(self, name: str, known: Mapping[Any, Any]) -> NoReturn:
        names = ", ".join(map(repr, known)) or "no parameters"
        raise SearchSpaceError(
            f"{self._owner}: {name!r} is not in the search space, which has {names} here"
            f"{did_you_mean(name.rpartition('/')[2], map(str, known))}"
        )


def _is_searched(part: Any) -> bool:
    if isinstance(part, Domain):
        return not isinstance(part, SampleFrom)
    return any(_is_searched(item) for _, item in _items(part))


def _items(part: Any) -> list[tuple[Any, Any]]:
    if isinstance(part, Mapping):
        return [*part.items()]
    return [*enumerate(part)] if is_sequence(part) else []


def _joined(name: str, key: Any) -> str:
    return f"{name}/{key}" if name else str(key)


def _category(domain: Categorical, value: Any) -> int | None:
    """The category that has given a value: the most similar one."""
    for fits in (_alike, same, _could_be):
        for index, category in enumerate(domain.categories):
            if fits(category, value):
                return index
    return None


def _alike(category: Any, value: Any) -> bool:
    return type(category) is type(value) and same(category, value)


def _could_be(part: Any, value: Any) -> bool:
    if isinstance(part, Categorical):
        return _category(part, value) is not None
    if isinstance(part, Domain):
        return part.is_valid(value)
    if isinstance(part, dict):
        return (
            isinstance(value, Mapping)
            and all(key in part for key in value)
            and all(_could_be(item, value[key]) for key, item in part.items() if key in value)
        )
    if is_sequence(part):
        return is_sequence(value) and len(value) == len(part) and all(map(_could_be, part, value))
    return same(part, value)
