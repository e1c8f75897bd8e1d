"""HyperBand that tells the searcher at which budget a result was reached."""

from __future__ import annotations

from typing import Any

from tuner.schedulers.hyperband import HyperBandScheduler
from tuner.schedulers.scheduler import ExperimentView, TrialView


class HyperBandForBOHB(HyperBandScheduler):
    """HyperBand for BOHB, whose searcher models trials by the budget that they were given.

    Source: Falkner et al., "BOHB: Robust and Efficient Hyperparameter Optimization at Scale", 2018
    (arXiv:1807.01774).

    It decides as `HyperBandScheduler` does: one bracket is filled at a time, and new trials are
    begun only when none that was promoted can run, so that the searcher proposes them with all
    results in mind. A searcher that waits for results before it proposes more holds nothing up: a
    bracket is then halved with those that it has, and takes no more.

    Each result gets an entry `hyperband_info`, before the searcher is told: `{"budget": r}` for a
    result at which the trial reached its rung, r being the rung's time in units of `time_attr`,
    and `{}` for all others. A trial that ends there by itself, as by `stop`, has reached it too.

    Takes the arguments of `HyperBandScheduler`, and raises what it raises.

    Example:
        >>> scheduler = HyperBandForBOHB(metric="loss", mode="min", max_t=27)
        >>> scheduler.debug_string()
        'HyperBandForBOHB: 0 trials dropped'
    """

    def on_trial_result(
        self, experiment: ExperimentView, trial: TrialView, result: dict[str, Any]
    ) -> str:
        """Pause the trial at its rung, or stop it at `max_t`; note the budget in the result."""
        decision = super().on_trial_result(experiment, trial, result)
        milestone = self._live[trial.trial_id].milestone
        reached = decision != self.CONTINUE
        result["hyperband_info"] = {"budget": milestone} if reached else {}
        return decision

    def on_trial_complete(
        self, experiment: ExperimentView, trial: TrialView, result: dict[str, Any]
    ) -> None:
        """The trial leaves its bracket; a last result that was not decided on gets its entry."""
        place = self._live.get(trial.trial_id)
        if result and "hyperband_info" not in result:
            reached = (
                place is not None
                and self._is_complete(result)
                and self._time(trial.trial_id, result) >= place.milestone
            )
            result["hyperband_info"] = {"budget": place.milestone} if place and reached else {}
        super().on_trial_complete(experiment, trial, result)
