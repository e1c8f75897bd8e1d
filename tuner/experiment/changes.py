"""What a scheduler wants changed: checked, and completed to the fact that it has changed."""

from __future__ import annotations

from tuner.errors import ResourceError, TunerError
from tuner.experiment import naming
from tuner.experiment.capacity import Capacity
from tuner.experiment.events import TrialChanged
from tuner.experiment.spec import ExperimentSpec
from tuner.experiment.trial import PAUSED, PENDING, Trial
from tuner.experiment.trial_table import TrialTable
from tuner.schedulers.change import Change, Stop


class Changes:
    """Checks what a scheduler's `changes` names.

    Args:
        owner: What errors call the scheduler.
        table: The trials.
        capacity: The resources that they share.
    """

    def __init__(self, owner: str, table: TrialTable, capacity: Capacity) -> None:
        self._owner = owner
        self._table = table
        self._capacity = capacity

    def trial(self, change: Change | Stop) -> Trial:
        """The trial that is to change.

        Raises:
            TunerError: There is none, or it is not in a state in which this can be changed.
        """
        trial = self._table.get(change.trial_id)
        is_more = isinstance(change, Stop) or (change.donor, change.config) != (None, None)
        allowed = (PAUSED,) if is_more else (PAUSED, PENDING)
        if trial is None or trial.status not in allowed:
            raise TunerError(
                f"{self._owner}.changes named {change.trial_id!r}, which is "
                f"{trial.status if trial else 'no trial'}; only paused trials can be changed, and "
                "the resources of pending ones"
            )
        return trial

    def fact(self, spec: ExperimentSpec, change: Change, now: float) -> TrialChanged:
        """The fact that a change has taken place.

        Args:
            spec: What the experiment is to do.
            change: The change.
            now: Unix time in seconds.

        Raises:
            TunerError: The trial cannot be changed, or its donor has no checkpoint.
            ResourceError: It is to have more than there is.
        """
        trial = self.trial(change)
        evaluated = tag = chosen = None
        missing = self._capacity.missing(change.bundles or [])
        if missing is not None:
            raise ResourceError(f"{self._owner} gives {trial} {missing}: let it give less")
        if change.config is not None:
            evaluated, tag = naming.changed_params(spec, trial, change.config)
            chosen = spec.param_space.chosen_objects(change.config)
        return TrialChanged(
            time=now,
            trial_id=trial.trial_id,
            donor=change.donor,
            checkpoint=None if change.donor is None else self._lent_by(change.donor),
            config=change.config,
            evaluated_params=evaluated,
            experiment_tag=tag,
            chosen_objects=chosen,
            bundles=change.bundles,
            is_logged=change.is_logged,
        )

    def _lent_by(self, donor_id: str) -> str:
        donor = self._table.get(donor_id)
        point = donor.resume_point if donor is not None else None
        if point is None:
            raise TunerError(
                f"{self._owner}.changes named {donor_id!r} as a donor, which is no trial that has "
                "a checkpoint"
            )
        return point.name
