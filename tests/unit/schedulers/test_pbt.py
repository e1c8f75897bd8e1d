"""Population based training: who is exploited, by whom, when, and with what."""

import inspect
import logging
import math

import pytest
from scheduler_harness import SmallExperiment

import tuner as tune
from tuner.errors import ConfigError
from tuner.schedulers import Change, PopulationBasedTraining


def pbt(*, seed=0, **options):
    options = {
        "perturbation_interval": 4,
        "hyperparam_mutations": {"lr": tune.uniform(0, 1)},
        **options,
    }
    scheduler = PopulationBasedTraining("training_iteration", **options)
    assert scheduler.set_search_properties("loss", "min", seed=seed)
    return scheduler


def levels(*values, length=20):
    return [[value] * length for value in values]


def run(scheduler, curves, **options):
    experiment = SmallExperiment(scheduler, curves, **options)
    experiment.run()
    return experiment


def exploits(experiment):
    return [(c.trial_id, c.donor) for c in experiment.changes if c.donor is not None]


def test_arguments_and_defaults_are_those_of_ray():
    schedulers = pytest.importorskip("ray.tune.schedulers")
    theirs = inspect.signature(schedulers.PopulationBasedTraining.__init__).parameters
    ours = inspect.signature(PopulationBasedTraining.__init__).parameters
    assert {k: p.default for k, p in ours.items() if k not in ("hyperparam_mutations", "self")} == {
        k: p.default for k, p in theirs.items() if k not in ("hyperparam_mutations", "self")
    }
    assert list(ours) == list(theirs)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"hyperparam_mutations": None}, "hyperparam_mutations=None.*custom_explore_fn"),
        ({"hyperparam_mutations": {}}, "say what to change"),
        ({"perturbation_interval": 0}, "perturbation_interval=0"),
        ({"burn_in_period": -1}, "burn_in_period=-1"),
        ({"quantile_fraction": 0.6}, "quantile_fraction=0.6.*0 to 0.5"),
        ({"quantile_fraction": -0.1}, "quantile_fraction"),
        ({"resample_probability": 1.5}, "resample_probability=1.5.*0 to 1"),
        ({"perturbation_factors": ()}, "perturbation_factors"),
        ({"perturbation_factors": (1.2, 0)}, "perturbation_factors=0"),
        ({"perturbation_factors": 1.2}, "perturbation_factors"),
        ({"custom_explore_fn": 3}, "custom_explore_fn=3"),
        ({"synch": "yes"}, "synch='yes'"),
        ({"time_attr": ""}, "time_attr"),
        ({"mode": "maximum"}, "'max'"),
        ({"metric": ["a"]}, "metric"),
    ],
)
def test_arguments_that_cannot_work_are_refused_by_name(options, words):
    fields = {"hyperparam_mutations": {"lr": [1]}, **options}
    with pytest.raises(ConfigError, match=words):
        PopulationBasedTraining(**fields)


@pytest.mark.parametrize("metric", [None, "loss"])
def test_metric_and_mode_must_be_known(metric):
    scheduler = PopulationBasedTraining(
        metric=metric, hyperparam_mutations={"lr": [1]}, mode="min" if metric is None else None
    )
    with pytest.raises(ConfigError, match="mode=None" if metric else "metric=None"):
        SmallExperiment(scheduler, levels(1))


def test_the_worst_go_on_from_the_best_with_a_changed_configuration():
    configs = [{"lr": 0.5, "number": number} for number in range(4)]
    experiment = run(pbt(resample_probability=0), levels(1, 2, 3, 4), configs=configs, slots=4)
    first = experiment.changes[0]
    assert exploits(experiment)[0] == ("t003", "t000")
    assert first.config in ({"lr": 0.6, "number": 0}, {"lr": 0.4, "number": 0})
    assert first.is_logged
    assert {donor for _, donor in exploits(experiment)} <= {"t000", "t003"}


def test_only_at_intervals_and_after_the_burn_in_are_trials_compared():
    experiment = run(pbt(burn_in_period=9), levels(1, 2, 3, 4), slots=4)
    acted = sorted({iteration for _, iteration, what in experiment.decisions if what != "CONTINUE"})
    assert acted == [9, 13, 17]


