"""Keeps the fuzzer from ending the experiment that it asks; schemathesis loads it."""

from __future__ import annotations

from typing import Any

import schemathesis

LONG_S, MANY = 3600, 1_000_000


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Raises limits that are low; what is wrong with a body stays wrong."""
    if case.path == "/experiment" and isinstance(case.body, dict):
        least = {"time_budget_s": LONG_S, "num_samples": MANY}
        raised = {
            name: max(case.body[name], bound)
            for name, bound in least.items()
            if _is_positive(case.body.get(name))
        }
        case.body = {**case.body, **raised}


def _is_positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0
