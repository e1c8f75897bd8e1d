"""The domains a parameter can be drawn from: frozen, comparable values that check themselves."""

from __future__ import annotations

import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tuner.search_space.checks import call_text, fail, finite, listed, same, whole
from tuner.search_space.multiples import Multiples
from tuner.search_space.spec_view import Spec, plain_spec
from tuner.search_space.streams import as_generator, as_seed, preserved_globals, seed_globals

if TYPE_CHECKING:
    import numpy as np

    from tuner.search_space.streams import RandomState


class Domain(ABC):
    """What a parameter's value is drawn from."""

    @abstractmethod
    def draw(self, rng: np.random.Generator) -> Any:
        """Draws one value."""

    def is_valid(self, value: Any) -> bool:
        """Whether `value` could have been drawn; multiples of `q` are not insisted on."""
        return True

    def sample(
        self,
        config: Mapping[str, Any] | None = None,
        size: int = 1,
        random_state: RandomState = None,
    ) -> Any:
        """Draws values.

        Args:
            config: The configuration that a `sample_from` function reads; others ignore it.
            size: How many values.
            random_state: What to draw from: None for numpy's global stream, a seed, a
                `np.random.Generator`, or a `np.random.RandomState`.

        Returns:
            One value if `size` is 1, else a list of `size` values.

        Example:
            >>> values = Float(0, 1).sample(size=3, random_state=0)
            >>> len(values), all(0 <= value <= 1 for value in values)
            (3, True)
        """
        rng = as_generator(random_state)
        return self.draw(rng) if size == 1 else [self.draw(rng) for _ in range(size)]


@dataclass(frozen=True, repr=False)
class Float(Domain):
    """A float between two bounds, both possible.

    Attributes:
        lower: Lowest value.
        upper: Highest value.
        log: Whether to draw uniformly in the logarithm; then `lower` must be above 0.
        base: Base of that logarithm. Any base gives the same distribution.
        q: If given, a draw is rounded to a multiple of `q`; both bounds must be multiples.

    Raises:
        SearchSpaceError: If the bounds, `base` or `q` cannot work.

    Example:
        >>> Float(0, 1, q=0.25)
        quniform(0.0, 1.0, 0.25)
        >>> Float(5, 1)
        Traceback (most recent call last):
            ...
        tuner.errors.SearchSpaceError: uniform(5, 1): lower is above upper; swap the two
    """

    lower: float
    upper: float
    log: bool = False
    base: float = 10
    q: float | None = None

    def __post_init__(self) -> None:
        call = repr(self)
        lower = finite(call, "lower", self.lower)
        upper = finite(call, "upper", self.upper)
        _check_order(call, lower, upper)
        if self.log:
            _check_log(call, lower, 0.0, self.base)
        _set(self, lower=lower, upper=upper)
        if self.q is not None:
            _set(self, q=_checked_step(call, self.q, lower, upper))

    def __repr__(self) -> str:
        return _call("uniform", self)

    @cached_property
    def _multiples(self) -> tuple[Multiples, int, int] | None:
        if self.q is None:
            return None
        multiples = Multiples(self.q)
        first, last = multiples.index_of(self.lower), multiples.index_of(self.upper)
        assert first is not None
        assert last is not None
        return multiples, first, last

    def quantized(self, q: float) -> Float:
        """Returns the same domain with its values rounded to multiples of `q`.

        Example:
            >>> Float(0, 1).quantized(0.25)
            quniform(0.0, 1.0, 0.25)
        """
        return replace(self, q=q)

    def draw(self, rng: np.random.Generator) -> float:
        """Draws one value."""
        draw = _log_between if self.log else _between
        return self.nearest(draw(self.lower, self.upper, rng.random()))

    def nearest(self, value: float) -> float:
        """Returns the value of the domain that is nearest to another one.

        Example:
            >>> Float(0, 1, q=0.25).nearest(0.3), Float(0, 1).nearest(7)
            (0.25, 1.0)
        """
        value = min(max(float(value), self.lower), self.upper)
        if self._multiples is None:
            return value
        multiples, first, last = self._multiples
        index = multiples.nearest(value)
        if index <= first:
            return self.lower
        if index >= last:
            return self.upper
        return multiples.value(index)

    def is_valid(self, value: Any) -> bool:
        """Whether `value` is a number within the bounds."""
        return _within(value, self.lower, self.upper)


