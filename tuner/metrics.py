"""Reading numbers out of a result: numpy and torch scalars too, with errors that help."""

from typing import Any

from tuner.errors import ConfigError
from tuner.flatten import lookup
from tuner.result_fields import AUTOFILLED
from tuner.validation import did_you_mean, shorten


def as_number(value: Any) -> float | None:
    """`value` as a float, or None if it is not one number; takes numpy and torch scalars.

    Example:
        >>> as_number(3), as_number("3")
        (3.0, None)
    """
    if type(value) is float:
        return value
    if isinstance(value, str | bytes) or not hasattr(value, "__float__"):
        return None
    if getattr(value, "ndim", 0):
        return None
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")
    except (TypeError, ValueError, RuntimeError):  # masked numbers, tensors without data
        return None


def required_number(result: dict[str, Any], key: str, *, role: str, trial_id: str) -> float:
    """The number at `key`.

    Args:
        result: What the trial reported.
        key: Name of the value, `"a/b"` for a nested one.
        role: The argument that named it, such as `"metric"`; for the error.
        trial_id: Who reported; for the error.

    Raises:
        ConfigError: If it is missing or not a number; says which values the result has.

    Example:
        >>> required_number({"loss": 0.5}, "los", role="metric", trial_id="7f_00001")
        Traceback (most recent call last):
            ...
        tuner.errors.ConfigError: metric='los': trial 7f_00001 did not report it, only ['loss']; \
report it or name one of these; did you mean 'loss'?
    """
    value = lookup(result, key, _MISSING)
    if value is _MISSING:
        names = [str(name) for name in result if name not in _NOT_NAMED]
        raise ConfigError(
            f"{role}={key!r}: trial {trial_id} did not report it, only {shorten(names, 300)}; "
            f"report it or name one of these{did_you_mean(key, names)}"
        )
    number = as_number(value)
    if number is None:
        raise ConfigError(
            f"{role}={key!r}: trial {trial_id} reported {shorten(value)}; report a number"
        )
    return number


_MISSING = object()
_NOT_NAMED = (AUTOFILLED | {"config"}) - {"training_iteration", "time_total_s"}
