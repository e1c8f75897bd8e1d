"""The stopper that stops nothing."""

from tuner.stoppers.stopper import Stopper


class NoopStopper(Stopper):
    """Lets every trial run to its own end.

    Example:
        >>> NoopStopper()("trial", {"loss": 0.0})
        False
    """
