"""ResourceChangingScheduler in the real state machine: who gets what, and that nobody waits."""

from __future__ import annotations

import pickle
import random
from typing import Any

import pytest
from play import NOW, Counting, Play, of_kind

from tuner.config import ResumeConfig
from tuner.errors import ConfigError, TunerError
from tuner.experiment.events import CapacityChanged, TrialChanged, TrialEnded, TrialLaunched
from tuner.schedulers import (
    ASHAScheduler,
    Change,
    DistributeResources,
    FIFOScheduler,
    HyperBandScheduler,
    PopulationBasedTraining,
    ResourceChangingScheduler,
    TrialScheduler,
)

PAUSE, CONTINUE = TrialScheduler.PAUSE, TrialScheduler.CONTINUE


def give(cpus: dict[int, float]) -> Any:
    """An allocation function that gives each trial so many CPUs, whatever else there is."""
    return lambda experiment, trial, result, scheduler: {"cpu": cpus[trial.number]}


def playing(scheduler: TrialScheduler, *, trials: int = 2, cpus: float = 4, **fields: Any) -> Play:
    return Play(searcher=Counting(trials), scheduler=scheduler, cpus=cpus, **fields)


def cpus(play: Play) -> list[float]:
    return [trial.bundles[0]["CPU"] for trial in play.state.trials]


def resize(play: Play, number: int, n: int = 1) -> None:
    """The trial reports, is told to pause, and does."""
    assert play.report(number, n) == PAUSE
    play.finish(number)


def test_a_trial_goes_on_at_once_with_what_is_free() -> None:
    play = playing(ResourceChangingScheduler())
    resize(play, 0)
    assert (play.statuses, cpus(play)) == ("RR", [2, 1])
    assert play.report(0, 2) == CONTINUE  # the other half is not for it
    resize(play, 1)
    assert (play.statuses, cpus(play)) == ("RR", [2, 2])
    assert [play.report(number, 3) for number in (0, 1)] == [CONTINUE] * 2
    play.finish(0)
    resize(play, 1, 4)
    assert (play.statuses, cpus(play)) == ("TR", [2, 4])
    assert play.report(1, 5) == CONTINUE


def test_what_is_left_over_goes_to_the_first_and_every_share_is_stable() -> None:
    play = playing(ResourceChangingScheduler(), trials=3, cpus=8)
    for number in range(3):
        resize(play, number)
    assert cpus(play) == [3, 3, 2]
    assert [play.report(number, 2) for number in range(3)] == [CONTINUE] * 3


def test_those_that_may_not_run_at_the_same_time_do_not_share() -> None:
    play = playing(ResourceChangingScheduler(), trials=3, cpus=4, max_running=1)
    resize(play, 0)
    assert play.statuses == "RP"
    assert [play.report(0, n) for n in (2, 3)] == [CONTINUE] * 2
    play.finish(0)
    resize(play, 1)
    assert cpus(play)[:2] == [4, 4]


def test_nobody_is_paused_for_what_is_not_free() -> None:
    play = playing(ResourceChangingScheduler(None, give({0: 4, 1: 4})))
    assert [play.report(number, n) for n in (1, 2) for number in (0, 1)] == [CONTINUE] * 4
    play.finish(0)
    resize(play, 1, 3)
    assert (play.statuses, cpus(play)) == ("TR", [1, 4])


def test_what_one_is_about_to_get_is_not_promised_to_another() -> None:
    play = playing(ResourceChangingScheduler(None, give({0: 3, 1: 3})))
    assert play.report(0) == PAUSE
    assert play.report(1) == CONTINUE
    play.finish(0)
    assert cpus(play) == [3, 1]


def test_less_is_free_for_others_once_the_trial_has_paused() -> None:
    play = playing(ResourceChangingScheduler(None, give({0: 1, 1: 3})))
    play.state.trials[0].bundles = [{"CPU": 1.0}]
    resize(play, 1)
    assert cpus(play) == [1, 3]
    shrinking = play.scheduler
    shrinking._allocate = give({0: 3, 1: 1})
    assert play.report(0, 2) == CONTINUE
    assert play.report(1, 2) == PAUSE
    assert play.report(0, 3) == CONTINUE  # it still has them
    play.finish(1)
    resize(play, 0, 4)
    assert cpus(play) == [3, 1]


def test_a_trial_whose_promise_was_taken_goes_on_with_what_it_had() -> None:
    play = playing(ResourceChangingScheduler(None, give({0: 4})), trials=1)
    assert play.report(0) == PAUSE
    play.give(CapacityChanged(NOW, {"CPU": 2.0}))
    play.finish(0)
    assert (play.statuses, cpus(play)) == ("R", [1])
    assert of_kind(TrialChanged, play.facts) == []


