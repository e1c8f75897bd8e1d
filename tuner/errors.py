"""Every exception a user can meet, all below `TunerError`."""


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
        super().__init__(f"trial {trial_id} failed:\n{traceback}")
        self.trial_id = trial_id
        self.traceback = traceback

    def __reduce__(self) -> tuple[type["TrialError"], tuple[str, str]]:
        return TrialError, (self.trial_id, self.traceback)


class ResourceError(TunerError):
    """A trial asks for more than the machine or cluster can ever give."""


class StorageError(TunerError):
    """A path cannot be read or written as an experiment folder."""


class ExperimentLockedError(StorageError):
    """Another process is writing to this experiment folder."""


class JournalError(StorageError):
    """The experiment's journal is damaged; names segment and line."""


class MissingDependencyError(TunerError, ImportError):
    """An optional library is not installed; names the extra to install."""


class ResultError(TunerError, RuntimeError):
    """Results were asked for something that they do not hold."""


class ReportError(TunerError):
    """`report()` was called with something that is not a result."""
