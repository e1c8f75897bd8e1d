import math
import pickle
import random
import statistics
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scheduler_harness import SmallExperiment, SmallTrial

from tuner.errors import ConfigError
from tuner.schedulers import MedianStoppingRule, TrialScheduler

STOP, CONTINUE, PAUSE = TrialScheduler.STOP, TrialScheduler.CONTINUE, TrialScheduler.PAUSE

ALONE = SimpleNamespace(expects_trials=False, pending_trials=(), paused_trials=())
CROWD = SimpleNamespace(expects_trials=True, pending_trials=(), paused_trials=())


def median_rule(**arguments):
    defaults = {
        "metric": "loss",
        "mode": "min",
        "time_attr": "training_iteration",
        "grace_period": 0,
        "min_samples_required": 1,
    }
    return MedianStoppingRule(**{**defaults, **arguments})


class Reporter:
    """Reports of trials, which are added when they first report."""

    def __init__(self, scheduler, experiment=ALONE):
        self.scheduler = scheduler
        self.experiment = experiment
        self.trials = {}

    def trial(self, trial_id):
        if trial_id not in self.trials:
            self.trials[trial_id] = SmallTrial(trial_id, [])
            self.scheduler.on_trial_add(self.experiment, self.trials[trial_id])
        return self.trials[trial_id]

    def report(self, trial_id, *losses, start=1):
        """The decisions on losses at the times start, start + 1, ..."""
        return [self.at(trial_id, start + n, loss) for n, loss in enumerate(losses)]

    def at(self, trial_id, time, loss):
        result = {"loss": loss, "training_iteration": time}
        return self.scheduler.on_trial_result(self.experiment, self.trial(trial_id), result)

    def complete(self, trial_id, **result):
        self.scheduler.on_trial_complete(self.experiment, self.trial(trial_id), result)


def test_a_trial_is_stopped_if_its_best_is_worse_than_the_median_of_averages():
    reporter = Reporter(median_rule(min_samples_required=3))
    for trial_id, level in (("a", 1.0), ("b", 3.0), ("c", 5.0)):
        assert reporter.report(trial_id, level + 1, level - 1)  # on average the level at t = 2
    assert reporter.report("d", 3.5, 3.0) == [CONTINUE, CONTINUE]  # the medians are 4 and 3
    assert reporter.report("e", 3.5, 3.1) == [CONTINUE, CONTINUE]  # now 3.75 and 3.125
    assert reporter.report("f", 3.5, 3.3) == [CONTINUE, STOP]  # 3.5 and 3.25


def test_the_best_result_counts_not_the_last():
    reporter = Reporter(median_rule())
    reporter.report("a", 2.0, 2.0, 2.0)
    assert reporter.report("b", 1.0, 9.0, 9.0) == [CONTINUE] * 3
    assert reporter.report("c", 9.0) == [STOP]


def test_a_tie_goes_on():
    reporter = Reporter(median_rule())
    reporter.report("a", 2.0)
    assert reporter.report("b", 2.0) == [CONTINUE]
    assert reporter.report("c", math.nextafter(2.0, 3.0)) == [STOP]


def test_modes_are_mirror_images():
    reporter = Reporter(median_rule(mode="max"))
    reporter.report("a", 2.0)
    assert reporter.report("b", 1.9) == [STOP]
    assert reporter.report("c", 2.1) == [CONTINUE]


def test_only_trials_that_came_as_far_are_compared_with():
    reporter = Reporter(median_rule(min_samples_required=2))
    reporter.report("a", 1.0, 1.0)
    reporter.report("b", 1.0)
    assert reporter.report("c", 1.0, 9.0, 9.0) == [CONTINUE] * 3
    assert reporter.report("d", 9.0) == [STOP]


def test_before_the_grace_period_nothing_is_judged_and_nothing_averaged():
    reporter = Reporter(median_rule(grace_period=3))
    reporter.report("a", 100.0, 100.0, 1.0, 1.0)
    assert reporter.report("b", 200.0, 200.0, 1.5) == [CONTINUE, CONTINUE, STOP]


