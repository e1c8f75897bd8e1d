"""Stops the experiment when its best results no longer change."""

from bisect import insort
from typing import Any

from tuner.flatten import lookup
from tuner.metrics import as_number
from tuner.stoppers.plateau import spread
from tuner.stoppers.stopper import Stopper
from tuner.validation import check_mode, check_number, check_text, check_whole


class ExperimentPlateauStopper(Stopper):
    """Stops all trials when the best values found hardly differ and no better one comes.

    The best `top` values of all results so far, over all trials, are a plateau when their
    standard deviation is at most `std`. The experiment ends when they were one at `patience`
    results in a row, or at the first with `patience=0`. A value that is missing or NaN is never
    among the best.

    Args:
        metric: The reported value to watch, `"a/b"` for a nested one.
        std: Standard deviation at which the best values are a plateau, in the unit of the metric.
        top: How many of the best values are compared, at least 2.
        mode: `"min"` or `"max"`: which values are the best.
        patience: Results in a row at which the best must be a plateau.

    Raises:
        ConfigError: An argument has a value that cannot work.

    Example:
        >>> stopper = ExperimentPlateauStopper("loss", top=2)
        >>> [stopper("trial", {"loss": loss}) for loss in (0.9, 0.3, 0.5, 0.3)]
        [False, False, False, True]
        >>> stopper.stop_all()
        True
    """

    def __init__(
        self,
        metric: str,
        std: float = 0.001,
        top: int = 10,
        mode: str = "min",
        patience: int = 0,
    ) -> None:
        owner = "ExperimentPlateauStopper"
        check_text(owner, "metric", metric, "use the name of a reported value")
        check_number(owner, "std", std, "use a number > 0")
        check_whole(owner, "top", top, "use a whole number >= 2", least=2)
        check_mode(owner, "mode", mode)
        check_whole(owner, "patience", patience, "use a whole number >= 0", least=0)
        self._metric = metric
        self._std = std
        self._top = top
        self._sign = 1.0 if mode == "min" else -1.0
        self._patience = patience
        self._seen = False
        self._best: list[float] = []  # ascending, the best first; negated for mode "max"
        self._plateau_results = 0  # how many results in a row left the best a plateau

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether the experiment, and this trial with it, ends."""
        value = as_number(lookup(result, self._metric))
        if value is not None:
            self._seen = True
            if value == value:
                insort(self._best, self._sign * value)
                del self._best[self._top :]
        is_plateau = len(self._best) == self._top and spread(self._best) <= self._std
        self._plateau_results = self._plateau_results + 1 if is_plateau else 0
        return self.stop_all()

    def stop_all(self) -> bool:
        """Whether the best values have been a plateau for long enough."""
        return self._plateau_results >= max(self._patience, 1)

    def unseen_keys(self) -> tuple[str, ...]:
        """The metric, as long as no result had it."""
        return () if self._seen else (self._metric,)
