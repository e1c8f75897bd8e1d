import pickle
import random
from collections import Counter

import pytest
from scheduler_harness import SmallExperiment, state_of

from tuner.errors import ConfigError
from tuner.schedulers import Change, HyperBandScheduler, Stop, TrialScheduler

# Li et al. 2018, table 1: (n_i, r_i) for R = 81 and eta = 3, by bracket.
PAPER = [
    [(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)],
    [(27, 3), (9, 9), (3, 27), (1, 81)],
    [(9, 9), (3, 27), (1, 81)],
    [(6, 27), (2, 81)],
    [(5, 81)],
]


def hyperband(**arguments):
    return HyperBandScheduler(**{"metric": "loss", "mode": "min", **arguments})


def flat(*losses, length=100):
    """Curves that stay at their level."""
    return [[float(loss)] * length for loss in losses]


def test_the_brackets_are_those_of_the_paper():
    assert HyperBandScheduler.bracket_table(max_t=81, reduction_factor=3) == PAPER


def test_brackets_of_other_sizes():
    assert HyperBandScheduler.bracket_table(16, 4) == [
        [(16, 1), (4, 4), (1, 16)],
        [(4, 4), (1, 16)],
        [(3, 16)],
    ]
    assert HyperBandScheduler.bracket_table(0.5, 3) == [[(1, 0.5)]]
    assert HyperBandScheduler.bracket_table(10, 3)[0] == [(9, 10 / 9), (3, 10 / 3), (1, 10)]


def test_the_largest_bracket_has_all_its_rungs_where_logarithms_round_down():
    assert HyperBandScheduler.bracket_table(243, 3)[0][0] == (243, 1)


@pytest.mark.parametrize("slots", [1, 7, 200])
@pytest.mark.parametrize("lazily", [False, True])
def test_a_band_trains_as_many_trials_as_the_paper_says(slots, lazily):
    losses = random.Random(slots).sample(range(1000), 128)
    experiment = SmallExperiment(hyperband(), flat(*losses), slots=slots, lazily=lazily)
    experiment.run()
    came_to = experiment.iterations()
    first = 0
    for bracket in PAPER:
        last = first + bracket[0][0]
        by_rank = sorted(range(first, last), key=losses.__getitem__)
        for num_trials, time in bracket:
            assert sum(t >= time for t in came_to[first:last]) == num_trials
            assert all(came_to[n] >= time for n in by_rank[:num_trials])
        first = last
    assert max(came_to) == 81


def test_the_band_begins_again():
    scheduler = hyperband(max_t=3)  # brackets of 3 and 2 trials
    experiment = SmallExperiment(scheduler, flat(*range(10)))
    experiment.run()
    assert experiment.iterations() == [3, 1, 1, 3, 3, 3, 1, 1, 3, 3]


def test_trials_are_compared_by_what_they_had_achieved_at_the_rung():
    crossing = [[9.0, 9, 9, 0, 0, 0, 0, 0, 0], [5.0] * 9, [7.0] * 9]
    experiment = SmallExperiment(hyperband(max_t=3), crossing)
    experiment.run()
    assert experiment.iterations() == [1, 3, 1]


def test_a_bracket_waits_until_it_is_full():
    experiment = SmallExperiment(hyperband(max_t=9), flat(*range(9, 0, -1)), slots=2, lazily=True)
    experiment.run()
    created = experiment.launches.index("t008")
    assert sorted(experiment.launches[: created + 1]) == [f"t{n:03}" for n in range(9)]
    assert Counter(experiment.iterations()) == {1: 6, 3: 2, 9: 1}


def test_a_bracket_is_halved_as_it_is_when_no_more_trials_can_come():
    experiment = SmallExperiment(hyperband(), flat(*range(7)))
    experiment.run()
    assert experiment.iterations() == [81, 3, 1, 1, 1, 1, 1]


