"""What other libraries and older APIs train, as trainables of this one: who converts it.

A library is known by where its classes come from. Its integration is imported when such a class, or
an object of one, is given; it has `as_trainable(object)`. One whose library has names for what it
trains also has `trainable_named(name)`, which is None for a name that is not its own, and the set
`NAMES`.

A function is one of an older API if it takes a reporter beside the configuration, or the folder of
its last checkpoint.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Collection
from typing import Any

from tuner.trainable.trainable import is_trainable_class

_INTEGRATIONS = {
    "ray.rllib": "tuner.integrations.rllib",
    "ray.train": "tuner.integrations.ray_train",
}
"""By package: the integration for its classes and their objects."""

_NAMING = ("tuner.integrations.rllib",)
"""The integrations whose libraries have names for what they train."""


def converted(trainable: Any, given: Collection[str] = ()) -> Any:
    """A trainable of this library for one of another library or API; all else as it is.

    Args:
        trainable: Whatever it is.
        given: Arguments that the user gives to a function, beside the configuration.
    """
    if is_trainable_class(trainable):
        return trainable
    kind = trainable if inspect.isclass(trainable) else type(trainable)
    for package, integration in _INTEGRATIONS.items():
        if any(f"{each.__module__}.".startswith(f"{package}.") for each in kind.__mro__):
            return importlib.import_module(integration).as_trainable(trainable)
    parameters = _parameters_of(trainable)
    reporter = _reporter_among(parameters)
    if reporter is not None and reporter not in given:
        from tuner.legacy.reporter_function import with_reporter

        return with_reporter(trainable, reporter)
    if _has_checkpoint_dir(parameters) and "checkpoint_dir" not in given:
        from tuner.legacy.checkpoint_dir import with_checkpoint_dir

        return with_checkpoint_dir(trainable)
    return trainable


def trainable_named(name: str) -> Any:
    """The trainable that a library has under a name, None if none has."""
    for integration in _NAMING:
        found = importlib.import_module(integration).trainable_named(name)
        if found is not None:
            return found
    return None


def names() -> set[str]:
    """The names that libraries have trainables for."""
    modules = (importlib.import_module(integration) for integration in _NAMING)
    return {name for module in modules for name in module.NAMES}


def _parameters_of(function: Any) -> list[inspect.Parameter]:
    """What a function takes beside the configuration; nothing for all else."""
    if not callable(function) or inspect.isclass(function):
        return []
    try:
        return [*inspect.signature(function).parameters.values()][1:]
    except ValueError:  # a builtin without a signature
        return []


def _reporter_among(parameters: list[inspect.Parameter]) -> str | None:
    """The name of the second parameter, if it has to be given and is a reporter's."""
    second = parameters[0] if parameters else None
    if second is None or second.kind is not second.POSITIONAL_OR_KEYWORD:
        return None
    return second.name if second.default is second.empty and "report" in second.name else None


def _has_checkpoint_dir(parameters: list[inspect.Parameter]) -> bool:
    """Whether one is `checkpoint_dir=None`, wherever it is."""
    return any(each.name == "checkpoint_dir" and each.default is None for each in parameters)
