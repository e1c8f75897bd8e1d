"""Every exception a user can meet, all below `TunerError`."""

import contextlib


class TunerError(Exception):
    """Base of all errors raised by this library."""


TuneError = TunerError
"""The name that `ray.tune` has for it."""


class ConfigError(TunerError, ValueError):
    """An argument or a config field has a value that cannot work; names field, value and fix."""


class SearchSpaceError(ConfigError):
    """A `param_space` cannot be turned into configurations."""


class CircularDependencyError(SearchSpaceError):
    """Functions of `sample_from` need each other's values; names the parameters in the circle."""


class TrainableError(TunerError):
    """The trainable cannot be used: unknown name, wrong signature, cannot be pickled."""


class TrialError(TunerError):
    """A trial failed; `str()` shows its traceback.

    Attributes:
        trial_id: The trial that failed.
        traceback: The worker's traceback, or what ended its process, as text.
    """

    def __init__(self, trial_id: str, traceback: str) -> None:
        Exception.__init__(self, f"trial {trial_id} failed:\n{traceback}")
        self.trial_id = trial_id
        self.traceback = traceback

    @classmethod
    def caused_by(cls, cause: BaseException, trial_id: str, traceback: str) -> "TrialError":
        """An error that is of the class of the trial's exception as well, which is its cause.

        Example:
            >>> error = TrialError.caused_by(KeyError("lr"), "7f_00001", "KeyError: 'lr'")
            >>> isinstance(error, KeyError), error.__cause__
            (True, KeyError('lr'))
        """
        error = cls(trial_id, traceback)
        if isinstance(cause, Exception):
            with contextlib.suppress(TypeError):  # some classes cannot be combined, or are final
                error = _combined(cls, type(cause))(trial_id, traceback)
        error.__cause__ = cause
        return error

    def __str__(self) -> str:
        return str(self.args[0])

    def __reduce__(self) -> tuple[type["TrialError"], tuple[str, str]]:
        return TrialError, (self.trial_id, self.traceback)


def _combined(one: type[TrialError], other: type[Exception]) -> type[TrialError]:
    name = f"{one.__name__}({other.__name__})"
    return type(name, (one, other), {"__module__": one.__module__})


class ResourceError(TunerError):
    """A trial asks for more than the machine or cluster can ever give."""


class StorageError(TunerError):
    """A path cannot be read or written as an experiment folder."""


class ExperimentLockedError(StorageError):
    """Another process is writing to this experiment folder."""


class JournalError(StorageError):
    """The experiment's journal is damaged; names segment and line."""


class DeliveryError(TunerError):
    """A logger could not bring all it had to where it logs; says what, and what brings it there."""


class MissingDependencyError(TunerError, ImportError):
    """An optional library is not installed; names the extra to install."""


class ResultError(TunerError, RuntimeError):
    """Results were asked for something that they do not hold."""


class ReportError(TunerError):
    """`report()` was called with something that is not a result."""


class ServerError(TunerError):
    """A running experiment did not do what was asked of it, or cannot be reached; says why.

    Attributes:
        status: The HTTP status of its answer, None if it cannot be reached.
        field: The part of the request that was wrong, None if it was none of them.
    """

    def __init__(self, message: str, status: int | None = None, field: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.field = field