def test_results_before_the_grace_period_count_as_the_best():
    reporter = Reporter(median_rule(grace_period=3))
    reporter.report("a", 1.0, 1.0, 1.0)
    assert reporter.report("b", 0.5, 9.0, 9.0) == [CONTINUE] * 3


def test_at_least_so_many_other_trials_are_needed():
    reporter = Reporter(median_rule(min_samples_required=2))
    assert reporter.report("a", 1.0) == [CONTINUE]
    assert reporter.report("b", 2.0) == [CONTINUE]
    assert reporter.report("c", 3.0) == [STOP]


def test_a_trial_that_ended_is_still_compared_with_up_to_its_end():
    reporter = Reporter(median_rule())
    reporter.report("a", 1.0, 1.0)
    reporter.complete("a", loss=1.0, training_iteration=2)
    assert reporter.report("b", 0.5, 0.5, 9.0) == [CONTINUE] * 3
    assert reporter.report("c", 9.0) == [STOP]


def test_the_last_result_of_a_trial_that_ended_by_itself_is_recorded():
    reporter = Reporter(median_rule())
    reporter.complete("a", loss=1.0, training_iteration=1)
    assert reporter.report("b", 9.0) == [STOP]


def test_nan_is_the_worst_also_on_average():
    reporter = Reporter(median_rule())
    reporter.report("a", 1.0, math.nan, 1.0)
    assert reporter.report("b", math.nan) == [STOP]
    assert reporter.report("c", 1.0, 500.0, 600.0) == [CONTINUE] * 3  # better than NaN and 1.0
    assert reporter.report("d", math.inf) == [STOP]


def test_infinities_of_both_signs_are_no_average():
    reporter = Reporter(median_rule())
    reporter.report("a", -math.inf, math.inf)
    assert reporter.report("b", math.nan, 7.0) == [STOP, CONTINUE]


def test_times_may_jump_over_those_of_others():
    reporter = Reporter(median_rule())
    reporter.report("a", *[3.0] * 9)
    assert reporter.at("b", 4, 1.0) == CONTINUE
    assert reporter.at("b", 8, 2.0) == CONTINUE
    # At 6 the averages are 3 and 1, at 8 they are 3 and 1.5.
    assert reporter.at("c", 6, 2.0) == CONTINUE
    assert reporter.at("d", 8, 2.5) == STOP


def test_a_trial_that_repeats_results_is_not_judged_on_them():
    reporter = Reporter(median_rule())
    reporter.report("a", 1.0, 1.0, 1.0)
    assert reporter.report("b", 1.0, 1.0) == [CONTINUE] * 2
    reporter.scheduler.on_trial_error(ALONE, reporter.trials["b"])
    reporter.scheduler.on_trial_add(ALONE, reporter.trials["b"])
    assert reporter.report("b", 9.0, 9.0) == [CONTINUE] * 2
    assert reporter.report("c", 1.0) == [CONTINUE]  # the 9.0 was not averaged


def test_a_trial_that_comes_back_after_its_end_is_not_judged_again():
    reporter = Reporter(median_rule())
    reporter.report("a", 1.0, 1.0, 1.0)
    reporter.report("b", 1.0, 1.0)
    reporter.complete("b")
    reporter.trials["b"].last_result = {"training_iteration": 2}
    reporter.scheduler.on_trial_add(ALONE, reporter.trials["b"])
    assert reporter.report("b", 9.0, 9.0, 9.0) == [CONTINUE, CONTINUE, STOP]


def test_a_trial_gives_way_where_too_few_have_come():
    reporter = Reporter(median_rule(min_samples_required=2), CROWD)
    assert reporter.report("a", 1.0) == [PAUSE]
    assert reporter.report("b", 1.0) == [PAUSE]
    assert reporter.report("c", 1.0) == [CONTINUE]
    assert reporter.report("c", 1.0, start=2) == [PAUSE]
    alone = Reporter(median_rule(min_samples_required=2), ALONE)
    assert alone.report("a", 1.0) == [CONTINUE]


