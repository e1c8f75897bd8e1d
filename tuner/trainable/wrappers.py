"""`with_parameters` and `with_resources`: trainables that carry large objects or requests."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from tuner.errors import TrainableError
from tuner.placement import (
    PlacementGroupFactory,
    ResourceRequest,
    as_placement,
    depends_on_config,
)
from tuner.trainable.converters import converted
from tuner.trainable.parameters import Parameters
from tuner.trainable.trainable import Trainable, is_trainable_class

TrainableLike = Any
"""A function of the configuration, or a subclass of `Trainable`."""


class WrappedFunction:
    """A function trainable with the keyword arguments and resources that go with it.

    Attributes:
        function: What the user wrote.
        parameters: Keyword arguments for it, beside the configuration.
        resources: Its resources, None for the default.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        parameters: dict[str, Any],
        resources: ResourceRequest | None,
    ) -> None:
        self.function = function
        self.parameters = Parameters(parameters)
        self.resources = resources
        functools.update_wrapper(self, function)

    def __call__(self, config: dict[str, Any]) -> Any:
        return self.function(config, **self.parameters.take())


def with_parameters(trainable: TrainableLike, **kwargs: Any) -> TrainableLike:
    """Gives a trainable further arguments, which travel to the workers once, however large.

    Every trial gets its own copy of them, but for numpy arrays and the like: these are read-only,
    and lie in memory once however many trials read them.

    Args:
        trainable: A function `f(config, **kwargs)`, or a `Trainable` class with
            `setup(self, config, **kwargs)`.
        **kwargs: The arguments.

    Raises:
        TrainableError: it is neither, or does not take these arguments.

    Example:
        >>> def train(config, data):
        ...     return {"mean": sum(data) / len(data)}
        >>> with_parameters(train, data=[1, 2, 3])({})
        {'mean': 2.0}
    """
    trainable = converted(trainable, kwargs)
    _require_trainable(trainable, "with_parameters")
    if is_trainable_class(trainable):
        _require_arguments(trainable.setup, trainable.__name__ + ".setup", kwargs, skip=2)

        parameters = Parameters(kwargs)

        @functools.wraps(trainable.setup)
        def setup(self: Trainable, config: dict[str, Any], **others: Any) -> None:
            trainable.setup(self, config, **{**parameters.take(), **others})

        return _subclass(trainable, {"setup": setup})
    if isinstance(trainable, WrappedFunction):
        _require_arguments(trainable.function, trainable_name(trainable), kwargs, skip=1)
        merged = {**trainable.parameters.values, **kwargs}
        return WrappedFunction(trainable.function, merged, trainable.resources)
    _require_arguments(trainable, trainable_name(trainable), kwargs, skip=1)
    return WrappedFunction(trainable, kwargs, None)


def with_resources(trainable: TrainableLike, resources: ResourceRequest) -> TrainableLike:
    """Says what each trial of a trainable needs; the default is one CPU.

    Args:
        trainable: A function or `Trainable` class.
        resources: Amounts such as `{"cpu": 2, "gpu": 0.5, "license": 1}`, a
            `PlacementGroupFactory`, a `ScalingConfig` of `ray.train` or a dictionary of its fields,
            such as `{"num_workers": 2, "resources_per_worker": {"CPU": 4}}`, or a function from the
            configuration to one of these.

    Raises:
        ConfigError: an amount is negative or no number.

    Example:
        >>> def train(config):
        ...     pass
        >>> trainable = with_resources(train, {"cpu": 2})
        >>> resources_for(trainable, {}).required_resources
        {'CPU': 2.0}
    """
    trainable = converted(trainable)
    _require_trainable(trainable, "with_resources")
    vary = depends_on_config(resources)
    if not vary:
        resources = as_placement(resources)
    if is_trainable_class(trainable):

        def request(cls: type[Trainable], config: dict[str, Any]) -> PlacementGroupFactory:
            return as_placement(resources(config) if vary else resources)

        members = {
            "default_resource_request": classmethod(request),
            "_resources_vary": vary,
        }
        return _subclass(trainable, members)
    if isinstance(trainable, WrappedFunction):
        return WrappedFunction(trainable.function, trainable.parameters.values, resources)
    return WrappedFunction(trainable, {}, resources)