def test_the_trial_that_resizes_goes_before_those_that_wait() -> None:
    play = playing(ResourceChangingScheduler(None, give({0: 2, 1: 1, 2: 1})), trials=9, cpus=3.5)
    assert play.statuses == "RRRP"
    play.finish(2)
    assert play.statuses == "RRTRP"
    play.finish(1)  # the last one that waits takes its place before trial 0 asks
    assert play.report(0) == CONTINUE
    assert cpus(play)[0] == 1


class Watching(FIFOScheduler):
    """Keeps what it is told of pauses and changes; pauses where it is told to."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.pauses: set[int] = set()

    def on_trial_result(self, experiment: Any, trial: Any, result: dict[str, Any]) -> str:
        return self.PAUSE if result["n"] in self.pauses else self.SAVE

    def on_trial_pause(self, experiment: Any, trial: Any) -> None:
        self.told.append("pause")

    def on_trial_change(self, experiment: Any, trial: Any, change: Change) -> None:
        self.told.append(f"change to {change.config}")

    def changes(self, experiment: Any) -> Any:
        paused = [trial for trial in experiment.paused_trials if trial.last_result["n"] == 9]
        return [Change(trial_id=trial.trial_id, config={"x": 17}) for trial in paused]


def test_the_base_hears_of_its_own_pauses_and_changes_only() -> None:
    base = Watching()
    play = playing(ResourceChangingScheduler(base), trials=1)
    resize(play, 0)
    assert base.told == []
    base.pauses = {9}
    resize(play, 0, 9)
    assert base.told == ["pause", "change to {'x': 17}"]
    assert play.state.trials[0].config == {"x": 17}
    assert cpus(play) == [1], "a trial that the base pauses gives back what it was given"
    assert play.statuses == "R"


@pytest.mark.parametrize(
    ("base", "trials"),
    [
        (HyperBandScheduler(metric="loss", mode="min", max_t=9), 6),
        (
            PopulationBasedTraining(
                time_attr="training_iteration",
                metric="loss",
                mode="min",
                perturbation_interval=2,
                hyperparam_mutations={"x": [1, 2]},
                synch=True,
            ),
            2,
        ),
    ],
    ids=["HyperBand", "synchronous PBT"],
)
def test_a_base_that_lets_trials_go_on_by_empty_changes_hears_of_them(
    base: TrialScheduler, trials: int
) -> None:
    play = playing(ResourceChangingScheduler(base), trials=trials)
    progress = dict.fromkeys(range(trials), 0)
    while running := [trial.number for trial in play.state.running_trials]:
        number = min(running)
        progress[number] += 1
        if progress[number] > 10 or play.report(number, progress[number], loss=number) != CONTINUE:
            play.finish(number)
    assert play.statuses == "T" * trials


def test_the_base_saves_where_nothing_changes() -> None:
    play = playing(ResourceChangingScheduler(Watching(), None), trials=1)
    assert play.report(0) == TrialScheduler.SAVE


def test_what_the_base_stops_is_not_resized() -> None:
    asha = ASHAScheduler(metric="loss", mode="min", grace_period=1, reduction_factor=2)
    play = playing(ResourceChangingScheduler(asha))
    assert play.report(0, loss=0.0) == PAUSE
    assert play.report(1, loss=1.0) == TrialScheduler.STOP


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({"cpu": 5}, "there are 4 CPU"),
        ({"tpu": 1}, "there are 0 tpu"),
        ({"cpu": -1}, "not negative"),
        ({"cpu": "2"}, "must be a number"),
        (3, "must be a dictionary"),
    ],
)
def test_an_impossible_allocation_is_one_clear_error(answer: Any, why: str) -> None:
    def mine(experiment: Any, trial: Any, result: Any, scheduler: Any) -> Any:
        return answer

    play = playing(ResourceChangingScheduler(None, mine))
    with pytest.raises(ConfigError, match=f"=mine returned .* for trial t_00000: .*{why}") as error:
        play.report(0)
    assert "\n" not in str(error.value)


def test_a_replay_knows_what_was_asked_for_and_what_was_given() -> None:
    play = playing(ResourceChangingScheduler(), trials=2)
    resize(play, 0)
    resize(play, 1)
    other = ResourceChangingScheduler()
    replayed = play.replayed(Counting(2), other)
    assert [trial.bundles for trial in replayed.trials] == [[{"CPU": 2.0}]] * 2
    assert pickle.dumps(other._requests) == pickle.dumps(play.scheduler._requests)
    assert other.base_resources(replayed.trials[0]).required_resources == {"CPU": 1.0}


def restored_with(cpus: float) -> Any:
    """Two trials with two CPUs each, killed, and restored where there are so many."""
    play = playing(ResourceChangingScheduler(), trials=2)
    resize(play, 0)
    resize(play, 1)
    state = play.replayed(Counting(2), ResourceChangingScheduler())
    play.facts += state.resume(NOW, "test", ResumeConfig())[0]
    play.state = state
    play.give(CapacityChanged(NOW, {"CPU": cpus}))
    return play


@pytest.mark.parametrize(("capacity", "expected"), [(4, [2, 2]), (3, [2, 1])])
def test_a_restore_keeps_what_there_is_room_for(capacity: float, expected: list[float]) -> None:
    play = restored_with(capacity)
    assert (play.statuses, cpus(play)) == ("RR", expected)


def test_a_trial_gives_back_what_one_that_waits_needs() -> None:
    play = restored_with(2)
    assert (play.statuses, cpus(play)) == ("RP", [2, 2])
    resize(play, 0, 2)
    assert (play.statuses, cpus(play)) == ("RR", [1, 1])


def test_a_trial_that_had_more_than_there_is_now_runs_with_what_it_asked_for() -> None:
    play = restored_with(1)
    assert (play.statuses, cpus(play)) == ("RP", [1, 2])
    play.finish(0)
    assert (play.statuses, cpus(play)) == ("TR", [1, 1])


def test_killed_between_pause_and_change_the_trial_still_gets_what_was_promised() -> None:
    play = playing(ResourceChangingScheduler(), trials=1)
    assert play.report(0) == PAUSE
    state = play.replayed(Counting(1), ResourceChangingScheduler())
    state.resume(NOW, "test", ResumeConfig())
    state.handle([CapacityChanged(NOW, {"CPU": 4.0})])
    (trial,) = state.trials
    assert (trial.status, trial.bundles) == ("RUNNING", [{"CPU": 4.0}])


@pytest.mark.parametrize("seed", range(40))
def test_whatever_is_asked_for_all_trials_end_and_no_more_is_used_than_there_is(seed: int) -> None:
    rng = random.Random(seed)
    total = rng.choice([2.0, 3.5, 4.0, 8.0])

    def mine(experiment: Any, trial: Any, result: Any, scheduler: Any) -> Any:
        return rng.choice([None, {"cpu": rng.uniform(0, total)}, {"cpu": total}, {"cpu": 1}])

    function = rng.choice(
        [mine, DistributeResources(), DistributeResources(increase_by={"CPU": 2})]
    )
    play = playing(
        ResourceChangingScheduler(None, function),
        trials=8,
        cpus=total,
        max_failures=-1,
        bundles_for=lambda config: [{"CPU": rng.choice([0.5, 1.0, 2.0])}],
        bundles_vary=True,
    )
    progress = dict.fromkeys(range(8), 0)
    for _ in range(2000):
        running = [t for t in play.state.trials if t.status == "RUNNING"]
        assert sum(t.bundles[0].get("CPU", 0) for t in running) <= total + 1e-6
        if play.state.is_over:
            break
        assert running, f"nothing runs: {play.statuses}, {cpus(play)}"
        number = rng.choice(running).number
        progress[number] += 1
        if progress[number] > 10:
            play.finish(number)
        elif rng.random() < 0.1:
            play.fail(number)
        elif play.report(number, progress[number]) == PAUSE:
            play.finish(number)
    assert play.statuses == "T" * 8


def test_only_the_resources_of_a_pending_trial_can_be_changed() -> None:
    class Eager(FIFOScheduler):
        config: dict[str, Any] | None = None

        def changes(self, experiment: Any) -> Any:
            waiting = [t for t in experiment.pending_trials if t.bundles == [{"CPU": 3.0}]]
            return [
                Change(trial_id=t.trial_id, bundles=[{"CPU": 1.0}], config=self.config)
                for t in waiting
            ]

    play = playing(Eager(), trials=2, bundles_for=lambda config: [{"CPU": 3.0}])
    assert play.statuses == "RP"
    play.give(CapacityChanged(NOW, {"CPU": 4.0}))
    play.report(0)
    assert (play.statuses, cpus(play)) == ("RR", [3, 1])

    play = playing(Eager(), trials=2, bundles_for=lambda config: [{"CPU": 3.0}])
    play.scheduler.config = {"x": 5}
    with pytest.raises(TunerError, match="'t_00001', which is PENDING"):
        play.report(0)


def test_a_resized_trial_is_launched_as_an_attempt_of_its_own() -> None:
    play = playing(ResourceChangingScheduler(), trials=1)
    resize(play, 0)
    assert [fact.attempt for fact in of_kind(TrialLaunched, play.facts)] == [1, 2]
    assert [fact.status for fact in of_kind(TrialEnded, play.facts)] == ["PAUSED"]
