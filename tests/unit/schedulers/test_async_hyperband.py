import math
import pickle
import random
from collections import Counter
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scheduler_harness import SmallExperiment, SmallTrial

from tuner.errors import ConfigError
from tuner.schedulers import ASHAScheduler, AsyncHyperBandScheduler, TrialScheduler

STOP, CONTINUE = TrialScheduler.STOP, TrialScheduler.CONTINUE


def asha(**arguments):
    return ASHAScheduler(**{"metric": "loss", "mode": "min", **arguments})


def report(scheduler, trial_id, time, loss):
    """A trial reports, and is added first if it is new."""
    trial = SmallTrial(trial_id, [])
    scheduler.on_trial_add(None, trial)
    result = {"loss": loss, "training_iteration": time}
    return scheduler.on_trial_result(None, trial, result)


def test_asha_is_an_alias():
    assert ASHAScheduler is AsyncHyperBandScheduler


def test_a_trial_worse_than_the_quantile_of_its_rung_is_stopped():
    scheduler = asha(reduction_factor=2)  # the rung's cutoff is the median
    assert report(scheduler, "a", 1, 1.0) == CONTINUE  # nothing to compare with
    assert report(scheduler, "b", 1, 3.0) == STOP  # worse than 1.0
    assert report(scheduler, "c", 1, 2.0) == CONTINUE  # the median of 1 and 3
    assert report(scheduler, "d", 1, 2.0001) == STOP  # the median is still 2
    assert report(scheduler, "e", 1, 0.5) == CONTINUE


def test_between_rungs_nothing_is_decided():
    scheduler = asha(grace_period=4, reduction_factor=4, max_t=64)
    report(scheduler, "good", 4, 0.0)
    assert [report(scheduler, "bad", t, 9.0) for t in (1, 2, 3)] == [CONTINUE] * 3
    assert report(scheduler, "bad", 4, 9.0) == STOP


def test_each_rung_compares_results_of_the_same_age():
    scheduler = asha(reduction_factor=3, max_t=27)
    for t, loss in ((1, 0.9), (3, 0.5), (9, 0.1)):
        assert report(scheduler, "first", t, loss) == CONTINUE
    assert report(scheduler, "second", 1, 0.8) == CONTINUE  # worse than 0.1, but better at age 1
    assert report(scheduler, "second", 2, 0.8) == CONTINUE
    assert report(scheduler, "second", 3, 0.6) == STOP


def test_max_t_ends_the_best_trial_too():
    scheduler = asha(max_t=10)
    assert report(scheduler, "a", 9, 0.0) == CONTINUE
    assert report(scheduler, "a", 10, 0.0) == STOP


def test_without_stop_last_trials_a_trial_outlives_max_t():
    scheduler = asha(max_t=4, stop_last_trials=False)
    assert [report(scheduler, "a", t, 0.0) for t in (1, 4, 5, 400)] == [CONTINUE] * 4
    assert report(scheduler, "b", 1, 0.0) == CONTINUE
    assert report(scheduler, "b", 5, 1.0) == STOP  # the rung at 4


def test_the_last_rung_lies_at_max_t_where_logarithms_round_down():
    scheduler = asha(max_t=243, reduction_factor=3, stop_last_trials=False)
    assert math.log(243) / math.log(3) < 5
    assert "t=243:" in scheduler.debug_string()


def test_modes_are_mirror_images():
    scheduler = asha(mode="max")
    assert report(scheduler, "a", 1, 1.0) == CONTINUE
    assert report(scheduler, "b", 1, 0.9) == STOP


def test_nan_is_the_worst():
    scheduler = asha(reduction_factor=4)
    assert report(scheduler, "a", 1, math.nan) == CONTINUE  # nothing better is known
    assert report(scheduler, "b", 1, math.nan) == CONTINUE
    assert report(scheduler, "c", 1, 5.0) == CONTINUE
    assert report(scheduler, "d", 1, math.nan) == STOP
    assert report(scheduler, "e", 1, 5.0) == CONTINUE
    assert report(scheduler, "f", 1, 6.0) == STOP


def test_nan_counts_as_a_trial_that_others_beat():
    scheduler = asha(reduction_factor=2)
    for trial_id in "abc":
        report(scheduler, trial_id, 1, math.nan)
    report(scheduler, "d", 1, 1.0)
    assert report(scheduler, "e", 1, 2.0) == CONTINUE  # better than most


def test_an_infinite_loss_is_stopped():
    scheduler = asha()
    report(scheduler, "a", 1, 1.0)
    assert report(scheduler, "b", 1, math.inf) == STOP
    assert report(scheduler, "c", 1, 1.5) == STOP  # the infinite one does not spoil the cutoff


def test_a_missing_metric_names_what_was_probably_meant():
    scheduler = asha(metric="los")
    with pytest.raises(ConfigError, match=r"metric='los'.*trial a .*did you mean 'loss'\?"):
        report(scheduler, "a", 1, 0.5)


def test_a_missing_time_is_an_error():
    scheduler = asha(time_attr="epoch")
    with pytest.raises(ConfigError, match=r"time_attr='epoch'.*'training_iteration'"):
        report(scheduler, "a", 1, 0.5)


