"""What a second run of an experiment that goes on may say anew, and what it cannot change."""

from __future__ import annotations

import re
from typing import Any

from tuner.config import RunConfig, TuneConfig
from tuner.description import readable

HOW_IT_IS_RUN = (
    "callbacks",
    "failure_config",
    "sync_config",
    "progress_reporter",
    "verbose",
    "log_to_file",
    "executor",
    "server",
)
"""Fields of a `RunConfig` that do not describe the experiment, but how it is run."""

_ELSEWHERE = frozenset(
    {*HOW_IT_IS_RUN, "name", "storage_path", "storage_filesystem", "max_concurrent_trials"}
)
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def said_anew(config: RunConfig) -> dict[str, Any]:
    """The fields of how an experiment is run that are not left at their defaults.

    Example:
        >>> said_anew(RunConfig(name="mnist", verbose=0))
        {'verbose': 0}
    """
    default = RunConfig()
    fields = {name: getattr(config, name) for name in HOW_IT_IS_RUN}
    return {name: value for name, value in fields.items() if value != getattr(default, name)}


def unheeded(now: TuneConfig | RunConfig, before: TuneConfig | RunConfig) -> list[str]:
    """The fields of a description that are given, and differ from those that it began with.

    Objects are compared by what they say of themselves, which may be their class alone.

    Args:
        now: A config of the second run.
        before: The same of the first one.

    Example:
        >>> unheeded(TuneConfig(num_samples=3, seed=1), TuneConfig(num_samples=2, seed=1))
        ['num_samples']
    """
    given, stored, default = readable(now), readable(before), readable(type(now)())
    return [
        name
        for name in given
        if name not in _ELSEWHERE and _is_unheeded(given[name], stored[name], default[name])
    ]


def _is_unheeded(given: Any, stored: Any, default: Any) -> bool:
    if isinstance(default, dict):  # a config in the config
        return any(_is_unheeded(given[name], stored[name], default[name]) for name in default)
    return given != default and _text(given) != _text(stored)


def _text(value: Any) -> str:
    return _ADDRESS.sub("", repr(value))
