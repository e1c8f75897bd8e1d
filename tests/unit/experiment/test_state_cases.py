"""Single situations of the state machine, told one by one."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from typing import Any

import pytest

from tuner import codec
from tuner.errors import ResourceError, TunerError
from tuner.experiment.commands import Answer, Command, EndAttempt, Launch
from tuner.experiment.events import (
    CapacityChanged,
    ExperimentEnded,
    ExperimentStopping,
    Fact,
    Failed,
    Finished,
    Reported,
    Saved,
    Stimulus,
    StopRequested,
    Tick,
    TrialEnded,
    TrialLaunched,
    TrialResult,
)
from tuner.experiment.spec import ExperimentSpec
from tuner.experiment.state import ExperimentState
from tuner.experiment.trial_table import TrialTable
from tuner.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler
from tuner.search import Searcher
from tuner.search_space.variants import SearchSpace
from tuner.stoppers import Stopper, TimeoutStopper, coerce
from tuner.stoppers.limits import Limits

NOW = 50.0


class Counting(Searcher):
    """Proposes `{"x": 0}`, `{"x": 1}`, … and keeps what it is told."""

    def __init__(self, num_trials: int = 3) -> None:
        super().__init__()
        self.num_trials = num_trials
        self.proposed = 0
        self.told: list[tuple[Any, ...]] = []

    def suggest(self, trial_id: str) -> Any:
        if self.proposed == self.num_trials:
            return self.FINISHED
        self.proposed += 1
        return {"x": self.proposed - 1}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        self.told.append(("result", trial_id, result["n"]))

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        self.told.append(("complete", trial_id, result and result["n"], error))


class Recording(FIFOScheduler):
    """Answers what it is told to, and keeps what it is told."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.told: list[tuple[str, str]] = []

    def on_trial_add(self, experiment: Any, trial: Any) -> None:
        self.told.append(("add", trial.trial_id))

    def on_trial_result(self, experiment: Any, trial: Any, result: dict[str, Any]) -> str:
        self.told.append(("result", trial.trial_id))
        return self.answers.pop(0) if self.answers else self.CONTINUE

    def on_trial_error(self, experiment: Any, trial: Any) -> None:
        self.told.append(("error", trial.trial_id))

    def on_trial_complete(self, experiment: Any, trial: Any, result: dict[str, Any]) -> None:
        self.told.append(("complete", trial.trial_id))

    def on_trial_remove(self, experiment: Any, trial: Any) -> None:
        self.told.append(("remove", trial.trial_id))


class Play:
    """An experiment with one word for each thing that can happen in it."""

    def __init__(
        self,
        *,
        searcher: Searcher | None = None,
        scheduler: TrialScheduler | None = None,
        stopper: Stopper | None = None,
        cpus: float = 2.0,
        **fields: Any,
    ) -> None:
        spec: dict[str, Any] = {
            "path": "/exp",
            "trainable_name": "train",
            "param_space": SearchSpace({}),
            "id_prefix": "t",
            "seed": 0,
            "num_trials": None,
            "max_running": None,
            "max_failures": 0,
            "fail_fast": False,
            "bundles_for": lambda config: [{"CPU": 1.0}],
            **fields,
        }
        self.spec = ExperimentSpec(**spec)
        self.searcher: Any = Counting() if searcher is None else searcher
        self.scheduler: Any = Recording() if scheduler is None else scheduler
        table = TrialTable("/exp")
        limits = Limits(stopper)
        self.state = ExperimentState(self.spec, table, self.searcher, self.scheduler, limits)
        self.facts, _ = self.state.start(NOW, "test")
        self.commands: list[Command] = []
        self.give(CapacityChanged(NOW, {"CPU": cpus}))

    def give(self, *stimuli: Stimulus) -> list[Fact]:
        facts, self.commands = self.state.handle(stimuli)
        self.facts += facts
        return facts

    def report(self, number: int, n: int = 1, **fields: Any) -> str:
        self.give(self.reported(number, n, **fields))
        (answer,) = (c for c in self.commands if isinstance(c, Answer))
        return answer.decision

    def reported(self, number: int, n: int = 1, **fields: Any) -> Reported:
        result = {"n": n, "training_iteration": n, "done": False, **fields}
        raw = codec.encode_metrics(result)
        return Reported(NOW, self.id(number), self.attempt(number), result, raw)

    def finish(self, number: int, *, interrupted: bool = False) -> list[Fact]:
        return self.give(Finished(NOW, self.id(number), self.attempt(number), interrupted))

    def fail(self, number: int) -> list[Fact]:
        return self.give(Failed(NOW, self.id(number), self.attempt(number), "no luck"))

    def stop(self, *, resumable: bool) -> list[Fact]:
        return self.give(StopRequested(NOW, "asked to", resumable))

    def id(self, number: int) -> str:
        return f"t_{number:05d}"

    def attempt(self, number: int) -> int:
        return self.state.trials[number].attempt

    @property
    def statuses(self) -> str:
        """The first letters, PAUSED as a small p."""
        return "".join(
            "p" if trial.status == "PAUSED" else trial.status[0] for trial in self.state.trials
        )

    def replayed(self, searcher: Searcher, scheduler: TrialScheduler) -> ExperimentState:
        """Other policies after a replay of all facts, as the journal has them."""
        table = TrialTable("/exp")
        state = ExperimentState(self.spec, table, searcher, scheduler, Limits(None))
        for fact in self.facts:
            if isinstance(fact, TrialResult):
                assert fact.raw is not None
                fact = dataclasses.replace(fact, result=codec.decode(fact.raw))
            state.replay(fact)
        return state


