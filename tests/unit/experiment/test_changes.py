"""What becomes of paused trials when a scheduler changes them."""

from __future__ import annotations

import logging
import pickle
from typing import Any

import pytest
from play import NOW, Counting, Play, Recording, of_kind

from tuner.errors import ResourceError, TunerError
from tuner.experiment.commands import DeleteCheckpoint, Launch
from tuner.experiment.events import (
    CapacityChanged,
    CapacityKnown,
    Saved,
    Tick,
    TrialChanged,
    TrialCreated,
    TrialEnded,
    TrialLaunched,
)
from tuner.experiment.retention import Retention
from tuner.schedulers import Change, Stop


class Changing(Recording):
    """Wants done what a test puts into `wanted`; runs what is in `ready`, or is pending."""

    def __init__(self, *answers: str) -> None:
        super().__init__(*answers)
        self.wanted: list[Change | Stop] = []
        self.ready: list[str] = []
        self.stalls = 0

    def complete_config(self, config: dict[str, Any], number: int) -> dict[str, Any]:
        return {**config, "nested": {"added": number}}

    def on_trial_pause(self, experiment: Any, trial: Any) -> None:
        assert trial.status == "PAUSED"
        self.told.append(("pause", trial.trial_id))

    def on_trial_change(self, experiment: Any, trial: Any, change: Change) -> None:
        self.told.append(("change", trial.trial_id))

    def changes(self, experiment: Any) -> list[Change | Stop]:
        self.stalls += experiment.is_stalled
        wanted, self.wanted = self.wanted, []
        return wanted

    def choose_trial_to_run(self, experiment: Any) -> Any:
        waiting = [*experiment.pending_trials]
        waiting += [t for t in experiment.paused_trials if t.trial_id in self.ready]
        return next((trial for trial in waiting if experiment.fits(trial)), None)


def save(play: Play, number: int) -> None:
    trial = play.state.trials[number]
    name = f"checkpoint_{trial.next_checkpoint:06d}"
    play.give(Saved(NOW, trial.trial_id, trial.attempt, name))


def pause(play: Play, number: int, n: int = 1, *, is_saved: bool = True) -> None:
    play.scheduler.answers[:] = ["PAUSE"]
    assert play.report(number, n) == "PAUSE"
    if is_saved:
        save(play, number)
    play.finish(number)


def two_trials(**fields: Any) -> Play:
    """The first one runs and has a checkpoint after 7 iterations, the second is paused after 3."""
    play = Play(searcher=Counting(2), scheduler=Changing(), **fields)
    play.report(0, 7)
    save(play, 0)
    pause(play, 1, 3)
    return play


def exploit(play: Play, **fields: Any) -> Launch:
    """The second trial goes on from the first one's checkpoint."""
    play.scheduler.wanted = [Change(trial_id=play.id(1), donor=play.id(0), **fields)]
    play.scheduler.ready = [play.id(1)]
    play.give(Tick(NOW))
    (launch,) = (c for c in play.commands if isinstance(c, Launch))
    return launch


def test_a_scheduler_completes_the_configuration_of_a_new_trial() -> None:
    play = Play(searcher=Counting(1), scheduler=Changing())
    (created,) = of_kind(TrialCreated, play.facts)
    assert created.config == {"x": 0, "nested": {"added": 0}}
    assert created.evaluated_params == {"x": 0, "nested/added": 0}


def test_an_exploit_launches_from_the_donors_checkpoint_with_the_new_configuration() -> None:
    play = two_trials()
    launch = exploit(play, config={"x": 5}, is_logged=True)
    donor, trial = play.state.trials
    assert (launch.trial, launch.donor, launch.checkpoint) == (trial, donor, "checkpoint_000000")
    assert launch.progress.iteration == 7
    assert trial.config == {"x": 5}
    assert trial.experiment_tag == "1_x=5"
    (fact,) = of_kind(TrialChanged, play.facts)
    assert (fact.donor, fact.checkpoint, fact.is_logged) == ("t_00000", "checkpoint_000000", True)
    assert play.scheduler.told[-2:] == [("pause", "t_00001"), ("change", "t_00001")]
    assert trial.last_result["training_iteration"] == 3, "what it has reported stays its own"


