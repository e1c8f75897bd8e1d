"""Functions `(config, reporter)`: the reporter is a parameter, like those of `with_parameters`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tuner.legacy.deprecation import warn_once
from tuner.legacy.metrics import old_metrics
from tuner.legacy.resources import Resources
from tuner.trainable.session import get_context, report
from tuner.trainable.wrappers import WrappedFunction


class Reporter:
    """What a function of `(config, reporter)` reports its results by.

    Example:
        >>> def train(config, reporter):
        ...     for step in range(10):
        ...         reporter(timesteps_total=step, mean_accuracy=config["lr"] * step)
    """

    def __call__(self, _metrics: Mapping[str, Any] | float | None = None, /, **named: Any) -> None:
        """Reports a result, as `tune.report` does; the trial may end here.

        Args:
            _metrics: Metrics as a dictionary, or one as a number.
            **named: Metrics by name.

        Raises:
            ReportError: There are none, or some are given by name and some in a dictionary.
        """
        report(old_metrics("reporter", _metrics, named))

    @property
    def logdir(self) -> str | None:
        """Folder of the trial."""
        return get_context().get_trial_dir()

    @property
    def trial_id(self) -> str | None:
        """Id of the trial."""
        return get_context().get_trial_id()

    @property
    def trial_name(self) -> str | None:
        """Name of the trial."""
        return get_context().get_trial_name()

    @property
    def trial_resources(self) -> Resources | None:
        """Resources of the trial."""
        given = get_context().get_trial_resources()
        return None if given is None else Resources.of(given)


def with_reporter(function: Any, parameter: str) -> WrappedFunction:
    """A function of the configuration alone, for one that takes a reporter as well.

    Args:
        function: The function.
        parameter: What it calls the reporter.

    Example:
        >>> def train(config, reporter):
        ...     return {"score": config["x"]}
        >>> with_reporter(train, "reporter")({"x": 1})
        {'score': 1}
    """
    if isinstance(function, WrappedFunction):  # it has one already
        return function
    warn_once("a function of (config, reporter)", "one of (config) that calls tune.report({…})")
    return WrappedFunction(function, {parameter: Reporter()}, None)
