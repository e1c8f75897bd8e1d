"""Single situations of the state machine, told one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from play import NOW, Counting, Play, Recording, of_kind

from tuner import codec
from tuner.experiment.commands import DiscardStaged, EndAttempt, Launch
from tuner.experiment.events import (
    CapacityChanged,
    ExperimentEnded,
    ExperimentStopping,
    Failed,
    Finished,
    Saved,
    Tick,
    TrialEnded,
    TrialLaunched,
    TrialResult,
)
from tuner.stoppers import Stopper, TimeoutStopper, coerce

# Launching


def test_trials_begin_in_order_as_far_as_resources_reach_and_the_next_when_one_ends() -> None:
    play = Play(cpus=2)
    assert [c.trial.trial_id for c in play.commands if isinstance(c, Launch)] == [
        "t_00000",
        "t_00001",
    ]
    assert play.statuses == "RR"
    play.finish(0)
    assert play.statuses == "TRR"
    play.finish(1)
    play.finish(2)
    assert play.state.is_over
    assert isinstance(play.facts[-1], ExperimentEnded)
    assert play.facts[-1].complete


def test_no_more_run_at_once_than_allowed() -> None:
    assert Play(cpus=8, max_running=1).statuses == "R"


def test_a_clock_may_begin_at_zero() -> None:
    play = Play(searcher=Counting(2), cpus=1)
    state = play.state
    play.finish(0)
    facts, _ = state.handle([Finished(0.0, "t_00001", 1)])
    assert isinstance(facts[-1], ExperimentEnded)
    assert state.is_over


def test_nothing_is_launched_that_does_not_fit_whatever_the_scheduler_says() -> None:
    class Careless(Recording):
        def choose_trial_to_run(self, experiment: Any) -> Any:
            return next(iter(experiment.pending_trials), None)

    play = Play(scheduler=Careless(), cpus=3, bundles_for=lambda config: [{"CPU": 2.0}])
    assert play.statuses == "RP"
    play.give(CapacityChanged(NOW, {"CPU": 4.0}))
    assert play.statuses == "RR"


def test_new_configurations_run_before_those_that_were_paused() -> None:
    play = Play(scheduler=Recording("PAUSE"), cpus=1)
    assert play.report(0) == "PAUSE"
    play.finish(0)
    assert play.statuses == "pR"
    play.finish(1)
    assert play.statuses == "pTR"
    play.finish(2)
    assert play.statuses == "RTT"
    assert play.attempt(0) == 2


def test_a_trial_goes_on_from_what_was_saved_when_it_was_paused() -> None:
    play = Play(scheduler=Recording("PAUSE"), searcher=Counting(1), cpus=1)
    play.report(0, 7, time_total_s=3.5)
    play.give(Saved(NOW, "t_00000", 1, "checkpoint_000000"))
    (launched,) = of_kind(TrialLaunched, play.finish(0))
    assert (launched.attempt, launched.checkpoint, launched.num_results) == (
        2,
        "checkpoint_000000",
        1,
    )
    (launch,) = play.commands
    assert isinstance(launch, Launch)
    assert launch.progress.time_total_s == 3.5


# Results


def test_the_stimulus_stays_as_it_was() -> None:
    play = Play(stopper=coerce({"n": 1}))
    stimulus = play.reported(0)
    play.give(stimulus)
    assert stimulus.result["done"] is False
    assert play.state.trials[0].last_result["done"] is True


def test_a_message_of_an_older_attempt_changes_nothing() -> None:
    play = Play(max_failures=1, searcher=Counting(1))
    late = [play.reported(0), Saved(NOW, "t_00000", 1, "checkpoint_000000")]
    play.fail(0)
    assert play.attempt(0) == 2
    before = codec.encode_exact(repr(play.state.trials))
    unknown = Finished(NOW, "nobody", 1)
    over = [Finished(NOW, "t_00000", 1), Failed(NOW, "t_00000", 1, "x"), unknown]
    assert play.give(*late, *over) == []
    discards = [DiscardStaged(play.state.trials[0], 1)] * 4
    assert play.commands == discards
    assert codec.encode_exact(repr(play.state.trials)) == before


# Failures


def test_a_failed_trial_comes_back_as_often_as_allowed() -> None:
    play = Play(max_failures=2, searcher=Counting(1))
    for attempt in (1, 2):
        assert play.attempt(0) == attempt
        play.fail(0)
    (ended,) = of_kind(TrialEnded, play.fail(0))
    assert (ended.status, ended.error, play.state.trials[0].num_failures) == ("ERROR", "no luck", 3)
    once = [("error", "t_00000"), ("add", "t_00000")]
    assert play.scheduler.told == [("add", "t_00000"), *once, *once, ("error", "t_00000")]
    assert play.searcher.told == [("complete", "t_00000", None, True)]


def test_what_is_lost_with_its_machine_comes_back_however_often() -> None:
    play = Play(max_failures=0, searcher=Counting(1))
    for attempt in (1, 2, 3):
        assert play.attempt(0) == attempt
        play.give(Failed(NOW, play.id(0), attempt, "the node is gone", is_lost=True))
    assert (play.statuses, play.state.trials[0].num_failures) == ("R", 0)
    (ended,) = of_kind(TrialEnded, play.fail(0))
    assert ended.status == "ERROR"


def test_a_failure_after_the_stop_is_no_failure() -> None:
    play = Play(scheduler=Recording("STOP"), searcher=Counting(1))
    play.report(0)
    play.fail(0)
    assert play.statuses == "T"
    assert play.state.trials[0].num_failures == 0


def test_fail_fast_ends_everything() -> None:
    play = Play(fail_fast=True, max_failures=5)
    play.fail(0)
    assert play.state.stop_reason == "train_t_00000 failed and fail_fast is set"
    assert [c for c in play.commands if isinstance(c, EndAttempt)] == [EndAttempt("t_00001", 1)]
    play.finish(1)
    assert play.statuses == "ET"
    assert play.state.is_over


# The end of the experiment


def paused_pending_and_running(**fields: Any) -> Play:
    """Trial 0 is paused, 1 runs, 2 waits."""
    play = Play(scheduler=Recording("PAUSE"), cpus=2, **fields)
    play.give(CapacityChanged(NOW, {"CPU": 1.0}))
    play.report(0)
    play.finish(0)
    play.give(CapacityChanged(NOW, {"CPU": 1.5}))
    assert play.statuses == "pRP"
    return play


def test_a_stop_ends_what_waits_at_once_and_what_runs_when_it_comes_to_its_end() -> None:
    play = paused_pending_and_running()
    play.stop(resumable=False)
    assert play.statuses == "TRT"
    assert play.commands == [EndAttempt("t_00001", 1)]
    assert play.scheduler.told[-3:] == [
        ("complete", "t_00001"),
        ("remove", "t_00002"),
        ("remove", "t_00000"),
    ]
    assert play.searcher.told[-3:] == [
        ("complete", "t_00001", None, False),
        ("complete", "t_00002", None, False),
        ("complete", "t_00000", 1, False),
    ]
    assert play.report(1) == "STOP"
    (ended,) = of_kind(ExperimentEnded, play.finish(1))
    assert (ended.complete, ended.reason, play.statuses) == (True, "asked to", "TTT")


def test_a_trial_that_is_about_to_pause_ends_with_the_experiment() -> None:
    play = Play(scheduler=Recording("PAUSE"), searcher=Counting(1))
    play.report(0)
    play.stop(resumable=False)
    play.finish(0)
    assert play.statuses == "T"
    assert play.scheduler.told[-1] == ("complete", "t_00000")
    assert play.searcher.told[-1] == ("complete", "t_00000", 1, False)


def test_a_stop_that_can_be_resumed_leaves_trials_as_they_are() -> None:
    play = paused_pending_and_running()
    (stopping,) = play.stop(resumable=True)
    assert stopping == ExperimentStopping(NOW, "asked to", "PAUSE")
    assert play.commands == [EndAttempt("t_00001", 1)]
    assert play.report(1) == "PAUSE"
    (*_, ended) = play.finish(1)
    assert isinstance(ended, ExperimentEnded)
    assert (ended.complete, play.statuses) == (False, "ppP")


def test_policies_still_decide_on_results_after_a_stop_that_can_be_resumed() -> None:
    play = Play(searcher=Counting(3), cpus=3, stopper=coerce({"n": 5}))
    play.stop(resumable=True)
    assert play.report(0, 5) == "STOP"
    assert play.report(1, 1, done=True) == "STOP"
    assert play.report(2, 1) == "PAUSE"
    assert ("result", "t_00002", 1) in play.searcher.told
    for number in range(3):
        play.finish(number)
    assert play.statuses == "TTp"


def test_what_dies_after_a_stop_that_can_be_resumed_is_still_to_be_run() -> None:
    play = Play(searcher=Counting(1), max_failures=3)
    play.stop(resumable=True)
    stopped, ended = play.fail(0)
    assert isinstance(stopped, TrialEnded)
    assert stopped.error is None
    assert isinstance(ended, ExperimentEnded)
    assert not ended.complete
    assert play.statuses == "p"


@pytest.mark.parametrize("interrupted", [False, True])
def test_what_completes_after_a_stop_that_can_be_resumed_is_not_run_again(
    interrupted: bool,
) -> None:
    play = Play(searcher=Counting(1))
    play.stop(resumable=True)
    play.finish(0, interrupted=interrupted)
    assert play.statuses == ("p" if interrupted else "T")


@pytest.mark.parametrize("resumable", [False, True])
def test_the_first_stop_decides_and_a_second_one_only_repeats_it(resumable: bool) -> None:
    play = paused_pending_and_running()
    play.stop(resumable=resumable)
    before = play.statuses
    assert play.stop(resumable=not resumable) == []
    assert play.commands == [EndAttempt("t_00001", 1)]
    assert play.statuses == before
    ended = play.finish(1)[-1]
    assert isinstance(ended, ExperimentEnded)
    assert ended.complete is not resumable


def test_a_stopper_ends_the_experiment_at_the_next_results() -> None:
    class AtOnce(Stopper):
        def stop_all(self) -> bool:
            return True

    play = Play(stopper=AtOnce())
    assert play.state.stop_reason == "a stopper ended the experiment"
    assert play.state.trials == []
    assert play.state.is_over


def test_time_ends_the_experiment_without_waiting_for_results() -> None:
    play = Play(stopper=TimeoutStopper(10))
    assert play.state.deadline == NOW + 10
    assert play.give(Tick(NOW + 9)) == []
    play.give(Tick(NOW + 10))
    assert play.state.stop_reason == "its time is up"
    assert play.state.deadline is None
    assert play.commands == [EndAttempt("t_00000", 1), EndAttempt("t_00001", 1)]


# What a replay finds differently


def refused(make: Callable[[], object]) -> str:
    with pytest.raises(ValueError, match="cannot happen") as caught:
        make()
    return str(caught.value)


def test_a_record_that_cannot_have_happened_is_refused() -> None:
    live = Play(searcher=Counting(1))
    live.finish(0)
    again = TrialLaunched(NOW, "t_00000", 2, None, 0)
    assert "TERMINATED → RUNNING" in refused(lambda: live.state.replay(again))
    result = TrialResult(NOW, "t_00000", 1, "CONTINUE", None, {})
    assert live.state.table.apply(result) is live.state.trials[0]
