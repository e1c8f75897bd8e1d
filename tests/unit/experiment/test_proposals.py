"""Where new trials come from, and what is refused of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from play import NOW, Counting, Play

from tuner.config import ResumeConfig
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


def told_but_for_0(config: dict[str, Any]) -> list[dict[str, float]]:
    return [{"CPU": 1 / config["x"]}]


@pytest.mark.parametrize("fail_fast", [False, True])
def test_resources_that_cannot_be_told_are_an_error_of_their_trial(fail_fast: bool) -> None:
    play = Play(bundles_for=told_but_for_0, bundles_vary=True, fail_fast=fail_fast)
    assert play.statuses == ("E" if fail_fast else "ERR")
    lines = (play.state.trials[0].error or "").splitlines()
    assert 'return [{"CPU": 1 / config["x"]}]' in map(str.strip, lines)
    assert "cannot be told from its configuration (ZeroDivisionError: division" in lines[-1]


def test_a_restore_leaves_alone_what_has_no_resources_still() -> None:
    play = Play(bundles_for=told_but_for_0, bundles_vary=True)
    facts, _ = play.state.resume(NOW, "test", ResumeConfig(errored="restart"))
    assert play.state.trials[0].status == "ERROR"
    assert play.state.trials[0].trial_id not in {getattr(fact, "trial_id", "") for fact in facts}


def test_a_search_without_an_end_in_which_nothing_can_be_told_is_an_error() -> None:
    play = Play(searcher=Counting(10**6), bundles_for=told_but_for_0, bundles_vary=True, cpus=2)
    play.state.spec = replace(play.state.spec, bundles_for=lambda config: [{"CPU": 1 // 0}])
    play.finish(1)
    while len(play.state.trials) < 900:
        play.give(Tick(NOW))
    with pytest.raises(ResourceError, match="the last 1000 trials could all not be launched"):
        play.give(Tick(NOW))


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