def of_kind(kind: type, facts: list[Fact]) -> list[Any]:
    return [fact for fact in facts if isinstance(fact, kind)]


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
    assert (launched.attempt, launched.checkpoint, launched.iteration) == (
        2,
        "checkpoint_000000",
        7,
    )
    (launch,) = play.commands
    assert isinstance(launch, Launch)
    assert launch.progress.time_total_s == 3.5


def test_more_than_there_is_for_every_trial_is_an_error_of_the_experiment() -> None:
    with pytest.raises(ResourceError, match="every trial asks for 3 CPU, of which there are 2"):
        Play(bundles_for=lambda config: [{"CPU": 3.0}])


@pytest.mark.parametrize("fail_fast", [False, True])
def test_more_than_there_is_for_one_trial_is_an_error_of_this_one(fail_fast: bool) -> None:
    def bundles_for(config: dict[str, Any]) -> list[dict[str, float]]:
        return [{"CPU": 1.0 if config["x"] else 3.0}]

    play = Play(bundles_for=bundles_for, bundles_vary=True, fail_fast=fail_fast)
    assert play.statuses == ("E" if fail_fast else "ERR")
    assert "asks for 3 CPU" in (play.state.trials[0].error or "")
    assert play.scheduler.told[:2] == [("add", "t_00000"), ("error", "t_00000")]
    assert play.searcher.told == [("complete", "t_00000", None, True)]
    assert (play.state.stop_reason is not None) is fail_fast
    assert play.state.is_over is fail_fast


@pytest.mark.parametrize("answer", ["LATER", [], 3])
def test_a_searcher_that_answers_nonsense_is_named(answer: Any) -> None:
    searcher = Counting()
    searcher.suggest = lambda trial_id: answer  # type: ignore[method-assign]
    with pytest.raises(TunerError, match=r"Counting.suggest returned .*; it must return a dict"):
        Play(searcher=searcher)


def test_a_scheduler_that_answers_nonsense_is_named() -> None:
    play = Play(scheduler=Recording("NOOP"))
    with pytest.raises(TunerError, match=r"Recording.on_trial_result returned 'NOOP'; it must"):
        play.report(0)


# Results


def test_a_result_that_says_done_ends_its_trial() -> None:
    play = Play()
    assert play.report(0, done=True) == "STOP"
    assert play.scheduler.told[-1] == ("complete", "t_00000")
    assert play.searcher.told == [("complete", "t_00000", 1, False)]
    play.finish(0)
    assert play.statuses == "TRR"
    assert len(play.searcher.told) == 1


def test_stoppers_see_the_last_result_too() -> None:
    class Whole(Stopper):
        seen = 0

        def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
            self.seen += 1
            return False

        def stop_all(self) -> bool:
            return self.seen == 1

    play = Play(stopper=Whole())
    play.report(0, done=True)
    assert play.state.stop_reason == "a stopper ended the experiment"


def test_the_searcher_hears_of_results_that_go_on_and_of_ends_once() -> None:
    play = Play(scheduler=Recording("CONTINUE", "PAUSE", "STOP"), searcher=Counting(1))
    play.report(0, 1)
    play.report(0, 2)
    play.finish(0)
    assert play.statuses == "R"
    play.report(0, 3)
    play.finish(0)
    assert play.searcher.told == [
        ("result", "t_00000", 1),
        ("result", "t_00000", 2),
        ("complete", "t_00000", 3, False),
    ]


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
    assert play.commands == []
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


def test_the_searcher_hears_of_a_failure_while_pausing() -> None:
    play = Play(scheduler=Recording("PAUSE"), searcher=Counting(1))
    play.report(0)
    play.fail(0)
    assert play.statuses == "E"
    assert play.searcher.told[-1] == ("complete", "t_00000", None, True)
    assert play.scheduler.told[-1] == ("error", "t_00000")


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


@pytest.mark.parametrize(
    ("recorded", "decided"), [("CONTINUE", "STOP"), ("STOP", "CONTINUE"), ("PAUSE", "STOP")]
)
def test_the_record_wins_over_a_policy_that_has_changed_its_mind(
    recorded: str, decided: str, caplog: pytest.LogCaptureFixture
) -> None:
    live = Play(scheduler=Recording(recorded), searcher=Counting(1), cpus=1)
    live.report(0, 1)
    if recorded == "CONTINUE":
        live.report(0, 2)
    live.finish(0)
    searcher, scheduler = Counting(1), Recording(decided)
    with caplog.at_level(logging.WARNING):
        state = live.replayed(searcher, scheduler)
    assert f"now says {decided} where the journal says {recorded}, which wins" in caplog.text
    assert [t.status for t in state.trials] == [t.status for t in live.state.trials]
    assert repr(state.trials[0].last_result) == repr(live.state.trials[0].last_result)
    assert searcher.told == live.searcher.told
    assert scheduler.told == live.scheduler.told


def test_a_replayed_scheduler_that_would_have_stopped_a_trial_goes_on_with_it() -> None:
    def asha() -> AsyncHyperBandScheduler:
        scheduler = AsyncHyperBandScheduler(grace_period=1, max_t=9, reduction_factor=3)
        scheduler.set_search_properties("n", "max")
        return scheduler

    live = Play(searcher=Counting(2), cpus=2)
    for number, iteration, n in ((0, 1, 9), (1, 1, 1), (0, 3, 9), (1, 3, 1), (1, 4, 2)):
        live.report(number, n, training_iteration=iteration)
    state = live.replayed(Counting(2), asha())
    assert [trial.status for trial in state.trials] == ["RUNNING", "RUNNING"]
    assert state.trials[1].last_result["n"] == 2


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
