"""What follows from requests to a live experiment."""

from __future__ import annotations

from typing import Any

import pytest
from play import NOW, Counting, Play, Recording, of_kind

from tuner.config import ResumeConfig
from tuner.experiment.commands import EndAttempt, Launch, Respond
from tuner.experiment.events import (
    Asked,
    CapacityChanged,
    ExperimentEnded,
    TrialCreated,
    TrialLaunched,
    TrialSteered,
)
from tuner.experiment.requests import (
    AddTrials,
    ChangeLimits,
    Outcome,
    PauseTrial,
    Request,
    ResumeTrial,
    StopExperiment,
    StopTrial,
)
from tuner.search_space import choice, grid_search, uniform
from tuner.search_space.variants import SearchSpace


def ask(play: Play, request: Request) -> Outcome:
    play.give(Asked(NOW, "r1", request))
    (answer,) = (each for each in play.commands if isinstance(each, Respond))
    assert answer.request_id == "r1"
    return answer.outcome


def refusal(play: Play, request: Request) -> str:
    """Why nothing was done, which is checked."""
    before = len(play.facts)
    outcome = ask(play, request)
    assert outcome.refusal is not None
    assert outcome.trial_ids == ()
    assert len(play.facts) == before
    return f"{outcome.kind}: {outcome.refusal}"


def test_a_running_trial_is_stopped_and_its_slot_goes_to_the_next_one() -> None:
    play = Play(cpus=1)
    assert ask(play, StopTrial(play.id(0))) == Outcome(trial_ids=(play.id(0),))
    assert EndAttempt(play.id(0), 1) in play.commands
    assert play.statuses == "R", "its process is still there"
    assert play.report(0) == "STOP"
    play.finish(0)
    assert play.statuses == "TR"
    assert ("complete", play.id(0)) in play.scheduler.told
    assert play.searcher.told == [("complete", play.id(0), None, False)]


def test_a_waiting_and_a_paused_trial_are_stopped_at_once() -> None:
    play = Play(cpus=1, scheduler=Recording("PAUSE"))
    play.report(0)
    play.finish(0, interrupted=True)
    assert play.statuses == "pR"
    ask(play, StopTrial(play.id(0)))
    assert play.statuses == "TR"
    assert ("remove", play.id(0)) in play.scheduler.told
    assert refusal(play, StopTrial(play.id(0))).startswith("conflict: trial t_00000 has ended")
    assert refusal(play, StopTrial("t_00009")) == "unknown: there is no trial 't_00009'"


def test_a_trial_pauses_at_its_next_report_and_policies_are_told_of_the_report_only() -> None:
    play = Play(cpus=1)
    ask(play, PauseTrial(play.id(0)))
    assert play.statuses == "R"
    assert play.report(0) == "PAUSE"
    play.finish(0, interrupted=True)
    assert play.statuses == "pR", "it waits, and another one takes its place"
    assert play.scheduler.told == [("add", "t_00000"), ("result", "t_00000"), ("add", "t_00001")]
    assert play.searcher.told == [("result", "t_00000", 1)]
    play.finish(1)
    play.finish(2)
    assert play.statuses == "pTT", "nobody lets it go on by himself"
    assert not of_kind(ExperimentEnded, play.facts)
    ask(play, ResumeTrial(play.id(0)))
    assert play.statuses == "RTT"
    play.finish(0)
    assert of_kind(ExperimentEnded, play.facts)[0].complete


def test_policies_do_not_see_results_again_that_a_resumed_trial_repeats() -> None:
    play = Play(cpus=1)
    play.report(0)
    ask(play, PauseTrial(play.id(0)))
    play.report(0, 2)
    play.finish(0, interrupted=True)
    ask(play, ResumeTrial(play.id(0)))
    assert play.statuses == "PR"
    play.finish(1)
    launched = of_kind(TrialLaunched, play.facts)[-1]
    assert (launched.trial_id, launched.num_results) == (play.id(0), 0), "it has no checkpoint"
    assert [play.report(0, n) for n in (1, 2, 3)] == ["CONTINUE"] * 3
    results = [told for told in play.searcher.told if told[0] == "result"]
    assert [n for _, _, n in results] == [1, 2, 3]


def test_a_trial_that_its_scheduler_pauses_stays_so_until_it_is_resumed() -> None:
    play = Play(cpus=1, scheduler=Recording("PAUSE"))
    ask(play, PauseTrial(play.id(0)))
    play.report(0)
    play.finish(0, interrupted=True)
    play.finish(1)
    play.finish(2)
    assert play.statuses == "pTT"
    ask(play, ResumeTrial(play.id(0)))
    assert play.statuses == "RTT", "the scheduler has it back, and lets it go on"


def test_only_a_running_trial_pauses_and_only_one_that_a_request_paused_resumes() -> None:
    play = Play(cpus=1, scheduler=Recording("PAUSE"))
    play.report(0)
    play.finish(0, interrupted=True)
    assert "is PAUSED; only a RUNNING one can pause" in refusal(play, PauseTrial(play.id(0)))
    assert "was not paused by a request" in refusal(play, ResumeTrial(play.id(0)))
    ask(play, PauseTrial(play.id(1)))
    assert "was asked to pause before" in refusal(play, PauseTrial(play.id(1)))
    play.report(1)
    assert "is about to pause" in refusal(play, ResumeTrial(play.id(1)))


