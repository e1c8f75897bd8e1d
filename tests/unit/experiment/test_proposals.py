"""Where new trials come from, and what is refused of them."""

from __future__ import annotations

from typing import Any

import pytest
from play import NOW, Counting, Play

from tuner.errors import ResourceError, TunerError
from tuner.experiment.events import Tick


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


def test_a_search_without_an_end_in_which_nothing_fits_is_an_error() -> None:
    def bundles_for(config: dict[str, Any]) -> list[dict[str, float]]:
        return [{"CPU": 1.0 if config["x"] == 500 else 3.0}]

    play = Play(searcher=Counting(10**6), bundles_for=bundles_for, bundles_vary=True, cpus=2)
    while len(play.state.trials) < 1500:
        play.give(Tick(NOW))
    assert play.state.trials[500].status == "RUNNING", "it began the count anew"
    with pytest.raises(ResourceError, match="the last 1000 trials all asked for more than there"):
        play.give(Tick(NOW))