class HesitantExperiment(SmallExperiment):
    """No more trials come until those that there are have ended, as a searcher may have it."""

    def create(self):
        waits = any(t.status in ("RUNNING", "PAUSED") for t in self.trials)
        return not (waits and len(self.trials) % 4 == 0) and super().create()


def test_a_bracket_is_halved_as_it_is_when_the_experiment_is_stalled():
    experiment = HesitantExperiment(hyperband(max_t=9), flat(*range(8)), lazily=True)
    experiment.run()
    # Four that the first bracket is halved with, three that fill the second, one of the third.
    assert experiment.iterations() == [9, 1, 1, 1, 9, 3, 3, 9]


def test_a_trial_that_fails_for_good_is_not_waited_for():
    experiment = SmallExperiment(hyperband(max_t=3), flat(2, 1, 3))
    experiment.fail_for_good("t001")
    experiment.run()
    assert experiment.iterations() == [3, 0, 1]


def test_a_trial_that_is_retried_is_waited_for():
    experiment = SmallExperiment(hyperband(max_t=3), flat(2, 1, 3), fails_at={1: [1]}, slots=1)
    experiment.run()
    assert experiment.iterations() == [1, 3, 1]


def test_a_trial_that_ends_by_itself_is_not_waited_for():
    curves = flat(4, 1, 2, 3, 5, 6, 7, 8, 9)
    curves[1] = [1.0] * 2
    experiment = SmallExperiment(hyperband(max_t=9), curves)
    experiment.run()
    assert experiment.iterations()[1] == 2
    assert experiment.iterations()[2] == 9


def test_of_equal_trials_the_older_go_on():
    experiment = SmallExperiment(hyperband(max_t=9), flat(*[0.5] * 9), seed=3)
    experiment.run()
    assert experiment.iterations() == [9, 3, 3, 1, 1, 1, 1, 1, 1]


def test_without_stop_last_trials_the_winner_outlives_max_t():
    experiment = SmallExperiment(hyperband(max_t=9, stop_last_trials=False), flat(*range(9)))
    experiment.run()
    assert experiment.iterations() == [100, 3, 3, 1, 1, 1, 1, 1, 1]


def test_promoted_trials_run_before_new_ones_and_the_furthest_first():
    experiment = SmallExperiment(hyperband(max_t=9), flat(*range(27)), slots=1, lazily=True)
    experiment.run()
    first_of_second_bracket = experiment.launches.index("t009")
    assert experiment.launches[:first_of_second_bracket] == (
        [f"t{n:03}" for n in range(9)] + ["t000", "t001", "t002", "t000"]
    )


def test_a_trial_that_was_paused_by_another_may_go_on():
    experiment = SmallExperiment(hyperband(max_t=9), flat(1, 2))
    trial = experiment.trials[0]
    experiment.move(trial, "PAUSED")
    experiment.scheduler.on_trial_pause(experiment, trial)
    assert not [*experiment.scheduler.changes(experiment)]
    assert experiment.scheduler.choose_trial_to_run(experiment) is trial


class JumpingExperiment(SmallExperiment):
    """Times as they are in seconds: neither whole nor regular."""

    def tell(self, method, trial, *arguments):
        for result in arguments:
            if isinstance(result, dict):
                result["seconds"] = result["training_iteration"] * (2.3 + trial.number / 10)
        return super().tell(method, trial, *arguments)


def test_times_may_jump_over_rungs():
    experiment = JumpingExperiment(hyperband(time_attr="seconds"), flat(*range(81)))
    experiment.run()
    ended_at = [trial.last_result["seconds"] for trial in experiment.trials]
    for num_trials, time in PAPER[0]:
        assert sum(each >= time for each in ended_at) >= num_trials
    assert ended_at[0] == max(ended_at) == pytest.approx(36 * 2.3)
    assert sum(ended_at) < 81 * 81 / 3


