"""What MLflow is told of the facts of a journal, and what it is not told a second time."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tuner.experiment.events import (
    CheckpointSaved,
    Fact,
    TrialChanged,
    TrialCreated,
    TrialEnded,
    TrialLaunched,
    TrialRequeued,
    TrialResult,
)
from tuner.experiment.trial_table import TrialTable
from tuner.integrations.mlflow_runs import DELIVERED_TAG, Batch, Found, Run, Runs


class Journal:
    """Facts of one trial, told to `Runs`."""

    def __init__(self, folder: Path, found: dict[str, Found] | None = None, **options: Any) -> None:
        self.runs = Runs(TrialTable(str(folder)), found or {}, **options)
        self._numbers = count(1)
        self._attempt = 0

    def tell(self, *facts: Fact) -> Journal:
        for fact in facts:
            self.runs.take(fact, next(self._numbers))
        return self

    def created(self, **config: Any) -> Journal:
        return self.tell(
            TrialCreated(
                time=1.0,
                trial_id="a",
                number=0,
                trainable_name="train",
                trial_name="train_a",
                experiment_tag="0",
                dirname="train_a",
                config=config,
                evaluated_params={},
                bundles=[{"CPU": 1}],
            )
        )

    def launched(self, checkpoint: str | None = None, num_results: int = 0) -> Journal:
        self._attempt += 1
        return self.tell(
            TrialLaunched(
                time=2.0,
                trial_id="a",
                attempt=self._attempt,
                checkpoint=checkpoint,
                num_results=num_results,
            )
        )

    def result(self, iteration: int, loss: float, checkpoint: str | None = None) -> Journal:
        return self.tell(
            TrialResult(
                time=2.0 + iteration,
                trial_id="a",
                attempt=self._attempt,
                decision="CONTINUE",
                checkpoint=checkpoint,
                result={"loss": loss, "training_iteration": iteration},
            )
        )

    def changed(self, **config: Any) -> Journal:
        return self.tell(
            TrialChanged(
                time=9.0,
                trial_id="a",
                donor=None,
                checkpoint=None,
                config=config,
                evaluated_params={},
                experiment_tag=None,
                chosen_objects=None,
                bundles=None,
                is_logged=True,
            )
        )

    def ended(self, status: str, error: str | None = None) -> Journal:
        return self.tell(
            TrialEnded(time=10.0, trial_id="a", attempt=self._attempt, status=status, error=error)
        )

    @property
    def run(self) -> Run:
        (run,) = self.runs.pending
        return run

    def series(self, key: str) -> list[tuple[int, float]]:
        """Step and value of the points that wait."""
        return [(step, value) for _, name, value, _, step in self.run.points if name == key]


def test_a_run_gets_params_points_and_its_end(tmp_path: Path) -> None:
    journal = Journal(tmp_path).created(lr=0.1).launched().result(1, 0.5).result(2, 0.4)
    run = journal.ended("TERMINATED").run
    assert run.params == {"lr": "0.1"}
    assert journal.series("loss") == [(1, 0.5), (2, 0.4)]
    assert {timestamp for *_, timestamp, _ in run.points} == {3000, 4000}
    assert (run.status, run.end_time, run.known_status) == ("FINISHED", 10.0, "RUNNING")


def test_params_can_wait_for_the_end(tmp_path: Path) -> None:
    journal = Journal(tmp_path, params_at_end=True).created(lr=0.1).launched().result(1, 0.5)
    assert journal.run.params == {}
    journal.ended("PAUSED").changed(lr=0.2).launched().ended("TERMINATED")
    assert journal.run.params == {"lr": "0.2"}


def test_a_failure_names_its_error(tmp_path: Path) -> None:
    journal = Journal(tmp_path).created().launched()
    run = journal.ended("ERROR", "Traceback …\nValueError: bad lr\n").run
    assert run.status == "FAILED"
    assert run.tags["error"] == "ValueError: bad lr"


def test_a_retry_continues_and_repeats_nothing(tmp_path: Path) -> None:
    journal = Journal(tmp_path).created().launched()
    journal.result(1, 0.5, checkpoint="checkpoint_000000").result(2, 0.4).result(3, 0.3)
    journal.ended("PENDING", "lost").launched("checkpoint_000000", 1)
    journal.result(2, 0.41).result(3, 0.31).result(4, 0.2)
    assert journal.series("loss") == [(1, 0.5), (2, 0.4), (3, 0.3), (4, 0.2)]
    assert journal.run.status == "RUNNING"


def test_steps_that_come_again_after_an_exploit_are_results_of_their_own(tmp_path: Path) -> None:
    journal = Journal(tmp_path).created(lr=1).launched().result(5, 0.5)
    journal.tell(CheckpointSaved(6.0, "a", 1, "checkpoint_000000")).ended("PAUSED")
    journal.changed(lr=2).launched("checkpoint_000000", 1).result(4, 0.1)
    assert journal.series("loss") == [(5, 0.5), (4, 0.1)]


def test_changed_values_become_series_and_tags(tmp_path: Path) -> None:
    journal = Journal(tmp_path).created(lr=0.1, act="relu", same=1).launched().result(3, 0.5)
    journal.ended("PAUSED").changed(lr=0.2, act="tanh", same=1).changed(lr=0.4, act="tanh", same=1)
    assert journal.series("config/lr") == [(0, 0.1), (3, 0.2), (3, 0.4)]
    assert journal.run.tags == {"config/lr": "0.4", "config/act": "tanh"}
    assert journal.run.params == {"lr": "0.1", "act": "relu", "same": "1"}


def test_a_series_reaches_the_end_of_its_trial(tmp_path: Path) -> None:
    journal = Journal(tmp_path).created(lr=0.1, same=1).launched().result(3, 0.5).ended("PAUSED")
    journal.changed(lr=0.2, same=1).launched(num_results=1).result(9, 0.4).ended("TERMINATED")
    assert journal.series("config/lr") == [(0, 0.1), (3, 0.2), (9, 0.2)]
    assert journal.series("config/same") == []


def test_the_beginning_of_a_series_is_sent_once(tmp_path: Path) -> None:
    """A sender that goes on after the first change does not take the second for the first."""
    journal = Journal(tmp_path, {"a": Found("r", "RUNNING", delivered=3, artifacts=0)})
    journal.created(lr=0.1).launched().changed(lr=0.2).changed(lr=0.4)
    assert journal.series("config/lr") == [(0, 0.4)]


def test_trials_that_were_cut_off_are_killed(tmp_path: Path) -> None:
    journal = Journal(tmp_path).created().launched().result(1, 0.5)
    journal.runs.end(20.0)
    assert (journal.run.status, journal.run.end_time) == ("KILLED", 20.0)


def test_a_trial_that_never_ran_has_no_run(tmp_path: Path) -> None:
    journal = Journal(tmp_path).created().ended("TERMINATED")
    assert not journal.runs.pending


def test_a_trial_begun_anew_gets_another_run(tmp_path: Path) -> None:
    journal = Journal(tmp_path).created().launched().result(1, 0.5).ended("ERROR", "x")
    journal.tell(TrialRequeued(time=11.0, trial_id="a", anew=True)).launched().result(1, 0.4)
    first, second = journal.runs.pending
    assert (first.key, second.key) == ("a", "a#2")
    assert [run.points[0][2] for run in (first, second)] == [0.5, 0.4]
    assert (first.status, second.status) == ("FAILED", "RUNNING")


def test_what_a_run_has_is_not_sent_again(tmp_path: Path) -> None:
    found = Found("r1", "KILLED", delivered=4, artifacts=0)
    journal = Journal(tmp_path, {"a": found}).created(lr=1).launched().result(1, 0.5).result(2, 0.4)
    assert not journal.run.has_batch
    journal.result(3, 0.3)
    run = journal.run
    assert (run.run_id, run.params) == ("r1", {})
    assert journal.series("loss") == [(3, 0.3)]
    assert (run.known_status, run.status) == ("KILLED", "RUNNING")


def test_a_run_that_has_everything_is_not_pending(tmp_path: Path) -> None:
    found = Found("r1", "FINISHED", delivered=4, artifacts=4)
    journal = Journal(tmp_path, {"a": found}, save_artifacts=True)
    journal.created().launched().result(1, 0.5).ended("TERMINATED")
    journal.runs.settle(journal.run)
    assert not journal.runs.pending


def test_files_are_sent_unless_they_were(tmp_path: Path) -> None:
    found = Found("r1", "FINISHED", delivered=4, artifacts=0)
    journal = Journal(tmp_path, {"a": found}, save_artifacts=True)
    journal.created().launched().result(1, 0.5).ended("TERMINATED")
    assert journal.run.wants_artifacts == 4


def test_batches_hold_everything_once_and_keep_the_limits(tmp_path: Path) -> None:
    config = {f"p{i}": "x" for i in range(250)}
    journal = Journal(tmp_path).created(**config).launched()
    for iteration in range(1, 1201):
        journal.result(iteration, float(iteration))
    run = journal.run
    wanted, points, params, delivered = list(run.points), [], {}, []
    while run.has_batch:
        batch = run.batch()
        assert len(batch) <= 1000
        assert len(batch.params) <= 100
        points += batch.points
        params.update(batch.params)
        run.sent(batch)
        delivered.append(run.delivered)
        # Whatever was sent of later facts, all of those up to the mark were.
        assert not [point for point in run.points if point[0] <= run.delivered]
    assert points == wanted
    assert params == dict.fromkeys(config, "x")
    assert delivered == sorted(delivered)
    assert delivered[-1] == 1202


def test_the_mark_is_the_last_fact_that_is_whole(tmp_path: Path) -> None:
    journal = Journal(tmp_path).created().launched().result(1, 0.5).result(2, 0.4)
    batch = journal.run.batch(max_size=4)  # two values of each result, and the mark
    assert [point[0] for point in batch.points] == [3, 3, 4]
    assert batch.tags[DELIVERED_TAG] == "3"


@pytest.mark.parametrize(("points", "params", "tags"), [(3, 2, 1), (1, 0, 1), (0, 2, 0), (0, 0, 5)])
def test_halves_are_smaller_and_hold_everything(points: int, params: int, tags: int) -> None:
    batch = Batch(
        [(i, "k", 0.0, 0, i) for i in range(points)],
        {str(i): "" for i in range(params)},
        {str(i): "" for i in range(tags)},
    )
    one, other = batch.halves()
    assert 0 < len(one) < len(batch)
    assert one.points + other.points == batch.points
    assert {**one.params, **other.params} == batch.params
    assert {**one.tags, **other.tags} == batch.tags