def test_a_pause_can_be_taken_back_before_the_report() -> None:
    play = Play(cpus=1)
    ask(play, PauseTrial(play.id(0)))
    ask(play, ResumeTrial(play.id(0)))
    assert play.report(0) == "CONTINUE"


SPACE = SearchSpace({"x": uniform(0, 1), "kind": choice(["a", "b"]), "depth": 3})


def test_added_trials_have_what_was_asked_for_and_the_rest_from_the_search_space() -> None:
    play = Play(param_space=SPACE, cpus=1)
    outcome = ask(play, AddTrials({"x": 0.5}, num_samples=2))
    assert outcome.trial_ids == (play.id(1), play.id(2))
    added = [fact for fact in of_kind(TrialCreated, play.facts) if fact.is_added]
    assert [fact.config["x"] for fact in added] == [0.5, 0.5]
    assert {fact.config["kind"] for fact in added} <= {"a", "b"}
    assert [fact.config["depth"] for fact in added] == [3, 3]
    assert added[0].experiment_tag.startswith("1_x=0.5,kind=")
    again = Play(param_space=SPACE, cpus=1)
    ask(again, AddTrials({"x": 0.5}, num_samples=2))
    configs = [[trial.config for trial in each.state.trials] for each in (play, again)]
    assert configs[0] == configs[1], "drawn from the seed"


def test_a_grid_gives_a_trial_for_each_combination() -> None:
    play = Play(param_space=SearchSpace({"x": grid_search([7, 8]), "y": 0}))
    ask(play, AddTrials({"y": {"grid_search": [1, 2]}}))
    added = [trial.config for trial in play.state.trials if trial.is_added]
    assert added == [{"x": x, "y": y} for y in (1, 2) for x in (7, 8)]


def test_without_a_search_space_a_config_is_taken_as_it_is() -> None:
    play = Play()
    ask(play, AddTrials({"anything": [1, {"grid_search": [2, 3]}]}))
    added = [trial.config for trial in play.state.trials if trial.is_added]
    assert added == [{"anything": [1, 2]}, {"anything": [1, 3]}]


def test_the_searcher_hears_nothing_of_added_trials_and_proposes_as_many_as_before() -> None:
    play = Play(num_trials=3, cpus=4)
    ask(play, AddTrials({"x": 100}))
    assert play.statuses == "RRRR"
    play.report(3)
    play.finish(3)
    assert play.searcher.told == []
    assert ("complete", play.id(3)) in play.scheduler.told
    assert play.state.num_trials == 4
    for number in range(3):
        play.finish(number)
    assert of_kind(ExperimentEnded, play.facts)[0].complete
    searcher, scheduler = Counting(), Recording()
    play.replayed(searcher, scheduler)
    assert searcher.told == play.searcher.told
    assert scheduler.told == play.scheduler.told


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (AddTrials({"z": 1}), "z"),
        (AddTrials({}, num_samples=0), "num_samples"),
        (AddTrials({}, num_samples=1001), "1001 trials"),
        (AddTrials({"x": {"grid_search": [*range(1001)]}}), "1001 trials"),
        (AddTrials({"x": {"grid_search": []}}), "grid_search"),
        (ChangeLimits(), "nothing to change"),
        (ChangeLimits(num_samples=0), "num_samples=0"),
        (ChangeLimits(time_budget_s=-1), "time_budget_s=-1"),
        (ChangeLimits(max_concurrent_trials=-1), "max_concurrent_trials=-1"),
    ],
)
def test_values_that_cannot_work_are_named(request_: Request, words: str) -> None:
    text = refusal(Play(param_space=SPACE), request_)
    assert text.startswith("invalid: ")
    assert words in text


def test_a_trial_that_asks_for_more_than_there_is_is_refused() -> None:
    play = Play(bundles_for=lambda config: [{"CPU": config["x"] + 1.0}], cpus=4, bundles_vary=True)
    assert "asks for 10 CPU, of which there are 4" in refusal(play, AddTrials({"x": 9}))


def test_what_the_users_code_makes_of_a_value_is_a_refusal_and_nothing_else() -> None:
    play = Play(bundles_for=lambda config: [{"CPU": 1.0 + (config["x"] > 5)}], bundles_vary=True)
    text = refusal(play, AddTrials({"x": "abc"}))
    assert text.startswith("invalid: config: no trial can be made of it (TypeError: '>' not")