def test_iterations_are_those_of_the_checkpoint_also_when_the_donor_is_behind() -> None:
    play = Play(searcher=Counting(2), scheduler=Changing())
    play.report(0, 2)
    save(play, 0)
    pause(play, 1, 9)
    assert exploit(play).progress.iteration == 2
    trial = play.state.trials[1]
    assert (trial.num_results, of_kind(TrialLaunched, play.facts)[-1].num_results) == (1, 1)


def test_a_donors_checkpoint_is_kept_until_the_other_trial_has_its_own() -> None:
    play = two_trials()
    donor, trial = play.state.trials
    play.state.table._retention = Retention(num_to_keep=1)
    exploit(play)
    deleted = []
    for n in (8, 9):
        play.report(0, n)
        save(play, 0)
        deleted += [c.name for c in play.commands if isinstance(c, DeleteCheckpoint)]
    assert deleted == ["checkpoint_000001"], "of the donor's three, one is lent and one the latest"
    play.report(1, 8)
    save(play, 1)
    assert trial.borrowed is None
    assert "checkpoint_000000" in [saved.name for saved in donor.checkpoints], "still in use"
    play.finish(1)
    removed = [(c.trial, c.name) for c in play.commands if isinstance(c, DeleteCheckpoint)]
    assert (donor, "checkpoint_000000") in removed


def test_a_failed_exploit_is_tried_again_from_the_donors_checkpoint() -> None:
    play = two_trials(max_failures=1)
    exploit(play)
    play.report(1, 8)
    play.fail(1)
    donor, trial = play.state.trials
    (launch,) = (c for c in play.commands if isinstance(c, Launch))
    assert (launch.trial, launch.donor, launch.checkpoint) == (trial, donor, "checkpoint_000000")
    assert trial.num_results == 1, "the result after the exploit is void, that before it is not"


def test_a_trial_that_has_borrowed_lends_what_it_has_borrowed() -> None:
    play = Play(searcher=Counting(3), scheduler=Changing(), cpus=3)
    play.report(0, 7)
    save(play, 0)
    pause(play, 1, 3, is_saved=False)
    pause(play, 2, 2, is_saved=False)
    play.scheduler.wanted = [
        Change(trial_id=play.id(1), donor=play.id(0)),
        Change(trial_id=play.id(2), donor=play.id(1)),
    ]
    play.scheduler.ready = [play.id(2)]
    play.give(Tick(NOW))
    (launch,) = (c for c in play.commands if isinstance(c, Launch))
    assert launch.donor is play.state.trials[0]


def test_loans_survive_a_pickle() -> None:
    play = two_trials()
    exploit(play)
    copy = pickle.loads(pickle.dumps(play.state.table))
    assert copy["t_00001"].borrowed.donor is copy["t_00000"]
    assert copy.lent_names(copy["t_00000"]) == {"checkpoint_000000"}


def test_other_resources_hold_from_the_next_launch() -> None:
    play = two_trials(cpus=4)
    play.scheduler.wanted = [Change(trial_id=play.id(1), bundles=[{"CPU": 3.0}])]
    play.scheduler.ready = [play.id(1)]
    play.give(Tick(NOW))
    assert play.state.capacity.used == {"CPU": 4.0}
    play.finish(1)
    assert play.state.capacity.used == {"CPU": 1.0}


def test_resources_that_are_not_there_are_refused() -> None:
    play = two_trials()
    play.scheduler.wanted = [Change(trial_id=play.id(1), bundles=[{"CPU": 8.0}])]
    with pytest.raises(ResourceError, match=r"Changing gives .*00001 8 CPU.* 2: let it give less"):
        play.give(Tick(NOW))


def test_a_scheduler_can_end_a_paused_trial() -> None:
    play = two_trials()
    play.scheduler.wanted = [Stop(trial_id=play.id(1))]
    play.give(Tick(NOW))
    assert play.statuses == "RT"
    assert play.scheduler.told[-1] == ("remove", "t_00001")
    assert ("complete", "t_00001", 3, False) in play.searcher.told