@dataclass(frozen=True, repr=False)
class Normal(Domain):
    """A float from a normal distribution, without bounds.

    Attributes:
        mean: Mean of the distribution.
        sd: Its standard deviation, 0 or greater.
        q: If given, a draw is rounded to a multiple of `q`.

    Raises:
        SearchSpaceError: If one of them cannot work.

    Example:
        >>> Normal(10, 2, q=0.2).sample(random_state=1)
        10.6
    """

    mean: float
    sd: float
    q: float | None = None

    def __post_init__(self) -> None:
        call = repr(self)
        mean: Any = self.mean
        if isinstance(mean, (list, tuple)):
            fail(call, "mean must be a number; to draw from a list, use choice(list)")
        _set(self, mean=finite(call, "mean", mean), sd=finite(call, "sd", self.sd))
        if self.sd < 0:
            fail(call, "sd is negative; give 0 or more")
        if self.q is not None:
            _set(self, q=_positive(call, "q", self.q))

    def __repr__(self) -> str:
        if self.q is None:
            return call_text("randn", self.mean, self.sd)
        return call_text("qrandn", self.mean, self.sd, self.q)

    @cached_property
    def _multiples(self) -> Multiples | None:
        return None if self.q is None else Multiples(self.q)

    def draw(self, rng: np.random.Generator) -> float:
        """Draws one value."""
        return self.nearest(self.mean + self.sd * float(rng.standard_normal()))

    def nearest(self, value: float) -> float:
        """Returns the value of the domain that is nearest to a number.

        Example:
            >>> Normal(0, 1, q=0.2).nearest(0.55), Normal(0, 1).nearest(7)
            (0.6, 7.0)
        """
        if self._multiples is None:
            return float(value)
        return self._multiples.value(self._multiples.nearest(value))

    def is_valid(self, value: Any) -> bool:
        """Whether `value` is a finite number."""
        return _within(value, -math.inf, math.inf) and math.isfinite(value)


