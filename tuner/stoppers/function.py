"""Stops a trial when a user's function says so."""

import inspect
from collections.abc import Callable
from typing import Any

from tuner.stoppers.stopper import Stopper
from tuner.validation import reject


class FunctionStopper(Stopper):
    """Stops a trial when `function(trial_id, result)` is true.

    Args:
        function: Called with the trial's id and each of its results. It is pickled by cloudpickle,
            so a lambda or a function of a script will do.

    Raises:
        ConfigError: It is not a function, or cannot be called with two arguments.

    Example:
        >>> stopper = FunctionStopper(lambda trial_id, result: result["loss"] < 0.1)
        >>> stopper("trial", {"loss": 0.05})
        True
    """

    def __init__(self, function: Callable[[str, dict[str, Any]], bool]) -> None:
        _check_takes_trial_id_and_result(function)
        self._function = function

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """What the function says."""
        return bool(self._function(trial_id, result))

    def __getstate__(self) -> dict[str, Any]:
        import cloudpickle

        return {**self.__dict__, "_function": cloudpickle.dumps(self._function)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        import cloudpickle

        self.__dict__.update(state, _function=cloudpickle.loads(state["_function"]))


def _check_takes_trial_id_and_result(function: object) -> None:
    if isinstance(function, type) or not callable(function):
        reject("stop", "function", function, "give a function (trial_id, result) -> bool")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some functions written in C have none
        return
    try:
        signature.bind("trial_id", {})
    except TypeError:
        reject("stop", "function", function, f"it takes {signature}, make it (trial_id, result)")