@pytest.mark.parametrize("waiting", ["pending_trials", "paused_trials"])
def test_a_trial_gives_way_to_any_that_waits(waiting):
    crowd = SimpleNamespace(**{**ALONE.__dict__, waiting: [SmallTrial("z", [])]})
    assert Reporter(median_rule(), crowd).report("a", 1.0) == [PAUSE]


def test_a_trial_runs_for_its_time_slice_before_it_gives_way():
    reporter = Reporter(median_rule(min_time_slice=3), CROWD)
    assert reporter.report("a", *[1.0] * 4) == [CONTINUE, CONTINUE, CONTINUE, PAUSE]
    reporter.scheduler.on_trial_pause(CROWD, reporter.trials["a"])
    assert reporter.report("a", *[1.0] * 4, start=5) == [CONTINUE, CONTINUE, CONTINUE, PAUSE]
    never = Reporter(median_rule(min_time_slice=math.inf), CROWD)
    assert never.report("a", *[1.0] * 20) == [CONTINUE] * 20


def test_without_hard_stop_bad_trials_go_on_when_the_others_have_ended():
    levels = [5.0, 1.0, 2.0, 3.0, 4.0, 6.0]
    experiment = SmallExperiment(
        median_rule(hard_stop=False, min_time_slice=math.inf),
        [[level] * 10 for level in levels],
        slots=1,
    )
    experiment.run()
    assert experiment.iterations() == [10] * 6
    assert experiment.launches[:6] == sorted(experiment.launches[:6])
    assert experiment.launches[6:] == ["t003", "t004", "t005"]
    assert experiment.scheduler.debug_string() == (
        "MedianStoppingRule: 3 trials paused for the others"
    )


def test_with_seconds_trials_are_compared_although_no_two_report_at_the_same_time():
    rng = random.Random(4)
    reporter = Reporter(median_rule(time_attr="training_iteration", grace_period=60))
    stopped_at = {}
    for number in range(40):
        good = number % 2 == 0
        time = 0.0
        for _ in range(300):
            time += rng.uniform(0.5, 1.5)
            loss = 0.5 + rng.uniform(0, 0.1) + (0 if good else 1)
            if reporter.at(str(number), time, loss) == STOP:
                stopped_at[number] = time
                break
    bad = [time for number, time in stopped_at.items() if number % 2]
    assert len(bad) >= 18
    assert max(bad) < 63
    assert len(stopped_at) == len(bad)


def test_a_result_costs_few_comparisons_however_long_trials_report():
    scheduler = median_rule()
    reporter = Reporter(scheduler)
    for number in range(20):
        reporter.report(str(number), *[1.0] * 3000)
        reporter.complete(str(number))
    exact, growing = 100, math.log(3000 / 100) / math.log(1.01)
    numbers_held = 20 * (exact + growing)
    assert len(pickle.dumps(scheduler)) < numbers_held * 9 * 1.1 + 40_000


def test_what_has_ended_is_forgotten():
    reporter = Reporter(median_rule(hard_stop=False))
    for number in range(300):
        trial_id = f"a_rather_long_trial_id_{number}"
        reporter.at(trial_id, 1, number)
        if number % 3 == 0:
            reporter.complete(trial_id)
        elif number % 3 == 1:
            reporter.scheduler.on_trial_remove(ALONE, reporter.trials[trial_id])
        else:
            reporter.trials[trial_id].status = "ERROR"
            reporter.scheduler.on_trial_error(ALONE, reporter.trials[trial_id])
    assert b"rather_long" not in pickle.dumps(reporter.scheduler)