@dataclass(frozen=True, repr=False)
class Integer(Domain):
    """A whole number from `lower` up to and without `upper`, or with it if `q` is above 1.

    Attributes:
        lower: Lowest value.
        upper: First value that is not drawn; with `q` above 1, the highest that may be.
        log: Whether to draw uniformly in the logarithm; then `lower` must be 1 or more.
        base: Base of that logarithm. Any base gives the same distribution.
        q: If given, only multiples of `q` are drawn. The bounds need not be multiples.

    Raises:
        SearchSpaceError: If the bounds, `base` or `q` cannot work.

    Example:
        >>> sorted(set(Integer(0, 10, q=3).sample(size=200, random_state=0)))
        [0, 3, 6, 9]
    """

    lower: int
    upper: int
    log: bool = False
    base: float = 10
    q: int | None = None

    def __post_init__(self) -> None:
        call = repr(self)
        lower, upper = whole(call, "lower", self.lower), whole(call, "upper", self.upper)
        _check_order(call, lower, upper)
        if self.log:
            _check_log(call, lower, 1, self.base)
        _set(self, lower=lower, upper=upper)
        if self.q is not None:
            _set(self, q=whole(call, "q", self.q))
            if self.q < 1:
                fail(call, f"q must be 1 or more, got {self.q}")
        first, end = self._indices
        if first < end:
            return
        if self.q is None or self.q == 1:
            fail(call, "nothing to draw, since upper itself is not drawn; raise upper by 1")
        fail(call, f"no multiple of q={self.q} lies between the bounds; lower q")

    def __repr__(self) -> str:
        return _call("randint", self)

    @property
    def least(self) -> int:
        """The lowest value."""
        return self._indices[0] * (self.q or 1)

    @property
    def most(self) -> int:
        """The highest value."""
        return (self._indices[1] - 1) * (self.q or 1)

    def nearest(self, value: float) -> int:
        """Returns the value of the domain that is nearest to a number.

        Example:
            >>> Integer(0, 10, q=3).nearest(5.2), Integer(0, 10).nearest(12)
            (6, 9)
        """
        step = self.q or 1
        return min(max(round(value / step) * step, self.least), self.most)

    @property
    def _indices(self) -> tuple[int, int]:
        """The first multiple of `q`, and the one after the last, as multipliers of `q`."""
        if self.q is None or self.q == 1:
            return self.lower, self.upper
        return -(-self.lower // self.q), self.upper // self.q + 1

    def quantized(self, q: int) -> Integer:
        """Returns the same domain with its values rounded to multiples of `q`.

        Example:
            >>> Integer(0, 10).quantized(5)
            qrandint(0, 10, 5)
        """
        return replace(self, q=q)

    def draw(self, rng: np.random.Generator) -> int:
        """Draws one value."""
        first, end = self._indices
        if self.log:
            index = min(math.floor(_log_between(first, end, rng.random())), end - 1)
        else:
            index = int(rng.integers(first, end))
        return index if self.q is None else index * self.q

    def is_valid(self, value: Any) -> bool:
        """Whether `value` is a whole number within the bounds."""
        last = self.upper - 1 if self.q is None or self.q == 1 else self.upper
        return _within(value, self.lower, last) and value == int(value)


@dataclass(frozen=True, repr=False, eq=False)
class Categorical(Domain):
    """One of some values of any kind, each as likely as the others.

    Attributes:
        categories: The values. One that is a domain, or holds domains, is resolved when chosen.

    Raises:
        SearchSpaceError: If there are none, or it is a single text.

    Example:
        >>> Categorical(["relu", "tanh"]).sample(random_state=0)
        'tanh'
    """

    categories: Sequence[Any]

    def __post_init__(self) -> None:
        _set(self, categories=tuple(listed("choice", self.categories)))

    def __repr__(self) -> str:
        return call_text("choice", list(self.categories))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Categorical):
            return NotImplemented
        return len(self.categories) == len(other.categories) and all(
            map(same, self.categories, other.categories)
        )

    def __hash__(self) -> int:
        return hash((Categorical, len(self.categories)))  # categories may not be hashable

    def draw_index(self, rng: np.random.Generator) -> int:
        """Draws the index of one category."""
        return int(rng.integers(len(self.categories)))

    def draw(self, rng: np.random.Generator) -> Any:
        """Draws one category, as it was given."""
        return self.categories[self.draw_index(rng)]

    def is_valid(self, value: Any) -> bool:
        """Whether `value` equals a category."""
        return any(same(value, category) for category in self.categories)