def test_the_upper_quantile_is_saved_and_the_middle_is_left_alone():
    experiment = run(pbt(), levels(1, 2, 3, 4), slots=4, seed=2)
    told = {}
    for trial_id, iteration, decision in experiment.decisions:
        if iteration >= 8:
            told.setdefault(trial_id, set()).add(decision)
    assert "SAVE" in told["t000"]
    assert told["t001"] == {"CONTINUE"}


def test_without_a_quantile_nothing_is_exploited():
    experiment = run(pbt(quantile_fraction=0), levels(1, 2, 3, 4), slots=4)
    assert experiment.changes == []
    assert {decision for _, _, decision in experiment.decisions} == {"CONTINUE"}


@pytest.mark.parametrize("synch", [False, True])
def test_one_trial_alone_is_neither_exploited_nor_held_up(synch):
    experiment = run(pbt(synch=synch), levels(1))
    assert exploits(experiment) == []
    assert experiment.iterations() == [20]


def test_a_trial_without_a_checkpoint_is_never_a_donor(caplog):
    scheduler = pbt()
    experiment = SmallExperiment(scheduler, levels(1, 2), slots=2)
    best, worst = experiment.trials
    for trial in (best, worst):
        experiment.move(trial, "RUNNING")
    with caplog.at_level(logging.INFO):
        for iteration in (4, 8):
            result = {"loss": 1.0, "training_iteration": iteration}
            best.last_result = result
            said = scheduler.on_trial_result(experiment, best, result)
            assert said == ("CONTINUE" if iteration == 4 else "SAVE")
            scheduler.on_trial_error(experiment, best)  # it could not be saved, and tries again
            result = {"loss": 2.0, "training_iteration": iteration}
            assert scheduler.on_trial_result(experiment, worst, result) == "CONTINUE"
    assert caplog.text.count("no better one has a checkpoint") == 1


def test_an_exploit_waits_until_its_donor_is_saved():
    scheduler = pbt()
    experiment = SmallExperiment(scheduler, levels(1, 2), slots=2)
    best, worst = experiment.trials
    for trial in (best, worst):
        experiment.move(trial, "RUNNING")
    scheduler.on_trial_result(experiment, worst, {"loss": 2.0, "training_iteration": 4})
    saving = scheduler.on_trial_result(experiment, best, {"loss": 1.0, "training_iteration": 4})
    told = scheduler.on_trial_result(experiment, worst, {"loss": 2.0, "training_iteration": 8})
    assert (saving, told) == ("SAVE", "PAUSE")
    worst.saved = 8
    experiment.move(worst, "PAUSED")
    scheduler.on_trial_pause(experiment, worst)
    assert [*scheduler.changes(experiment)] == []
    assert scheduler.choose_trial_to_run(experiment) is None
    best.saved = 4
    (change,) = scheduler.changes(experiment)
    assert (change.trial_id, change.donor) == ("t001", "t000")
    assert [*scheduler.changes(experiment)] == [change], "looking changes nothing"


def test_if_the_donor_is_lost_the_trial_goes_on_as_itself():
    scheduler = pbt()
    experiment = SmallExperiment(scheduler, levels(1, 2), slots=2)
    best, worst = experiment.trials
    for trial in (best, worst):
        experiment.move(trial, "RUNNING")
    scheduler.on_trial_result(experiment, worst, {"loss": 2.0, "training_iteration": 4})
    scheduler.on_trial_result(experiment, best, {"loss": 1.0, "training_iteration": 4})
    scheduler.on_trial_result(experiment, worst, {"loss": 2.0, "training_iteration": 8})
    worst.saved = 8
    experiment.move(worst, "PAUSED")
    scheduler.on_trial_pause(experiment, worst)
    experiment.move(best, "ERROR")
    scheduler.on_trial_error(experiment, best)
    assert [*scheduler.changes(experiment)] == [Change(trial_id="t001")]
    scheduler.on_trial_change(experiment, worst, Change(trial_id="t001"))
    assert scheduler.choose_trial_to_run(experiment) is worst


