"""What an earlier experiment found, for a searcher to begin with."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tuner.errors import ConfigError, SearchSpaceError, StorageError
from tuner.experiment.events import TrialChanged, TrialCreated, TrialEnded, TrialResult
from tuner.experiment.journal_reader import JournalReader
from tuner.experiment.trial import TERMINATED
from tuner.flatten import lookup
from tuner.layout import DESCRIPTION_FILE
from tuner.metrics import as_number
from tuner.objective import Objective
from tuner.search.flat_space import FlatSpace
from tuner.storage.staging import viewed
from tuner.storage.storage import locate
from tuner.validation import check_mode, check_whole

if TYPE_CHECKING:
    from tuner.filesystems import FileSystem


@dataclass(frozen=True, slots=True)
class EvaluatedPoints:
    """Configurations that were tried, and what came of them.

    Attributes:
        points: Values of the parameters that were searched, by flat name such as `"model/lr"`; one
            dict per trial, in the order in which the trials were created.
        rewards: The metric of each trial's last result, a finite number; with several metrics a
            list of them each.
        mode: `"min"` or `"max"`, a list with several metrics, None if the experiment had none.

    Example:
        >>> tried = EvaluatedPoints([{"lr": 0.1}, {"lr": 0.2}, {"lr": 0.3}], [0.5, 0.2, 0.4], "min")
        >>> tried.best(2)
        [{'lr': 0.2}, {'lr': 0.3}]
    """

    points: list[dict[str, Any]]
    rewards: list[Any]
    mode: Any = None

    def best(self, count: int) -> list[dict[str, Any]]:
        """The points with the best values, the best first: any searcher takes them to try.

        Args:
            count: How many at most.

        Raises:
            ConfigError: There are several metrics, or the mode is unknown.
        """
        check_whole("EvaluatedPoints.best", "count", count, "use a whole number >= 0", least=0)
        check_mode("EvaluatedPoints.best", "mode", self.mode)
        sign = 1.0 if self.mode == "min" else -1.0
        order = sorted(range(len(self.points)), key=lambda index: sign * self.rewards[index])
        return [self.points[index] for index in order[:count]]


def from_experiment(
    path: str | os.PathLike[str],
    metric: str | Sequence[str] | None = None,
    mode: str | Sequence[str] | None = None,
    *,
    param_space: Mapping[str, Any] | None = None,
    storage_filesystem: FileSystem | None = None,
) -> EvaluatedPoints:
    """Reads what the trials of an earlier experiment found.

    Trials count that ended without an error and whose last result has a finite number for the
    metric. The experiment may have been killed, may still run, and need not be restorable here;
    only objects in configurations must be importable.

    Args:
        path: The experiment's folder, `<storage_path>/<name>`, or its URL.
        metric: What to read, `"a/b"` for a nested value, or several names; the experiment's own
            `TuneConfig(metric=…)` without it.
        mode: `"min"` or `"max"`; likewise.
        param_space: The search space of the new experiment: points that lie outside of it are left
            out.
        storage_filesystem: An fsspec or a pyarrow filesystem that the path is on.

    Raises:
        ConfigError: The experiment had no metric, so one has to be named, or no trial has it.
        StorageError: There is no experiment, or it cannot be read.

    Example:
        A searcher that learns from an earlier run, and one that tries its best points again::

            earlier = tune.from_experiment("s3://bucket/exp/mnist", param_space=space)
            OptunaSearch(points_to_evaluate=earlier.points, evaluated_rewards=earlier.rewards)
            BasicVariantGenerator(points_to_evaluate=earlier.best(5))
    """
    for each in [mode] if mode is None or isinstance(mode, str) else mode:
        if each is not None:
            check_mode("from_experiment", "mode", each)
    storage, local = locate(path, storage_filesystem)
    with nullcontext(local) if storage is None else viewed(storage) as folder:
        shown_as = str(storage or local)
        known = _objectives(folder, shown_as)
        if metric is None:
            metric, mode = known[0], mode or known[1]
        elif mode is None and metric == known[0]:
            mode = known[1]
        if metric is None:
            raise ConfigError(
                f"from_experiment({shown_as!r}, metric=None): it was run without a metric; "
                "name the one that is to be read"
            )
        trials = _trials(folder, metric)
    ended = [trial for trial in trials if trial.has_ended]
    if ended and all(trial.reward is None for trial in ended):
        raise ConfigError(
            f"from_experiment({shown_as!r}, metric={metric!r}): none of the {len(ended)} trials "
            "that have ended reported a finite number for it; name another metric"
        )
    points, rewards = [], []
    space = None if param_space is None else FlatSpace(param_space, "from_experiment")
    for trial in trials:
        if trial.reward is not None and (space is None or _holds(space, trial.point)):
            points.append(trial.point)
            rewards.append(trial.reward)
    return EvaluatedPoints(points, rewards, mode)


@dataclass(slots=True)
class _Trial:
    point: dict[str, Any]
    last: Any = None
    reward: Any = None
    has_ended: bool = False


def _objectives(folder: str, shown_as: str) -> tuple[Any, Any]:
    try:
        with open(os.path.join(folder, DESCRIPTION_FILE), encoding="utf-8") as file:
            objective = Objective.described(json.load(file))
        return objective.metric, objective.mode
    except FileNotFoundError:
        raise StorageError(
            f"from_experiment({shown_as!r}): there is no experiment, as there is no "
            f"{DESCRIPTION_FILE}; give the folder <storage_path>/<name> of a run"
        ) from None
    except (ValueError, AttributeError):
        return None, None  # nothing is needed of it if the metric is named


def _trials(folder: str, metric: str | Sequence[str]) -> list[_Trial]:
    trials: dict[str, _Trial] = {}
    for fact in JournalReader(folder).read_all():
        if isinstance(fact, TrialCreated):
            trials[fact.trial_id] = _Trial(fact.evaluated_params)
        elif isinstance(fact, TrialChanged) and fact.evaluated_params is not None:
            trials[fact.trial_id].point = fact.evaluated_params
        elif isinstance(fact, TrialResult):
            trials[fact.trial_id].last = _reward(fact.result, metric)
        elif isinstance(fact, TrialEnded):
            trial = trials[fact.trial_id]
            trial.has_ended = fact.status == TERMINATED
            trial.reward = trial.last if trial.has_ended else None
    return [*trials.values()]


def _reward(result: dict[str, Any], metric: str | Sequence[str]) -> Any:
    """The finite number, or the list of them, in a result; None without."""
    names = [metric] if isinstance(metric, str) else metric
    values = [as_number(lookup(result, name)) for name in names]
    if any(value is None or not math.isfinite(value) for value in values):
        return None
    return values[0] if isinstance(metric, str) else values


def _holds(space: FlatSpace, point: dict[str, Any]) -> bool:
    try:
        space.values(point, strict=True)
    except SearchSpaceError:
        return False
    return True
