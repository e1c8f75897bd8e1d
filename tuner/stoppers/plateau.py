"""What the plateau stoppers share: when do values no longer move?"""

import math
from collections.abc import Sequence


def spread(values: Sequence[float]) -> float:
    """Population standard deviation; NaN if a value is NaN or infinite.

    Example:
        >>> spread([1.0, 3.0])
        1.0
    """
    if not all(map(math.isfinite, values)):
        return math.nan
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values))