def test_fewer_slots_than_trials_are_shared_in_turns():
    experiment = run(pbt(), levels(1, 2, 3, 4, 5, length=12), slots=2, seed=4)
    reached = dict.fromkeys((trial.trial_id for trial in experiment.trials), 0)
    for trial_id, iteration, _ in experiment.decisions:
        reached[trial_id] = max(reached[trial_id], iteration)
        ahead = max(reached.values())
        assert ahead - min(reached.values()) <= 2 * 4, "one trial is far ahead of another"
    assert experiment.iterations() == [12] * 5


def test_trials_that_nobody_waits_for_do_not_pause():
    experiment = run(pbt(quantile_fraction=0), levels(1, 2), slots=2)
    assert "PAUSE" not in {decision for _, _, decision in experiment.decisions}


def test_trials_that_are_still_to_come_are_waited_for():
    scheduler = pbt(quantile_fraction=0)
    experiment = SmallExperiment(scheduler, levels(1, 2), slots=1, lazily=True)
    experiment.create()
    (trial,) = experiment.trials
    experiment.move(trial, "RUNNING")
    said = scheduler.on_trial_result(experiment, trial, {"loss": 1.0, "training_iteration": 4})
    assert said == "PAUSE"


@pytest.mark.parametrize("slots", [1, 2, 6])
def test_synchronous_rounds_compare_everybody_at_the_same_time(slots):
    experiment = run(pbt(synch=True), levels(1, 2, 3, 4, 5, 6, length=12), slots=slots)
    by_round = [experiment.changes[at : at + 6] for at in range(0, len(experiment.changes), 6)]
    for changes in by_round:
        assert len({change.trial_id for change in changes}) == 6
        assert sum(change.donor is not None for change in changes) == 2
    worst = {change.trial_id for change in by_round[0] if change.donor is not None}
    assert worst == {"t004", "t005"}
    last = 0
    for _, iteration, _ in experiment.decisions:
        assert iteration > last - 4, "one trial is in another round"
        last = max(last, iteration)


def test_synchronous_trials_are_not_held_up_by_those_that_fail_or_end():
    curves = [*levels(1, 2, 3, 4), [5] * 6]
    experiment = run(pbt(synch=True), curves, slots=2, fails_at={1: [3, 6], 2: [5]})
    assert min(experiment.iterations()[:4]) == 20


def test_a_stalled_round_begins_with_those_that_are_there():
    scheduler = pbt(synch=True)
    experiment = SmallExperiment(scheduler, levels(1, 2, 3), slots=2)
    for trial, loss in zip(experiment.trials[:2], (1.0, 2.0), strict=True):
        experiment.move(trial, "RUNNING")
        scheduler.on_trial_result(experiment, trial, {"loss": loss, "training_iteration": 4})
        trial.saved = 4
        experiment.move(trial, "PAUSED")
        scheduler.on_trial_pause(experiment, trial)
    assert [*scheduler.changes(experiment)] == []
    experiment.is_stalled = True
    assert [(c.trial_id, c.donor) for c in scheduler.changes(experiment)] == [
        ("t000", None),
        ("t001", "t000"),
    ]


def test_a_metric_that_is_nan_is_the_worst_and_no_donor():
    curves = [[math.nan] * 20, *levels(1, 2, 3)]
    experiment = run(pbt(), curves, slots=4)
    donors = dict(exploits(experiment))
    assert donors["t000"] == "t001"
    nothing = run(pbt(), [[math.nan] * 20] * 4, slots=4)
    assert exploits(nothing) == []


def test_after_an_exploit_a_trial_trains_for_an_interval_before_it_is_compared_again():
    scheduler = pbt()
    experiment = SmallExperiment(scheduler, levels(1, 2), slots=2)
    best, worst = experiment.trials
    for trial, time in ((worst, 4), (best, 11)):
        experiment.move(trial, "RUNNING")
        loss = 1.0 if trial is best else 2.0
        scheduler.on_trial_result(experiment, trial, {"loss": loss, "training_iteration": time})
    change = Change(trial_id=worst.trial_id, donor=best.trial_id, config={"lr": 0.1})
    scheduler.on_trial_change(experiment, worst, change)
    best.saved = 11
    told = [
        scheduler.on_trial_result(experiment, worst, {"loss": 2.0, "training_iteration": time})
        for time in (12, 14, 15)
    ]
    assert told == ["CONTINUE", "CONTINUE", "PAUSE"]


