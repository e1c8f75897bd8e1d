"""Keeps the fuzzer from ending the experiment that it asks; schemathesis loads it."""

from __future__ import annotations

import os
from typing import Any

import schemathesis

LONG_S, MANY = 3600, 1_000_000


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Raises limits that are low, and names parameters; what is wrong with a body stays wrong."""
    if case.path == "/experiment" and isinstance(case.body, dict):
        least = {"time_budget_s": LONG_S, "num_samples": MANY}
        raised = {
            name: max(case.body[name], bound)
            for name, bound in least.items()
            if _is_positive(case.body.get(name))
        }
        case.body = {**case.body, **raised}
    names = os.environ.get("TUNER_FUZZ_NAMES", "").split()
    spec = case.body.get("spec") if isinstance(case.body, dict) else None
    if names and isinstance(spec, dict) and isinstance(spec.get("config"), dict):
        named = dict(zip(names, spec["config"].values(), strict=False))
        case.body = {**case.body, "spec": {**spec, "config": named}}


def _is_positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0
