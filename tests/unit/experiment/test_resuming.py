"""What becomes of trials of every status at a restore."""

from __future__ import annotations

from typing import Any

import pytest
from play import NOW, Counting, Play, Recording, of_kind

from tuner.config import ResumeConfig
from tuner.experiment.events import (
    CapacityChanged,
    ExperimentChanged,
    Saved,
    TrialEnded,
    TrialRequeued,
)
from tuner.stoppers import coerce

LATER = NOW + 100
COMPLETED, STOPPED, FAILED, PAUSED, RUNNING, WAITING = range(6)


class Patient(Recording):
    def choose_trial_to_run(self, experiment: Any) -> Any:
        """Leaves paused trials alone."""
        return next(filter(experiment.fits, experiment.pending_trials), None)


def killed() -> Play:
    """An experiment with a trial of each kind when its controller was killed."""
    play = Play(
        searcher=Counting(6),
        scheduler=Patient("CONTINUE", "PAUSE"),
        stopper=coerce({"n": 5}),
        cpus=5,
        bundles_for=lambda config: [{"CPU": 1.0 if config["x"] != WAITING else 5.0}],
        bundles_vary=True,
    )
    play.report(COMPLETED, 1)
    play.finish(COMPLETED)
    play.report(STOPPED, 5)
    play.finish(STOPPED)
    play.fail(FAILED)
    play.report(PAUSED, 1)
    play.finish(PAUSED)
    play.report(RUNNING, 1)
    assert play.statuses == "TTEpRP"
    return play


def resumed(
    play: Play, changed: ExperimentChanged | None = None, **config: str
) -> tuple[dict[int, bool], list[int]]:
    """Which trials go on, and whether anew; and which were ended."""
    facts, _ = play.state.resume(LATER, "test", ResumeConfig(**config), changed)
    numbers = {trial.trial_id: trial.number for trial in play.state.trials}
    requeued = {numbers[fact.trial_id]: fact.anew for fact in of_kind(TrialRequeued, facts)}
    return requeued, [numbers[fact.trial_id] for fact in of_kind(TrialEnded, facts)]


@pytest.mark.parametrize(
    ("config", "go_on", "ended"),
    [
        ({}, {RUNNING: False}, []),
        ({"unfinished": "restart"}, {PAUSED: True, RUNNING: True}, []),
        ({"unfinished": "skip"}, {}, [PAUSED, RUNNING, WAITING]),
        ({"errored": "resume"}, {FAILED: False, RUNNING: False}, []),
        ({"errored": "restart"}, {FAILED: True, RUNNING: False}, []),
        ({"finished": "resume"}, {COMPLETED: False, STOPPED: False, RUNNING: False}, []),
        (
            {"finished": "restart", "unfinished": "skip"},
            {COMPLETED: True, STOPPED: True},
            [PAUSED, RUNNING, WAITING],
        ),
    ],
)
def test_each_kind_of_trial(
    config: dict[str, str], go_on: dict[int, bool], ended: list[int]
) -> None:
    assert resumed(killed(), **config) == (go_on, ended)


@pytest.mark.parametrize(("stop", "goes_on"), [({"n": 6}, True), ({"n": 5}, False)])
def test_what_a_stopper_had_ended_goes_on_if_the_new_one_would_not(
    stop: dict[str, int], goes_on: bool
) -> None:
    changed = ExperimentChanged(time=LATER, num_samples=None, stop=stop, time_budget_s=None)
    requeued, _ = resumed(killed(), changed)
    assert requeued == ({STOPPED: False} if goes_on else {}) | {RUNNING: False}


@pytest.mark.parametrize("checkpoint_at_end", [False, True])
@pytest.mark.parametrize("is_saved", [False, True])
def test_a_trial_that_was_told_to_stop_is_ended_once_it_is_saved(
    checkpoint_at_end: bool, is_saved: bool
) -> None:
    play = Play(
        searcher=Counting(1), scheduler=Recording("STOP"), checkpoint_at_end=checkpoint_at_end
    )
    play.report(0)
    if is_saved:
        play.give(Saved(NOW, play.id(0), 1, "checkpoint_000000"))
    has_more_to_do = checkpoint_at_end and not is_saved
    assert resumed(play) == (({0: False}, []) if has_more_to_do else ({}, [0]))
    assert play.state.is_over is not has_more_to_do


def test_a_trial_that_was_told_to_pause_is_paused() -> None:
    play = Play(searcher=Counting(1), scheduler=Patient("PAUSE"))
    play.report(0)
    assert resumed(play) == ({}, [0])
    assert play.statuses == "p"


@pytest.mark.parametrize("told", ["PAUSE", "SAVE"])
def test_a_class_that_could_not_save_when_it_was_told_is_told_again(told: str) -> None:
    play = Play(searcher=Counting(1), scheduler=Patient("CONTINUE", told), saves_when_told=True)
    play.report(0, 1)
    play.report(0, 2)
    assert resumed(play) == ({0: False}, [])
    play.give(CapacityChanged(LATER, {"CPU": 1.0}))
    assert [play.report(0, n) for n in (1, 2)] == ["CONTINUE", told]
    assert [what for what, _ in play.scheduler.told] == ["add", "result", "result"]
    play.give(Saved(LATER, play.id(0), 2, "checkpoint_000000"))
    if told == "PAUSE":
        play.finish(0, interrupted=True)
        assert play.statuses == "p"
    else:
        assert play.report(0, 3) == "CONTINUE"


def test_a_class_that_had_saved_when_it_paused_is_paused() -> None:
    play = Play(searcher=Counting(1), scheduler=Patient("PAUSE"), saves_when_told=True)
    play.report(0)
    play.give(Saved(NOW, play.id(0), 1, "checkpoint_000000"))
    assert resumed(play) == ({}, [0])
    assert play.statuses == "p"
