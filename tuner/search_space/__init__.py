"""Search spaces: domains, `grid_search`, `sample_from`, and their configurations."""

from tuner.search_space.constructors import (
    choice,
    grid_search,
    lograndint,
    loguniform,
    qlograndint,
    qloguniform,
    qrandint,
    qrandn,
    quniform,
    randint,
    randn,
    sample_from,
    uniform,
)
from tuner.search_space.domains import Categorical, Domain, Float, Integer, Normal, SampleFrom
from tuner.search_space.streams import as_seed
from tuner.search_space.tags import format_tag
from tuner.search_space.variants import (
    SearchSpace,
    evaluated_params,
    grid_size,
    has_unresolved,
    resolve,
)

__all__ = [
    "Categorical",
    "Domain",
    "Float",
    "Integer",
    "Normal",
    "SampleFrom",
    "SearchSpace",
    "as_seed",
    "choice",
    "evaluated_params",
    "format_tag",
    "grid_search",
    "grid_size",
    "has_unresolved",
    "lograndint",
    "loguniform",
    "qlograndint",
    "qloguniform",
    "qrandint",
    "qrandn",
    "quniform",
    "randint",
    "randn",
    "resolve",
    "sample_from",
    "uniform",
]