@pytest.mark.parametrize("change", [Change(trial_id="t_00000"), Stop(trial_id="nobody")])
def test_only_paused_trials_can_be_changed(change: Change | Stop) -> None:
    play = two_trials()
    play.scheduler.wanted = [change]
    with pytest.raises(TunerError, match=r"Changing\.changes named .*only paused trials"):
        play.give(Tick(NOW))


def test_a_donor_needs_a_checkpoint() -> None:
    play = Play(searcher=Counting(2), scheduler=Changing())
    pause(play, 1, 3)
    play.scheduler.wanted = [Change(trial_id=play.id(1), donor=play.id(0))]
    with pytest.raises(TunerError, match="'t_00000' as a donor, which is no trial that has a"):
        play.give(Tick(NOW))


def test_a_scheduler_is_asked_once_more_when_nothing_runs() -> None:
    play = Play(searcher=Counting(1), scheduler=Changing())
    assert play.scheduler.stalls == 0
    pause(play, 0)
    assert play.scheduler.stalls == 1
    play.scheduler.ready = [play.id(0)]
    play.give(Tick(NOW))
    assert play.statuses == "R"
    assert play.scheduler.stalls == 1


def test_a_pause_that_costs_results_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    play = Play(searcher=Counting(2), scheduler=Changing())
    with caplog.at_level(logging.WARNING):
        pause(play, 0, is_saved=False)
        pause(play, 1, is_saved=False)
    (record,) = caplog.records
    assert "00000 pauses 1 result after its last checkpoint" in record.getMessage()
    assert "at which Changing may pause a trial" in record.getMessage()


def test_an_interruption_that_costs_results_says_how_to_save_more_often(
    caplog: pytest.LogCaptureFixture,
) -> None:
    play = Play(searcher=Counting(2))
    with caplog.at_level(logging.WARNING):
        play.report(0, 1)
        play.report(0, 2)
        play.report(1, 1)
        play.stop(resumable=True)
        play.finish(0, interrupted=True)
        play.finish(1, interrupted=True)
    (record,) = caplog.records
    assert "00000 ends 2 results after its last checkpoint" in record.getMessage()
    assert "checkpoint_frequency" in record.getMessage()
    assert "may pause" not in record.getMessage()


def test_the_capacity_is_a_fact_when_it_changes() -> None:
    play = Play()
    play.give(CapacityChanged(NOW, {"CPU": 2.0}))
    play.give(CapacityChanged(NOW, {"CPU": 5.0}))
    assert [f.resources for f in of_kind(CapacityKnown, play.facts)] == [{"CPU": 2.0}, {"CPU": 5.0}]
    assert play.state.total_resources == {"CPU": 5.0}


def test_a_replay_does_not_ask_for_changes_and_ends_up_the_same() -> None:
    class Deaf(Changing):
        def changes(self, experiment: Any) -> Any:
            raise AssertionError("asked in a replay")

        complete_config = choose_trial_to_run = changes  # type: ignore[assignment]

    play = two_trials()
    exploit(play, config={"x": 5}, bundles=[{"CPU": 1.0}])
    play.report(1, 8)
    state = play.replayed(Counting(2), Deaf("CONTINUE", "PAUSE"))
    assert state.scheduler.told == play.scheduler.told
    live, replayed = play.state.trials[1], state.trials[1]
    assert replayed.config == live.config == {"x": 5}
    assert replayed.borrowed is not None
    assert replayed.borrowed.donor is state.trials[0]
    assert (replayed.num_results, replayed.status) == (live.num_results, live.status)


def test_facts_of_a_stop_and_of_a_launch_are_in_order() -> None:
    play = two_trials()
    play.scheduler.wanted = [Stop(trial_id=play.id(1))]
    before = len(play.facts)
    play.give(Tick(NOW))
    assert [type(fact) for fact in play.facts[before:]] == [TrialEnded]
    assert not of_kind(TrialLaunched, play.facts[before:])
