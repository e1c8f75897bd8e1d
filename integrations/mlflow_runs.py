"""What MLflow is still to be told of the trials, built from the facts of the journal.

MLflow itself remembers what it has: every batch carries the number of the last fact in it, as a
tag of its run. So nothing is kept on the disk but the journal, and whoever goes on, on whatever
machine, reads it from the start and skips what each run has.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from tuner.experiment.events import Fact, TrialChanged, TrialEnded, TrialLaunched, TrialRequeued
from tuner.experiment.events import TrialResult as Result
from tuner.experiment.trial import ERROR, TERMINATED, Trial
from tuner.experiment.trial_table import TrialTable
from tuner.integrations.mlflow_values import (
    MAX_METRICS,
    MAX_PARAM,
    MAX_PARAMS,
    MAX_TAG,
    MAX_TAGS,
    changed,
    metrics_of,
    number_of,
    params_of,
    shortened,
)
from tuner.recording.steps import step_of

DELIVERED_TAG = "tuner_journal"  # number of the last fact that the run has
KEY_TAG = "tuner_run"  # tells the runs of an experiment apart
EXPERIMENT_TAG = "tuner_experiment"
SENDER_TAG = "tuner_sender"  # whose run it is, where several senders use one MLflow experiment
ARTIFACTS_TAG = "tuner_artifacts"  # number of the fact of which the artifacts are

RUNNING, FINISHED, FAILED, KILLED = "RUNNING", "FINISHED", "FAILED", "KILLED"

Point = tuple[int, str, float, int, int]
"""Number of the fact, key, value, timestamp in milliseconds, step."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What one request takes.

    Attributes:
        points: Values of metrics.
        params: Parameters.
        tags: Tags.
    """

    points: list[Point]
    params: dict[str, str]
    tags: dict[str, str]

    def __len__(self) -> int:
        return len(self.points) + len(self.params) + len(self.tags)

    def halves(self) -> tuple[Batch, Batch]:
        """Two batches that hold everything together, parameters before metrics before tags."""
        middle = (len(self) + 1) // 2
        num_params, num_points = len(self.params), len(self.points)
        at_param = min(middle, num_params)
        at_point = min(middle - at_param, num_points)
        at_tag = middle - at_param - at_point
        return (
            Batch(
                self.points[:at_point],
                dict(islice(self.params.items(), at_param)),
                dict(islice(self.tags.items(), at_tag)),
            ),
            Batch(
                self.points[at_point:],
                dict(islice(self.params.items(), at_param, None)),
                dict(islice(self.tags.items(), at_tag, None)),
            ),
        )


@dataclass(frozen=True, slots=True)
class Found:
    """A run as MLflow has it.

    Attributes:
        run_id: Its id.
        status: RUNNING, FINISHED, FAILED or KILLED.
        delivered: Number of the last fact that it has.
        artifacts: Number of the fact of which it has the artifacts, 0 without any.
    """

    run_id: str
    status: str
    delivered: int
    artifacts: int


@dataclass(slots=True, eq=False)
class Run:
    """One trial's run, and what it is still to be given.

    Attributes:
        key: Unique in the experiment.
        trial: The trial.
        run_id: MLflow's id, None as long as it does not exist.
        known_status: The status that MLflow has.
        status: The status that it should have.
        end_time: When it came to that, Unix time in seconds.
        delivered: Number of the last fact that MLflow has.
        taken: Number of the last fact that is in here.
        num_results: How many results of the trial are in here or were.
        points, params, tags: What is to be sent.
        long_params: Parameters that MLflow gets only the beginning of, whole.
        series: Last values of parameters that have changed, which are metrics from then on.
        wants_artifacts: Number of the fact as of which its files are to be sent, 0 for none.
        settled_files: Those of them that MLflow has taken or refused by now.
    """

    key: str
    trial: Trial
    run_id: str | None = None
    known_status: str = RUNNING
    status: str = RUNNING
    end_time: float = 0.0
    delivered: int = 0
    taken: int = 0
    num_results: int = 0
    points: list[Point] = field(default_factory=list)
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    long_params: dict[str, str] = field(default_factory=dict)
    series: dict[str, Any] = field(default_factory=dict)
    wants_artifacts: int = 0
    settled_files: set[str] = field(default_factory=set)

    @property
    def has_batch(self) -> bool:
        """Whether there is something for a batch."""
        return bool(self.points or self.params or self.tags)

    def batch(self, max_size: int = MAX_METRICS) -> Batch:
        """The next of what is to be sent, with the number of the last fact that is whole in it."""
        params = dict(islice(self.params.items(), min(MAX_PARAMS, max_size)))
        tags = dict(islice(self.tags.items(), MAX_TAGS - 1))
        room = max(1, max_size - len(params) - len(tags) - 1)
        points = self.points[:room]
        is_last = len(params) == len(self.params) and len(tags) == len(self.tags)
        if len(points) == len(self.points) and is_last:
            tags[DELIVERED_TAG] = str(self.taken)
        elif is_last:
            tags[DELIVERED_TAG] = str(max(self.delivered, self.points[room][0] - 1))
        return Batch(points, params, tags)

    def add_point(self, number: int, key: str, value: Any, timestamp: int, step: int) -> None:
        """Adds a value to a series, if it is a number."""
        as_number = number_of(value)
        if as_number is not None:
            self.points.append((number, key, as_number, timestamp, step))

    def sent(self, batch: Batch) -> None:
        """Forgets what MLflow has taken."""
        del self.points[: len(batch.points)]
        for name in batch.params:
            del self.params[name]
        for name in batch.tags:
            self.tags.pop(name, None)
        self.delivered = int(batch.tags.get(DELIVERED_TAG, self.delivered))


class Runs:
    """The runs of an experiment.

    Args:
        table: The trials.
        found: The runs that MLflow has, by their keys.
        params_at_end: Whether parameters are sent when a trial ends rather than when it begins.
        save_artifacts: Whether files of trials are sent.

    Attributes:
        pending: Runs that MLflow is still to be told something of.
        num_points: How many values of metrics wait.
    """

    def __init__(
        self,
        table: TrialTable,
        found: dict[str, Found],
        *,
        params_at_end: bool = False,
        save_artifacts: bool = False,
    ) -> None:
        self.pending: dict[Run, None] = {}
        self._table = table
        self._found = found
        self._params_at_end = params_at_end
        self._save_artifacts = save_artifacts
        self._runs: dict[str, Run] = {}  # by the trial's id
        self._num_runs: dict[str, int] = {}

    @property
    def num_points(self) -> int:
        return sum(len(run.points) for run in self.pending)

    def take(self, fact: Fact, number: int) -> None:
        """Takes in a fact of the journal and its number, from the first one on."""
        if isinstance(fact, TrialChanged):
            self._on_changed(fact, number)
            return
        trial = self._table.apply(fact)
        if isinstance(fact, Result):
            self._on_result(fact, number)
        elif isinstance(fact, TrialLaunched):
            assert trial is not None
            self._on_launched(trial, fact, number)
        elif isinstance(fact, TrialEnded):
            if fact.trial_id in self._runs and fact.status in (TERMINATED, ERROR):
                self._on_ended(fact, number)
        elif isinstance(fact, TrialRequeued) and fact.anew:
            self._runs.pop(fact.trial_id, None)  # it begins again, so it gets another run

    def end(self, time: float) -> None:
        """Notes that nothing runs any more: runs of trials that may go on later are KILLED."""
        for run in self._runs.values():
            if run.status == RUNNING:
                self._set_status(run, KILLED, time)

    def settle(self, run: Run) -> None:
        """Takes a run that MLflow has all of from the pending ones."""
        is_done = not run.has_batch and run.status == run.known_status
        if is_done and not run.wants_artifacts and not run.long_params:
            self.pending.pop(run, None)

    def drop(self, run: Run) -> None:
        """Forgets what a run was to be given: MLflow will not take it."""
        run.points.clear()
        run.params.clear()
        run.tags.clear()
        run.long_params.clear()
        run.wants_artifacts = 0
        run.delivered, run.known_status = run.taken, run.status
        self.pending.pop(run, None)

    def _on_launched(self, trial: Trial, fact: TrialLaunched, number: int) -> None:
        run = self._runs.get(trial.trial_id)
        is_new = run is None
        if run is None:
            run = self._runs[trial.trial_id] = self._new(trial)
        self._set_status(run, RUNNING, fact.time)
        if self._note(run, number) and is_new and not self._params_at_end:
            self._add_params(run)

    def _on_result(self, fact: Result, number: int) -> None:
        run = self._runs[fact.trial_id]
        if run.trial.num_results <= run.num_results:
            return  # MLflow cannot take a point back: what is reported again is not sent again
        run.num_results = run.trial.num_results
        if self._note(run, number):
            timestamp, step = int(fact.time * 1000), step_of(fact.result)
            metrics = metrics_of(fact.result)
            run.points += [(number, key, value, timestamp, step) for key, value in metrics.items()]

    def _on_changed(self, fact: TrialChanged, number: int) -> None:
        trial = self._table[fact.trial_id]
        before = trial.config
        self._table.apply(fact)
        run = self._runs.get(fact.trial_id)
        if run is None or fact.config is None:
            return
        is_news = self._note(run, number)
        step, timestamp = step_of(trial.last_result), int(fact.time * 1000)
        for key, (old, new) in changed(before, fact.config).items():
            is_first = key not in run.series
            run.series[key] = new
            if is_news:
                run.tags[key] = shortened(str(new), MAX_TAG)
                began = int((trial.start_time or fact.time) * 1000)
                if is_first:
                    run.add_point(number, key, old, began, 0)
                run.add_point(number, key, new, timestamp, step)

    def _on_ended(self, fact: TrialEnded, number: int) -> None:
        run = self._runs[fact.trial_id]
        self._set_status(run, FINISHED if fact.status == TERMINATED else FAILED, fact.time)
        if self._note(run, number):
            if self._params_at_end:
                self._add_params(run)
            step, timestamp = step_of(run.trial.last_result), int(fact.time * 1000)
            for key, value in run.series.items():
                run.add_point(number, key, value, timestamp, step)
            if fact.error is not None:
                run.tags["error"] = shortened(fact.error.rstrip().rpartition("\n")[2], MAX_TAG)
        found = self._found.get(run.key)
        if self._save_artifacts and (found is None or found.artifacts < number):
            run.wants_artifacts = number
            self.pending[run] = None

    def _new(self, trial: Trial) -> Run:
        count = self._num_runs[trial.trial_id] = self._num_runs.get(trial.trial_id, 0) + 1
        run = Run(trial.trial_id if count == 1 else f"{trial.trial_id}#{count}", trial)
        found = self._found.get(run.key)
        if found is not None:
            run.run_id, run.known_status = found.run_id, found.status
            run.delivered = found.delivered
        return run

    def _note(self, run: Run, number: int) -> bool:
        """Notes that a run is told of a fact; whether MLflow does not have it yet."""
        run.taken = number
        if number <= run.delivered:
            return False
        self.pending[run] = None
        return True

    def _add_params(self, run: Run) -> None:
        for name, text in params_of(run.trial.config).items():
            if len(text) > MAX_PARAM:
                run.long_params[name] = text
            run.params[name] = shortened(text, MAX_PARAM)

    def _set_status(self, run: Run, status: str, time: float) -> None:
        run.status, run.end_time = status, time
        self.pending[run] = None


def tags_of(run: Run, experiment: str, sender: str) -> dict[str, str]:
    """The tags with which a run is created."""
    return {
        "trial_name": str(run.trial),
        "trial_id": run.trial.trial_id,
        EXPERIMENT_TAG: experiment,
        KEY_TAG: run.key,
        SENDER_TAG: sender,
    }