def test_a_metric_that_is_no_number_is_an_error():
    with pytest.raises(ConfigError, match=r"metric='loss': trial a reported 'low'"):
        report(asha(), "a", 1, "low")


def test_without_strict_checking_such_a_result_decides_nothing():
    scheduler = ASHAScheduler()
    scheduler.set_search_properties("loss", "min", strict_metric_checking=False)
    trial = SmallTrial("a", [])
    scheduler.on_trial_add(None, trial)
    assert scheduler.on_trial_result(None, trial, {"training_iteration": 1}) == CONTINUE
    assert scheduler.on_trial_result(None, trial, {"loss": 1.0}) == CONTINUE
    assert report(scheduler, "b", 1, 5.0) == CONTINUE  # nothing had been recorded


def test_a_trial_may_end_without_any_result():
    scheduler = asha()
    trial = SmallTrial("a", [])
    scheduler.on_trial_add(None, trial)
    scheduler.on_trial_complete(None, trial, {})
    assert report(scheduler, "b", 1, 5.0) == CONTINUE


def test_the_result_of_a_completed_trial_is_recorded():
    scheduler = asha()
    trial = SmallTrial("a", [])
    scheduler.on_trial_add(None, trial)
    scheduler.on_trial_complete(None, trial, {"loss": 0.0, "training_iteration": 1})
    assert report(scheduler, "b", 1, 5.0) == STOP


def test_nested_metric_and_time():
    scheduler = asha(metric="eval/loss", time_attr="progress/epoch")
    decisions = []
    for trial_id, loss in (("a", 0.1), ("b", 0.9)):
        trial = SmallTrial(trial_id, [])
        scheduler.on_trial_add(None, trial)
        result = {"eval": {"loss": loss}, "progress": {"epoch": 1}}
        decisions.append(scheduler.on_trial_result(None, trial, result))
    assert decisions == [CONTINUE, STOP]


def test_a_trial_without_metric_or_mode_cannot_be_added():
    with pytest.raises(ConfigError, match=r"metric=None.*TuneConfig"):
        ASHAScheduler().on_trial_add(None, SmallTrial("a", []))
    with pytest.raises(ConfigError, match=r"mode=None.*TuneConfig"):
        ASHAScheduler(metric="loss").on_trial_add(None, SmallTrial("a", []))


def test_metric_and_mode_come_from_either_side():
    scheduler = ASHAScheduler(mode="max")
    assert scheduler.set_search_properties("accuracy", None)
    assert (scheduler.metric, scheduler.mode) == ("accuracy", "max")
    assert not asha().set_search_properties("loss", "min")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_t": 0}, r"AsyncHyperBandScheduler\(max_t=0\): use a number > 0"),
        ({"max_t": "100"}, r"max_t='100'"),
        ({"grace_period": 0}, r"grace_period=0"),
        ({"grace_period": 101}, r"grace_period=101\): use a number <= max_t=100"),
        ({"reduction_factor": 1}, r"reduction_factor=1\): use a number > 1"),
        ({"brackets": 0}, r"brackets=0\): use a whole number >= 1"),
        ({"mode": "maximize"}, r"mode='maximize'\): use 'max'"),
        ({"metric": ["a", "b"]}, r"metric=\['a', 'b'\]"),
        ({"time_attr": ""}, r"time_attr=''"),
        ({"stop_last_trials": None}, r"stop_last_trials=None"),
    ],
)
def test_arguments_that_cannot_work(arguments, message):
    with pytest.raises(ConfigError, match=message) as error:
        ASHAScheduler(**arguments)
    assert "\n" not in str(error.value)


def test_several_objectives_are_refused():
    with pytest.raises(ConfigError, match="trials are compared by one value"):
        ASHAScheduler().set_search_properties(["a", "b"], ["min", "max"])
    with pytest.raises(ConfigError, match="use 'min'"):
        ASHAScheduler().set_search_properties("a", "minimum")


def test_a_retried_trial_is_recorded_once():
    scheduler = asha(reduction_factor=2)
    report(scheduler, "a", 1, 1.0)
    scheduler.on_trial_error(None, SmallTrial("a", []))
    assert report(scheduler, "a", 1, 7.0) == CONTINUE  # its age was judged before
    assert report(scheduler, "b", 1, 1.1) == STOP  # only the 1.0 is there


def test_a_trial_that_comes_back_after_its_end_is_not_judged_again_at_rungs_it_passed():
    scheduler = asha(reduction_factor=2)
    trial = SmallTrial("a", [])
    scheduler.on_trial_add(None, trial)
    for t in (1, 2, 3):
        trial.last_result = {"loss": 1.0, "training_iteration": t}
        scheduler.on_trial_result(None, trial, trial.last_result)
    scheduler.on_trial_complete(None, trial, trial.last_result)
    scheduler.on_trial_add(None, trial)
    for t in (1, 2, 3):
        again = {"loss": 9.0, "training_iteration": t}
        assert scheduler.on_trial_result(None, trial, again) == CONTINUE
    assert report(scheduler, "b", 1, 1.1) == STOP