def test_without_strict_checking_a_result_without_metric_decides_nothing():
    scheduler = MedianStoppingRule()
    scheduler.set_search_properties("loss", "min", strict_metric_checking=False)
    trial = SmallTrial("a", [])
    scheduler.on_trial_add(ALONE, trial)
    assert scheduler.on_trial_result(ALONE, trial, {"time_total_s": 100}) == CONTINUE


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"grace_period": -1}, r"MedianStoppingRule\(grace_period=-1\): use a number >= 0"),
        ({"min_samples_required": 0}, r"min_samples_required=0\): use a whole number >= 1"),
        ({"min_time_slice": -1}, r"min_time_slice=-1\): use a number >= 0"),
        ({"hard_stop": 1}, r"hard_stop=1\): use True or False"),
        ({"mode": "maximize"}, r"mode='maximize'\): use 'max'"),
        ({"time_attr": ""}, r"time_attr=''"),
    ],
)
def test_arguments_that_cannot_work(arguments, message):
    with pytest.raises(ConfigError, match=message):
        median_rule(**arguments)


# Beside the rule as it reads, and beside ray's: times up to 100 are all compared exactly.


def random_order(seed, num_trials, length):
    """Reports of all trials in a random order, each trial's in their own."""
    rng = random.Random(seed)
    order = [n for n in range(num_trials) for _ in range(rng.randint(1, length))]
    rng.shuffle(order)
    ages = dict.fromkeys(range(num_trials), 0)
    for number in order:
        ages[number] += 1
        yield number, ages[number], rng.uniform(0, 1) + number / num_trials


def as_it_reads(reports, grace, least):
    curves, decisions, stopped = {}, [], set()
    for number, time, loss in reports:
        if number in stopped:
            continue
        curves.setdefault(number, []).append(loss)
        averages = (
            [
                statistics.fmean(curve[max(math.ceil(grace), 1) - 1 : time])
                for other, curve in curves.items()
                if other != number and len(curve) >= time
            ]
            if time >= grace
            else []
        )
        stops = len(averages) >= least and min(curves[number]) > statistics.median(averages)
        decisions.append((number, time, STOP if stops else CONTINUE))
        if stops:
            stopped.add(number)
    return decisions


def decided(scheduler, reports, experiment=ALONE):
    trials, decisions, stopped = {}, [], set()
    for number, time, loss in reports:
        if number in stopped:
            continue
        if number not in trials:
            trials[number] = SmallTrial(f"t{number}", [])
            scheduler.on_trial_add(experiment, trials[number])
        result = {"loss": loss, "training_iteration": time}
        decision = scheduler.on_trial_result(experiment, trials[number], result)
        decisions.append((number, time, decision))
        if decision == STOP:
            stopped.add(number)
    return decisions


ORDERS = {
    "seed": st.integers(0, 10**6),
    "num_trials": st.integers(1, 12),
    "length": st.sampled_from([1, 5, 20, 100]),
    "grace": st.sampled_from([0, 1, 3]),
    "least": st.sampled_from([1, 3]),
}


@settings(max_examples=60, deadline=None)
@given(**ORDERS)
def test_decisions_are_those_of_the_rule_as_it_reads(seed, num_trials, length, grace, least):
    reports = [*random_order(seed, num_trials, length)]
    rule = median_rule(grace_period=grace, min_samples_required=least)
    assert decided(rule, reports) == as_it_reads(reports, grace, least)


@settings(max_examples=60, deadline=None)
@given(**ORDERS)
def test_decisions_equal_those_of_ray(seed, num_trials, length, grace, least):
    schedulers = pytest.importorskip("ray.tune.schedulers")
    reports = [*random_order(seed, num_trials, length)]
    options = {"grace_period": grace, "min_samples_required": least, "min_time_slice": math.inf}
    rays = schedulers.MedianStoppingRule("training_iteration", "loss", "min", **options)
    alone = SimpleNamespace(get_live_trials=list)
    assert decided(median_rule(**options), reports) == decided(rays, reports, alone)
