"""One trial trained with the hyperparameter schedule that population based training found."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from itertools import pairwise
from os import PathLike
from typing import Any, NamedTuple, NoReturn

from tuner.errors import ConfigError
from tuner.metrics import as_number
from tuner.schedulers.change import Change, Stop
from tuner.schedulers.scheduler import ExperimentView, TrialScheduler, TrialView
from tuner.validation import check_text, shorten

logger = logging.getLogger(__name__)

_FIELDS = 6  # of a line: two tags, two iterations, two configurations


class PopulationBasedTrainingReplay(TrialScheduler):
    """Trains one trial with the schedule of configurations in a policy file.

    `PopulationBasedTraining` writes `pbt_policy_<trial_id>.txt` into the experiment's folder; the
    files of `ray.tune` have the same format. The trial begins with the first configuration of the
    trial that the others descend from, and at each recorded iteration it pauses and goes on from
    its own checkpoint with the next one. What the `param_space` has beyond that is kept.

    Args:
        policy_file: Path of the policy file, read at once; `~` is the home folder.

    Attributes:
        config: The first configuration.
        current_config: The one that the trial has now.

    Raises:
        ConfigError: The file is missing or no policy file; later, when there is a second trial.

    Example:
        >>> import json, os, tempfile
        >>> path = os.path.join(tempfile.mkdtemp(), "pbt_policy_a_00001.txt")
        >>> with open(path, "w") as file:
        ...     print(json.dumps(["1", "0", 10, 10, {"lr": 0.1}, {"lr": 0.08}]), file=file)
        >>> replay = PopulationBasedTrainingReplay(path)
        >>> replay.config, replay.debug_string()
        ({'lr': 0.1}, 'PopulationBasedTrainingReplay: 0 of 1 changes made')
    """

    def __init__(self, policy_file: str | PathLike[str]) -> None:
        owner = type(self).__name__
        check_text(owner, "policy_file", str(policy_file), "use the path of a pbt_policy_*.txt")
        self.config, self._steps = _schedule(_lines(owner, str(policy_file)))
        self.current_config = self.config
        self._num_done = 0
        self._is_due = False

    def complete_config(self, config: dict[str, Any], number: int) -> dict[str, Any]:
        """The configuration with the first one of the policy file over it."""
        if number > 0:
            raise ConfigError(
                f"TuneConfig: {type(self).__name__} trains one trial with one schedule, but there "
                "are more; use num_samples=1 and a param_space without grid_search"
            )
        return {**config, **self.config}

    def on_trial_result(
        self, experiment: ExperimentView, trial: TrialView, result: dict[str, Any]
    ) -> str:
        """Pause the trial where its configuration is to change."""
        reached = as_number(result.get("training_iteration")) or 0.0
        return self.PAUSE if self._reached(reached) > self._num_done else self.CONTINUE

    def on_trial_pause(self, experiment: ExperimentView, trial: TrialView) -> None:
        """Have the configuration changed."""
        self._is_due = True
        if not trial.has_checkpoint():
            logger.warning("%s: it begins anew, as it has no checkpoint", type(self).__name__)

    def on_trial_change(self, experiment: ExperimentView, trial: TrialView, change: Change) -> None:
        """Wait for the next change."""
        if change.config is None:
            return
        self._is_due = False
        self._num_done = max(self._reached_by(trial), self._num_done)
        self.current_config = change.config

    def changes(self, experiment: ExperimentView) -> Iterable[Change | Stop]:
        """The next configuration for the paused trial."""
        paused = [*experiment.paused_trials] if self._is_due else []
        for trial in paused:
            config = self._steps[self._reached_by(trial) - 1].config
            yield Change(trial_id=trial.trial_id, config={**trial.config, **config})

    def debug_string(self) -> str:
        """How many of the recorded changes have been made."""
        name = type(self).__name__
        return f"{name}: {self._num_done} of {len(self._steps)} changes made"

    def _reached_by(self, trial: TrialView) -> int:
        return self._reached(as_number(trial.last_result.get("training_iteration")) or 0.0)

    def _reached(self, iteration: float) -> int:
        """How many of the changes are due by then."""
        return sum(step.iteration <= iteration for step in self._steps)


class _Line(NamedTuple):
    target: str
    donor: str
    target_iteration: int
    donor_iteration: int
    donor_config: dict[str, Any]
    new_config: dict[str, Any]


class _Step(NamedTuple):
    iteration: int
    config: dict[str, Any]


def _schedule(lines: list[_Line]) -> tuple[dict[str, Any], list[_Step]]:
    """The first configuration, and the changes; from the last lines, which make one descent."""
    start = len(lines) - 1
    for before, after in pairwise(reversed(lines)):
        if after.target != before.donor:
            break  # what is above was given up when the target went on from another trial
        start -= 1
    descent = lines[start:]
    return descent[0].donor_config, [_Step(s.donor_iteration, s.new_config) for s in descent]


def _lines(owner: str, path: str) -> list[_Line]:
    import os

    try:
        with open(os.path.expanduser(path), encoding="utf-8") as file:
            rows = [row for row in file.read().splitlines() if row.strip()]
    except (OSError, UnicodeError) as error:
        _reject(owner, path, f"it cannot be read: {error}")
    if not rows:
        _reject(owner, path, "it is empty; use the file of a trial that exploited")
    return [_line(owner, path, number, row) for number, row in enumerate(rows, start=1)]


def _line(owner: str, path: str, number: int, row: str) -> _Line:
    try:
        line = json.loads(row)
    except ValueError:
        _refuse(owner, path, number, row)
    if not isinstance(line, list) or len(line) != _FIELDS:
        _refuse(owner, path, number, row)
    parsed = _Line(*line)
    iterations = parsed.target_iteration, parsed.donor_iteration
    configs = parsed.donor_config, parsed.new_config
    if any(as_number(each) is None for each in iterations) or not all(
        isinstance(each, dict) for each in configs
    ):
        _refuse(owner, path, number, row)
    return parsed


def _refuse(owner: str, path: str, number: int, row: str) -> NoReturn:
    fix = (
        f"line {number} is {shorten(row)}; each must be [tag, donor's tag, iteration, "
        "donor's iteration, donor's configuration, new configuration]"
    )
    _reject(owner, path, fix)


def _reject(owner: str, path: str, fix: str) -> NoReturn:
    raise ConfigError(f"{owner}(policy_file={path!r}): {fix}")
