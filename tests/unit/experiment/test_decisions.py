"""What the policies are asked and told, once each."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from play import Counting, Play, Recording

from tuner.errors import TunerError
from tuner.schedulers import AsyncHyperBandScheduler
from tuner.stoppers import Stopper


def test_a_scheduler_that_answers_nonsense_is_named() -> None:
    play = Play(scheduler=Recording("NOOP"))
    with pytest.raises(TunerError, match=r"Recording.on_trial_result returned 'NOOP'; it must"):
        play.report(0)


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


def test_the_searcher_hears_of_a_failure_while_pausing() -> None:
    play = Play(scheduler=Recording("PAUSE"), searcher=Counting(1))
    play.report(0)
    play.fail(0)
    assert play.statuses == "E"
    assert play.searcher.told[-1] == ("complete", "t_00000", None, True)
    assert play.scheduler.told[-1] == ("error", "t_00000")


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
