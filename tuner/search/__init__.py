"""Search algorithms: what proposes the configurations of trials."""

from tuner.search.basic_variant import BasicVariantGenerator
from tuner.search.concurrency_limiter import ConcurrencyLimiter
from tuner.search.repeater import Repeater
from tuner.search.searcher import Searcher

__all__ = ["BasicVariantGenerator", "ConcurrencyLimiter", "Repeater", "Searcher"]
