"""The interface of everything that shows the progress of an experiment at its own pace."""

from __future__ import annotations

import time
from typing import Any

from tuner.experiment.trial import Trial


class ProgressReporter:
    """Shows progress: subclass it, say when in `should_report` and what in `report`.

    `setup` is called once, when `fit()` begins. From then on `should_report` is asked about
    twice a second, and soon after something has happened; where it agrees, `report` follows.
    At the end both are called once more with `done=True`. What they raise ends the experiment.

    Example:
        >>> class Dots(ProgressReporter):
        ...     def should_report(self, trials, done=False):
        ...         return done
        ...     def report(self, trials, done, *sys_info):
        ...         print(len(trials), "trials", "." * len(trials))
        >>> Dots().report(["a", "b", "c"], done=True)
        3 trials ...
    """

    _metric: str | None = None
    _mode: str | None = None
    _total_samples: int | None = None
    _start_time: float | None = None

    def setup(
        self,
        start_time: float | None = None,
        total_samples: int | None = None,
        metric: str | None = None,
        mode: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Called once before everything else.

        Args:
            start_time: When `fit()` began, Unix time in seconds.
            total_samples: How many trials there will be, None if unknown or unlimited.
            metric: The metric that is tuned.
            mode: `"min"` or `"max"`.
            **kwargs: Whatever later versions may add.
        """
        self.set_start_time(start_time)
        if total_samples is not None:
            self.set_total_samples(total_samples)
        self.set_search_properties(metric, mode)

    def set_search_properties(self, metric: str | None, mode: str | None) -> bool:
        """Tells metric and mode; False if the reporter has its own, which stay."""
        self._metric, self._mode = metric, mode
        return True

    def set_total_samples(self, total_samples: int) -> None:
        """Tells how many trials there will be."""
        self._total_samples = total_samples

    def set_start_time(self, timestamp: float | None = None) -> None:
        """Tells when `fit()` began, Unix time in seconds; now, without it."""
        self._start_time = time.time() if timestamp is None else timestamp

    def should_report(self, trials: list[Trial], done: bool = False) -> bool:
        """Whether `report` should be called now.

        Args:
            trials: All trials in order of creation.
            done: Whether this is the last time.
        """
        raise NotImplementedError(f"{type(self).__name__} must define should_report()")

    def report(self, trials: list[Trial], done: bool, *sys_info: str) -> None:
        """Shows the progress.

        Args:
            trials: All trials in order of creation.
            done: Whether this is the last time.
            *sys_info: Lines about the machine: memory, scheduling algorithm, resources.
        """
        raise NotImplementedError(f"{type(self).__name__} must define report()")