def test_a_trial_that_comes_to_max_t_at_once_ends():
    scheduler = hyperband(max_t=9)
    experiment = SmallExperiment(scheduler, flat(1, 2))
    result = {"loss": 1.0, "training_iteration": 12}
    assert scheduler.on_trial_result(experiment, experiment.trials[0], result) == "STOP"


def halving():
    """An experiment whose nine trials wait at the first rung, and what is to become of them."""
    experiment = SmallExperiment(hyperband(max_t=9), flat(5, 1, 4, 2, 9, 8, 3, 7, 6))
    for trial in experiment.trials:
        experiment.move(trial, "RUNNING")
        result = {"loss": trial.curve[0], "training_iteration": 1}
        assert experiment.tell("on_trial_result", trial, result) == TrialScheduler.PAUSE
        experiment.move(trial, "PAUSED")
        experiment.tell("on_trial_pause", trial)
    return experiment, [*experiment.scheduler.changes(experiment)]


def test_the_worst_are_ended_before_the_best_are_promoted():
    _, changes = halving()
    assert {change.trial_id for change in changes[:6]} == {
        "t000",
        "t002",
        "t004",
        "t005",
        "t007",
        "t008",
    }
    assert [type(change) for change in changes] == [Stop] * 6 + [Change] * 3
    assert changes[6:] == [Change(trial_id=name) for name in ("t001", "t003", "t006")]


@pytest.mark.parametrize("kept", range(10))
def test_a_halving_of_which_only_the_first_part_was_recorded_is_completed(kept):
    whole, changes = halving()
    for change in changes:
        whole._change(change)
    cut, changes = halving()
    for change in changes[:kept]:
        cut._change(change)
    assert [*cut.scheduler.changes(cut)] == changes[kept:]
    for change in changes[kept:]:
        cut._change(change)
    assert state_of(cut.scheduler) == state_of(whole.scheduler)
    cut.run()
    assert sorted(cut.iterations()) == [0] * 6 + [3, 3, 9]


def test_a_waiting_trial_that_is_started_anew_is_waited_for():
    experiment, changes = halving()
    experiment.move(experiment.trials[3], "PENDING")
    assert changes
    assert not [*experiment.scheduler.changes(experiment)]
    experiment.run()
    assert Counter(experiment.iterations())[9] == 1


def test_what_has_ended_is_forgotten():
    scheduler = hyperband(max_t=9)
    before = len(pickle.dumps(scheduler))
    experiment = SmallExperiment(scheduler, flat(*range(2000), length=9), slots=20, lazily=True)
    experiment.run()
    assert len(pickle.dumps(scheduler)) < before + 500


def test_debug_string_tells_where_brackets_are():
    experiment, _ = halving()
    assert experiment.scheduler.debug_string() == (
        "HyperBandScheduler: 0 trials dropped\nbracket 0: t=1: 9 of 9 trials wait, 9 added of 9"
    )
    experiment.run()
    assert experiment.scheduler.debug_string() == "HyperBandScheduler: 8 trials dropped"


def test_without_strict_checking_a_result_without_metric_decides_nothing():
    scheduler = HyperBandScheduler()
    scheduler.set_search_properties("loss", "min", strict_metric_checking=False)
    experiment = SmallExperiment(scheduler, flat(1))
    (trial,) = experiment.trials
    assert scheduler.on_trial_result(experiment, trial, {"training_iteration": 1}) == "CONTINUE"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_t": 0}, r"HyperBandScheduler\(max_t=0\): use a number > 0"),
        ({"reduction_factor": 1}, r"reduction_factor=1\): use a number > 1"),
        ({"mode": "maximize"}, r"mode='maximize'\): use 'max'"),
        ({"metric": ["a", "b"]}, r"metric=\['a', 'b'\]"),
        ({"time_attr": ""}, r"time_attr=''"),
        ({"stop_last_trials": None}, r"stop_last_trials=None"),
    ],
)
def test_arguments_that_cannot_work(arguments, message):
    with pytest.raises(ConfigError, match=message) as error:
        hyperband(**arguments)
    assert "\n" not in str(error.value)
