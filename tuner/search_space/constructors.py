"""The functions with which a user writes a search space; names and signatures are `ray.tune`'s."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tuner.search_space.checks import listed
from tuner.search_space.domains import Categorical, Float, Integer, Normal, SampleFrom

GRID_KEY = "grid_search"


def uniform(lower: float, upper: float) -> Float:
    """A float drawn uniformly between two bounds.

    Args:
        lower: Lowest value.
        upper: Highest value.

    Raises:
        SearchSpaceError: If a bound is no finite number, or `lower` is above `upper`.

    Example:
        >>> -5 <= uniform(-5, -1).sample() <= -1
        True
    """
    return Float(lower, upper)


def quniform(lower: float, upper: float, q: float) -> Float:
    """A float drawn uniformly and rounded to a multiple of `q`; both bounds are possible.

    A bound takes half of what the other multiples take, since it is rounded to from one side.

    Args:
        lower: Lowest value, a multiple of `q`.
        upper: Highest value, a multiple of `q`.
        q: The step.

    Raises:
        SearchSpaceError: If the bounds are in the wrong order or no multiples of `q`, or `q` is
            not above 0 or larger than the range.

    Example:
        >>> sorted(set(quniform(-1, 0, 0.2).sample(size=200, random_state=0)))
        [-1.0, -0.8, -0.6, -0.4, -0.2, 0.0]
    """
    return Float(lower, upper, q=q)


def loguniform(lower: float, upper: float, base: float = 10) -> Float:
    """A float drawn so that its logarithm is uniform: every order of magnitude equally likely.

    Args:
        lower: Lowest value, above 0.
        upper: Highest value.
        base: Base of the logarithm. Any base gives the same distribution.

    Raises:
        SearchSpaceError: If the bounds are in the wrong order, or `lower` is not above 0.

    Example:
        >>> 1e-4 <= loguniform(1e-4, 1e-1).sample() <= 1e-1
        True
    """
    return Float(lower, upper, log=True, base=base)


def qloguniform(lower: float, upper: float, q: float, base: float = 10) -> Float:
    """A float drawn as by `loguniform` and rounded to a multiple of `q`; both bounds are possible.

    Args:
        lower: Lowest value, above 0 and a multiple of `q`.
        upper: Highest value, a multiple of `q`.
        q: The step.
        base: Base of the logarithm. Any base gives the same distribution.

    Raises:
        SearchSpaceError: As for `loguniform` and `quniform`.

    Example:
        >>> qloguniform(1e-4, 1e-1, 5e-5).sample(random_state=0)
        0.00815
    """
    return Float(lower, upper, log=True, base=base, q=q)


def randn(mean: float = 0.0, sd: float = 1.0) -> Normal:
    """A float drawn from a normal distribution.

    A list, as in `randn([1, 2])`, is refused: a normal distribution has nothing to choose from.

    Args:
        mean: Its mean.
        sd: Its standard deviation.

    Raises:
        SearchSpaceError: If one is no finite number, or `sd` is negative.

    Example:
        >>> isinstance(randn().sample(), float)
        True
    """
    return Normal(mean, sd)


def qrandn(mean: float, sd: float, q: float) -> Normal:
    """A float drawn from a normal distribution and rounded to a multiple of `q`.

    Args:
        mean: Mean of the distribution.
        sd: Its standard deviation.
        q: The step.

    Raises:
        SearchSpaceError: If one is no finite number, `sd` is negative, or `q` is not above 0.

    Example:
        >>> qrandn(10, 2, 0.2).sample(random_state=1)
        10.6
    """
    return Normal(mean, sd, q=q)


def randint(lower: int, upper: int) -> Integer:
    """A whole number drawn uniformly, `lower` included and `upper` not.

    Args:
        lower: Lowest value.
        upper: First value that is not drawn.

    Raises:
        SearchSpaceError: If a bound is no whole number, or nothing lies between them.

    Example:
        >>> sorted(set(randint(0, 3).sample(size=100, random_state=0)))
        [0, 1, 2]
    """
    return Integer(lower, upper)


def qrandint(lower: int, upper: int, q: int = 1) -> Integer:
    """A multiple of `q` drawn uniformly, `lower` and `upper` included.

    With `q=1`, `upper` is not included, as in `randint` (and as in `ray.tune`).

    Args:
        lower: Lowest value. It need not be a multiple of `q`.
        upper: Highest value. It need not be a multiple of `q`.
        q: The step.

    Raises:
        SearchSpaceError: If one is no whole number, or no multiple lies between the bounds.

    Example:
        >>> sorted(set(qrandint(0, 12, 4).sample(size=100, random_state=0)))
        [0, 4, 8, 12]
    """
    return Integer(lower, upper, q=q)


def lograndint(lower: int, upper: int, base: float = 10) -> Integer:
    """A whole number drawn log-uniformly, `lower` included and `upper` not.

    Args:
        lower: Lowest value, 1 or more.
        upper: First value that is not drawn.
        base: Base of the logarithm. Any base gives the same distribution.

    Raises:
        SearchSpaceError: If a bound is no whole number, or nothing lies between them.

    Example:
        >>> 1 <= lograndint(1, 1000).sample() < 1000
        True
    """
    return Integer(lower, upper, log=True, base=base)


def qlograndint(lower: int, upper: int, q: int, base: float = 10) -> Integer:
    """A multiple of `q` drawn log-uniformly, `lower` and `upper` included.

    With `q=1`, `upper` is not included, as in `lograndint` (and as in `ray.tune`).

    Args:
        lower: Lowest value, 1 or more. It need not be a multiple of `q`.
        upper: Highest value. It need not be a multiple of `q`.
        q: The step.
        base: Base of the logarithm. Any base gives the same distribution.

    Raises:
        SearchSpaceError: If one is no whole number, or no multiple lies between the bounds.

    Example:
        >>> sorted(set(qlograndint(2, 10, 2).sample(size=100, random_state=0)))
        [2, 4, 6, 8, 10]
    """
    return Integer(lower, upper, log=True, base=base, q=q)


def choice(categories: Sequence[Any]) -> Categorical:
    """One of some values of any kind, each as likely as the others.

    Args:
        categories: The values; one that is a domain, or holds domains, is resolved when chosen.

    Raises:
        SearchSpaceError: If there are none, or it is a single text.

    Example:
        >>> choice(["relu", "tanh"]).sample() in ("relu", "tanh")
        True
    """
    return Categorical(categories)


def sample_from(func: Callable[..., Any]) -> SampleFrom:
    """A value that a function gives, which may read the other parameters.

    Args:
        func: Called with one argument, from which it reads `spec.config.name` (or
            `spec["config"]["name"]`, `spec["name"]`), in any order of definition; or with none.
            It may draw from `random` and `np.random`, which are seeded for the call, and may
            return a domain, which is then drawn from.

    Raises:
        SearchSpaceError: If it is no function, or takes other arguments.

    Example:
        >>> space = {"width": 8, "depth": sample_from(lambda spec: spec.config.width // 2)}
        >>> space["depth"].sample({"width": 8})
        4
    """
    return SampleFrom(func)


def grid_search(values: Iterable[Any]) -> dict[str, list[Any]]:
    """Every one of some values, in a trial of its own; several grids give every combination.

    Args:
        values: The values. One that is a domain or a grid, or holds some, is resolved in turn.

    Returns:
        `{"grid_search": [...]}`; the same written out means the same.

    Raises:
        SearchSpaceError: If there are none, or it is a single text.

    Example:
        >>> grid_search(range(3))
        {'grid_search': [0, 1, 2]}
    """
    return {GRID_KEY: listed(GRID_KEY, values)}