def test_trials_are_added_all_or_none() -> None:
    play = Play(name_creator=lambda trial: f"t{trial.config['x']:.3f}")
    text = refusal(play, AddTrials({"x": {"grid_search": [0.5, 0.25, None]}}))
    assert "trial_name_creator raised TypeError" in text


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"x": "abc"}, "x='abc' is outside of uniform"),
        ({"x": None}, "x=None is outside"),
        ({"kind": "c"}, "kind='c' is outside of choice"),
        ({"depth": "deep"}, "depth='deep' is not the search space's constant 3"),
    ],
)
def test_values_of_another_kind_are_refused(config: dict[str, Any], words: str) -> None:
    play = Play(param_space=SPACE)
    assert words in refusal(play, AddTrials(config))
    assert ask_refused(play, AddTrials(config)).field == "spec.config"


def ask_refused(play: Play, request: Request) -> Outcome:
    outcome = ask(play, request)
    assert outcome.refusal is not None
    return outcome


def test_numbers_of_a_grid_or_a_choice_may_be_others() -> None:
    play = Play(param_space=SearchSpace({"x": grid_search([1, 2]), "y": choice([3, None])}))
    ask(play, AddTrials({"x": 7, "y": 8.5}))
    assert play.state.trials[-1].config == {"x": 7, "y": 8.5}
    assert "x='7' is outside of grid_search" in refusal(play, AddTrials({"x": "7"}))


def test_numbers_may_be_others_than_would_be_drawn(caplog: pytest.LogCaptureFixture) -> None:
    play = Play(param_space=SPACE)
    ask(play, AddTrials({"x": 7, "kind": "a", "depth": 4}))
    assert play.state.trials[-1].config == {"x": 7, "kind": "a", "depth": 4}
    assert caplog.text == ""


def test_a_trial_that_was_told_to_stop_is_stopped_once_and_neither_pauses_nor_resumes() -> None:
    play = Play(cpus=1)
    ask(play, StopTrial(play.id(0)))
    before = len(play.facts)
    assert ask(play, StopTrial(play.id(0))) == Outcome(trial_ids=(play.id(0),))
    assert len(play.facts) == before
    assert not [each for each in play.commands if isinstance(each, EndAttempt)]
    assert "has been told to stop" in refusal(play, PauseTrial(play.id(0)))
    assert "has been told to stop" in refusal(play, ResumeTrial(play.id(0)))


def test_more_samples_and_more_at_once() -> None:
    play = Play(searcher=Counting(10), num_trials=2, max_running=1, cpus=4)
    assert play.statuses == "R"
    ask(play, ChangeLimits(max_concurrent_trials=3))
    assert play.statuses == "RR", "there are two trials in all"
    ask(play, ChangeLimits(max_concurrent_trials=0))
    play.finish(0)
    assert play.statuses == "TR"


def test_a_limit_of_executor_or_searcher_stays() -> None:
    play = Play(max_running=1, most_running=2, cpus=4)
    ask(play, ChangeLimits(max_concurrent_trials=0))
    assert play.statuses == "RR"


def test_a_time_budget_counts_the_time_used_before() -> None:
    play = Play()
    ask(play, ChangeLimits(time_budget_s=7.0))
    assert play.state.deadline == NOW + 7.0


@pytest.mark.parametrize("resumable", [False, True])
def test_the_experiment_is_ended(resumable: bool) -> None:
    play = Play(cpus=1)
    ask(play, StopExperiment(resumable))
    assert "the experiment ends: it was asked to end" in refusal(play, StopTrial(play.id(0)))
    play.report(0)
    play.finish(0, interrupted=True)
    assert play.statuses == ("p" if resumable else "T")
    assert of_kind(ExperimentEnded, play.facts)[0].complete is not resumable


def paused_and_killed() -> tuple[Play, Any]:
    """An experiment killed when its first trial was paused by a request, and its replay."""
    play = Play(cpus=2)
    ask(play, PauseTrial(play.id(0)))
    play.report(0)
    play.finish(0, interrupted=True)
    ask(play, ChangeLimits(max_concurrent_trials=1))
    return play, play.replayed(Counting(), Recording())


def test_what_was_paused_stays_so_after_a_restore_that_can_be_steered() -> None:
    play, state = paused_and_killed()
    play.facts, _ = state.resume(NOW, "test", ResumeConfig(), can_be_steered=True)
    play.state = state
    play.give(CapacityChanged(NOW, {"CPU": 2.0}))
    assert play.statuses == "pRP", "one at a time, as was asked for"
    ask(play, ResumeTrial(play.id(0)))
    play.finish(1)
    assert play.statuses == "PTR", "what ran when the controller died goes first"


def test_what_was_paused_stays_so_also_where_others_start_again() -> None:
    _, state = paused_and_killed()
    state.resume(NOW, "test", ResumeConfig(unfinished="restart"), can_be_steered=True)
    assert [trial.status for trial in state.trials] == ["PAUSED", "PENDING", "PENDING"]


def test_without_a_server_what_was_paused_goes_on() -> None:
    play, state = paused_and_killed()
    facts, _ = state.resume(NOW, "test", ResumeConfig())
    assert of_kind(TrialSteered, facts)[0].decision == "CONTINUE"
    play.state = state
    play.give(CapacityChanged(NOW, {"CPU": 2.0}))
    launched = [each.trial.number for each in play.commands if isinstance(each, Launch)]
    assert launched == [0]
