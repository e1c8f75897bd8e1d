"""First in, first out."""

from tuner.schedulers.scheduler import TrialScheduler


class FIFOScheduler(TrialScheduler):
    """Runs every trial to its end, in order of arrival.

    Example:
        >>> FIFOScheduler().debug_string()
        'FIFO: trials run to their end in order of arrival'
    """

    def debug_string(self) -> str:
        """What it does, as it has no state."""
        return "FIFO: trials run to their end in order of arrival"