def resources_for(trainable: TrainableLike, config: dict[str, Any]) -> PlacementGroupFactory:
    """What a trial of this trainable with this configuration needs."""
    request: Any = None
    if is_trainable_class(trainable):
        request = trainable.default_resource_request(config)
    elif isinstance(trainable, WrappedFunction):
        request = trainable.resources
        if callable(request):
            request = request(config)
    return as_placement({"CPU": 1} if request is None else request)


def resources_vary(trainable: TrainableLike) -> bool:
    """Whether what a trial needs may depend on its configuration."""
    if isinstance(trainable, WrappedFunction):
        return callable(trainable.resources)
    if not is_trainable_class(trainable):
        return False
    if trainable._resources_vary is not None:
        return bool(trainable._resources_vary)
    return _request_of(trainable) is not _request_of(Trainable)


def _request_of(trainable: type[Trainable]) -> Any:
    return inspect.getattr_static(trainable, "default_resource_request")


def trainable_name(trainable: Any) -> str:
    """The name that trials of this trainable carry."""
    while not hasattr(trainable, "__name__"):
        if isinstance(trainable, functools.partial):
            trainable = trainable.func
        elif hasattr(trainable, "__wrapped__"):
            trainable = trainable.__wrapped__
        else:
            return type(trainable).__name__
    return "lambda" if trainable.__name__ == "<lambda>" else str(trainable.__name__)


def check_trainable(trainable: Any, where: str = "Tuner") -> None:
    """Refuses what cannot be trained.

    Args:
        trainable: What was given.
        where: What it was given to.

    Raises:
        TrainableError: it is no function of one configuration and no `Trainable` class.
    """
    _require_trainable(trainable, where)
    if inspect.isclass(trainable):
        return
    given: dict[str, Any] = {}
    if isinstance(trainable, WrappedFunction):
        trainable, given = trainable.function, trainable.parameters.values
    try:
        inspect.signature(trainable).bind({}, **given)
    except TypeError as error:
        raise TrainableError(
            f"{where}: trainable {trainable_name(trainable)!r} cannot be called with one argument, "
            f"the configuration ({error}); give further arguments by with_parameters; one to "
            "report by is called 'reporter'"
        ) from None
    except ValueError:  # a builtin without a signature
        return


def _require_trainable(trainable: Any, where: str) -> None:
    if inspect.isclass(trainable):
        if not issubclass(trainable, Trainable):
            raise TrainableError(
                f"{where}: class {trainable.__name__!r} must be a subclass of tuner.Trainable"
            )
        _require_sync(trainable.step, f"{trainable.__name__}.step", where)
        return
    if isinstance(trainable, WrappedFunction):
        trainable = trainable.function
    _require_sync(trainable, trainable_name(trainable), where)
    if not callable(trainable):
        raise TrainableError(
            f"{where}: trainable={trainable!r:.100} must be a function, a Trainable class or a "
            "registered name"
        )


def _require_sync(function: Any, name: str, where: str) -> None:
    while isinstance(function, functools.partial):
        function = function.func
    for each in (function, type(function).__call__):
        if inspect.iscoroutinefunction(each) or inspect.isasyncgenfunction(each):
            raise TrainableError(
                f"{where}: {name!r} is an async function, of which nothing would run; give one "
                "that is not, and call asyncio.run(…) in it"
            )


def _require_arguments(
    function: Callable[..., Any], name: str, kwargs: dict[str, Any], *, skip: int
) -> None:
    parameters = list(inspect.signature(function).parameters.values())
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return
    accepted = [parameter.name for parameter in parameters[skip:]]
    for key in kwargs:
        if key not in accepted:
            known = ", ".join(accepted) or "none"
            raise TrainableError(
                f"with_parameters: {name}() takes no argument {key!r} beside the configuration "
                f"(it takes: {known})"
            )


def _subclass(trainable: type[Trainable], members: dict[str, Any]) -> type[Trainable]:
    members["__module__"] = trainable.__module__
    return type(trainable.__name__, (trainable,), members)