def test_what_has_ended_is_forgotten():
    scheduler = asha()
    trials = 5000
    for number in range(trials):
        trial = SmallTrial(f"a_rather_long_trial_id_{number}", [])
        scheduler.on_trial_add(None, trial)
        if number % 2:
            scheduler.on_trial_remove(None, trial)
        else:
            result = {"loss": random.Random(number).random(), "training_iteration": 1}
            scheduler.on_trial_result(None, trial, result)
            scheduler.on_trial_complete(None, trial, result)
    bytes_of_a_float = 9
    assert len(pickle.dumps(scheduler)) < trials / 2 * bytes_of_a_float * 1.1 + 10_000


def brackets_drawn(seed, trials=3000):
    scheduler = ASHAScheduler(max_t=64, brackets=3)
    scheduler.set_search_properties("loss", "min", seed=seed)
    first_rung = []  # at t = 1, 4, 16, the first rung of brackets 0, 1, 2
    for number in range(trials):
        trial = SmallTrial(str(number), [])
        scheduler.on_trial_add(None, trial)
        first_rung.append(
            next(
                t
                for t in (1, 4, 16)
                if f"t={t}: " in scheduler.debug_string()
                and recorded_by(scheduler, trial, t, -number)
            )
        )
        scheduler.on_trial_remove(None, trial)
    return first_rung


def recorded_by(scheduler, trial, t, loss):
    """Whether reporting at time `t` was recorded at a rung."""
    before = scheduler.debug_string()
    scheduler.on_trial_result(None, trial, {"loss": loss, "training_iteration": t})
    return scheduler.debug_string() != before


def test_brackets_are_drawn_by_softmax_of_their_rungs():
    drawn = Counter(brackets_drawn(seed=1))
    weights = [math.exp(size) for size in (4, 3, 2)]
    for t, weight in zip((1, 4, 16), weights, strict=True):
        assert drawn[t] / 3000 == pytest.approx(weight / sum(weights), abs=0.03)


def test_brackets_follow_the_seed():
    assert brackets_drawn(seed=1, trials=50) == brackets_drawn(seed=1, trials=50)
    assert brackets_drawn(seed=1, trials=50) != brackets_drawn(seed=2, trials=50)


def test_more_brackets_than_rungs_leave_some_trials_alone():
    scheduler = ASHAScheduler(max_t=4, brackets=5, stop_last_trials=False)
    scheduler.set_search_properties("loss", "min", seed=0)
    experiment = SmallExperiment(scheduler, [[float(n)] * 8 for n in range(40)])
    experiment.run()
    assert Counter(experiment.iterations())[8] > 1
    assert Counter(experiment.iterations())[1] > 1


def test_debug_string_shows_cutoffs_in_the_units_of_the_metric():
    scheduler = asha(reduction_factor=2, max_t=2)
    report(scheduler, "a", 1, 1.0)
    report(scheduler, "b", 1, 4.0)
    assert scheduler.debug_string() == (
        "AsyncHyperBandScheduler: 1 trials stopped\n"
        "bracket 0: t=1: 2 trials, cutoff 2.5, t=2: 0 trials"
    )


# One driver for both libraries: the same calls, and what each decided.

STEPS = st.lists(
    st.tuples(
        st.integers(0, 7),  # which trial
        st.integers(1, 12),  # by how much its time advances
        st.one_of(st.floats(-10, 10), st.integers(0, 3).map(float)),
        st.booleans(),  # whether it completes by itself if it was not stopped
    ),
    max_size=60,
)


def drive(scheduler, steps, metric_name="loss"):
    trials = [SimpleNamespace(trial_id=f"t{n}", last_result={}) for n in range(8)]
    ages = dict.fromkeys(range(8), 0)
    decisions = []
    for trial in trials:
        scheduler.on_trial_add(None, trial)
    for number, advance, loss, completes in steps:
        if ages[number] is None:
            continue
        ages[number] += advance
        result = {metric_name: loss, "training_iteration": ages[number]}
        decision = scheduler.on_trial_result(None, trials[number], result)
        decisions.append((number, ages[number], decision))
        if decision == STOP or completes:
            scheduler.on_trial_complete(None, trials[number], result)
            ages[number] = None
    return decisions


@pytest.fixture(scope="module")
def rays_scheduler():
    schedulers = pytest.importorskip("ray.tune.schedulers")
    return schedulers.AsyncHyperBandScheduler


@settings(max_examples=300, deadline=None)
@given(
    steps=STEPS,
    mode=st.sampled_from(["min", "max"]),
    max_t=st.sampled_from([5, 16, 30, 81, 100]),
    grace_period=st.sampled_from([1, 2, 5]),
    reduction_factor=st.sampled_from([2, 2.5, 3, 4]),
    stop_last_trials=st.booleans(),
)
def test_decisions_equal_those_of_ray(rays_scheduler, steps, **arguments):
    arguments["metric"] = "loss"
    assert drive(ASHAScheduler(**arguments), steps) == drive(rays_scheduler(**arguments), steps)