def test_the_custom_explore_function_comes_last_and_draws_from_the_seed():
    import random

    def explore(config):
        config["lr"] = round(config["lr"], 3)
        config["extra"] = random.random()
        return config

    def extras(seed):
        scheduler = pbt(custom_explore_fn=explore, seed=seed)
        experiment = run(scheduler, levels(1, 2, 3, 4), slots=4)
        return [c.config["extra"] for c in experiment.changes if c.donor]

    assert extras(1) == extras(1)
    assert extras(1) != extras(2)
    assert len(set(extras(1))) == len(extras(1))


def test_a_custom_explore_function_alone_is_enough_and_must_return_a_dictionary():
    scheduler = pbt(hyperparam_mutations=None, custom_explore_fn=lambda config: None)
    with pytest.raises(ConfigError, match=r"custom_explore_fn.*returned None"):
        run(scheduler, levels(1, 2, 3, 4), slots=4)


def test_configurations_are_completed_from_the_mutations_by_seed_and_number():
    first, second = (pbt(seed=1).complete_config({"a": 1}, number) for number in (0, 1))
    assert first == pbt(seed=1).complete_config({"a": 1}, 0)
    assert first["a"] == 1
    assert first["lr"] != second["lr"] != pbt(seed=2).complete_config({}, 1)["lr"]


@pytest.mark.parametrize("key", ["loss", "training_iteration"])
def test_results_without_metric_or_time_are_an_error_unless_they_are_not_required(key):
    result = {"loss": 1.0, "training_iteration": 4}
    del result[key]
    for lenient in (
        pbt(require_attrs=False),
        PopulationBasedTraining("training_iteration", hyperparam_mutations={"lr": [1]}),
    ):
        if lenient.metric is None:
            lenient.set_search_properties("loss", "min", strict_metric_checking=False)
        experiment = SmallExperiment(lenient, levels(1))
        assert lenient.on_trial_result(experiment, experiment.trials[0], dict(result)) == "CONTINUE"
    strict = pbt()
    experiment = SmallExperiment(strict, levels(1))
    with pytest.raises(ConfigError, match=repr(key)):
        strict.on_trial_result(experiment, experiment.trials[0], dict(result))


def test_functions_that_report_no_checkpoints_are_found_out_and_left_alone(caplog):
    scheduler = pbt()
    experiment = SmallExperiment(scheduler, levels(1, 2, 3), slots=1)
    first, *_ = experiment.trials
    experiment.move(first, "RUNNING")
    with caplog.at_level(logging.WARNING):
        said = scheduler.on_trial_result(experiment, first, {"loss": 1.0, "training_iteration": 4})
        assert said == "PAUSE"
        experiment.move(first, "PAUSED")
        scheduler.on_trial_pause(experiment, first)
    assert "without a checkpoint" in caplog.text
    experiment.move(first, "RUNNING")
    said = scheduler.on_trial_result(experiment, first, {"loss": 1.0, "training_iteration": 8})
    assert said == "CONTINUE", "it would lose what it has trained"


def test_bookkeeping_is_linear_in_the_population():
    """Counted in looks at members rather than in seconds."""
    looks = 0

    class Counted(PopulationBasedTraining):
        def _trained(self, trial):
            nonlocal looks
            looks += 1
            return super()._trained(trial)

    def looks_per_perturbation(number):
        nonlocal looks
        looks = 0
        scheduler = Counted(
            "training_iteration",
            perturbation_interval=2,
            hyperparam_mutations={"lr": tune.uniform(0, 1)},
        )
        scheduler.set_search_properties("loss", "min")
        run(scheduler, levels(*range(number), length=4), slots=8)
        return looks / number

    assert looks_per_perturbation(200) < 2.5 * looks_per_perturbation(100)