@dataclass(frozen=True, repr=False)
class SampleFrom(Domain):
    """A value that a function of the other parameters gives.

    Attributes:
        func: Takes one argument, through which it reads the configuration as
            `spec.config.name`, `spec["config"]["name"]` or `spec["name"]`; or takes none. It may
            return a domain, which is then drawn from.

    Raises:
        SearchSpaceError: If it is no function, or takes other arguments.

    Example:
        >>> SampleFrom(lambda spec: spec.config.width * 2).sample({"width": 8})
        16
    """

    func: Callable[..., Any]

    def __post_init__(self) -> None:
        if not callable(self.func):
            fail(repr(self), "needs a function, such as lambda spec: spec.config.x * 2")
        if self._arity is None:
            fail(repr(self), "the function must take one argument, such as lambda spec: ...")

    def __repr__(self) -> str:
        return f"sample_from({getattr(self.func, '__qualname__', None) or repr(self.func)})"

    @cached_property
    def _arity(self) -> int | None:
        try:
            signature = inspect.signature(self.func)
        except ValueError:  # functions written in C may not tell
            return 1
        for arity in (1, 0):
            try:
                signature.bind(*[None] * arity)
            except TypeError:
                continue
            return arity
        return None

    def call(self, spec: Spec) -> Any:
        """Calls the function; whatever it raises goes through."""
        return self.func(spec) if self._arity == 1 else self.func()

    def draw(self, rng: np.random.Generator) -> Any:
        """Calls the function on an empty configuration."""
        return self.sample(random_state=rng)

    def sample(
        self,
        config: Mapping[str, Any] | None = None,
        size: int = 1,
        random_state: RandomState = None,
    ) -> Any:
        """Calls the function, `random` and `np.random` seeded from `random_state` if it is given.

        Args:
            config: The configuration that the function reads.
            size: How many values.
            random_state: None to leave the global streams as they are, or what to seed them from
                for the calls; their former state is put back.

        Returns:
            One value if `size` is 1, else a list of `size` values.
        """
        spec = plain_spec(config or {})
        with nullcontext() if random_state is None else preserved_globals():
            if random_state is not None:
                seed_globals(as_seed(random_state) % 2**64)
            return self.call(spec) if size == 1 else [self.call(spec) for _ in range(size)]


def _set(domain: Domain, **fields: Any) -> None:
    """Puts checked values into a frozen domain while it is being built."""
    for name, value in fields.items():
        object.__setattr__(domain, name, value)


def _call(name: str, domain: Float | Integer) -> str:
    """Returns the constructor call that makes `domain`."""
    if domain.log:
        name = f"log{name}"
    args = [domain.lower, domain.upper]
    if domain.q is not None:
        name = f"q{name}"
        args.append(domain.q)
    text = call_text(name, *args)
    return text if domain.base == 10 else f"{text[:-1]}, base={domain.base!r})"


def _check_order(call: str, lower: float, upper: float) -> None:
    if lower > upper:
        fail(call, "lower is above upper; swap the two")


def _check_log(call: str, lower: float, least: float, base: Any) -> None:
    if lower < least or lower == 0:
        bound = "1 or more" if least else "above 0"
        fail(call, f"lower must be {bound} on a log scale; give the bounds themselves, not logs")
    if finite(call, "base", base) <= 0 or base == 1:
        fail(call, f"base must be above 0 and not 1, got {base!r}")


def _positive(call: str, name: str, value: Any) -> float:
    number = finite(call, name, value)
    if number <= 0:
        fail(call, f"{name} must be above 0, got {number!r}")
    return number


def _checked_step(call: str, q: Any, lower: float, upper: float) -> float:
    step = _positive(call, "q", q)
    multiples = Multiples(step)
    for name, bound in (("lower", lower), ("upper", upper)):
        if multiples.index_of(bound) is not None:
            continue
        if lower < upper and step > upper - lower:
            fail(call, f"q is larger than the range; give at most {upper - lower!r}")
        near = multiples.value(multiples.nearest(bound))
        fail(call, f"{name}={bound!r} is no multiple of q={step!r}; the nearest is {near!r}")
    return step


def _between(lower: float, upper: float, fraction: float) -> float:
    """Returns the number at `fraction` of the way from `lower` to `upper`, never outside."""
    return min(max(lower * (1 - fraction) + upper * fraction, lower), upper)


def _log_between(lower: float, upper: float, fraction: float) -> float:
    """Returns the number at `fraction` of the way in the logarithm, never outside."""
    exponent = math.log(lower) * (1 - fraction) + math.log(upper) * fraction
    return min(max(math.exp(exponent), lower), upper)


def _within(value: Any, lower: float, upper: float) -> bool:
    try:
        return bool(lower <= value <= upper)
    except (TypeError, ValueError):  # not a number, or several
        return False
