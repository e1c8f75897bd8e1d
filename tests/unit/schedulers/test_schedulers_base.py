from scheduler_harness import SmallExperiment

from tuner.schedulers import FIFOScheduler, TrialScheduler


class StopsLosersAtTwo(FIFOScheduler):
    """Written as people write them: positional arguments, no call of the base's `__init__`."""

    def __init__(self, bound):
        self.bound = bound
        self.completed = []

    def on_trial_result(self, tune_controller, trial, result):
        if result["training_iteration"] == 2 and result["loss"] > self.bound:
            return TrialScheduler.STOP
        return TrialScheduler.CONTINUE

    def on_trial_complete(self, tune_controller, trial, result):
        self.completed.append(trial.trial_id)


def test_a_users_scheduler_needs_only_the_methods_it_changes():
    experiment = SmallExperiment(StopsLosersAtTwo(bound=1), [[0.5] * 4, [1.5] * 4, [0.7] * 4])
    experiment.run()
    assert experiment.iterations() == [4, 2, 4]
    assert sorted(experiment.scheduler.completed) == ["t000", "t001", "t002"]


class PausesOnce(TrialScheduler):
    """Lets all trials come to their second iteration before any goes on."""

    def on_trial_result(self, experiment, trial, result):
        return self.PAUSE if result["training_iteration"] == 2 else self.CONTINUE


def test_a_paused_trial_goes_on_after_the_pending_ones():
    experiment = SmallExperiment(PausesOnce(), [[0.5] * 3] * 3, slots=1)
    decisions = experiment.run()
    assert [trial_id for trial_id, _, _ in decisions] == (
        ["t000"] * 2 + ["t001"] * 2 + ["t002"] * 2 + ["t000", "t001", "t002"]
    )


def test_a_scheduler_without_metric_takes_the_experiments():
    scheduler = StopsLosersAtTwo(bound=1)
    assert scheduler.metric is None
    assert scheduler.set_search_properties("loss", "min", seed=1, anything_else=None)
    assert (scheduler.metric, scheduler.mode) == ("loss", "min")
    assert TrialScheduler().metric is None


def test_several_objectives_do_not_trouble_one_that_ignores_them():
    assert FIFOScheduler().set_search_properties(["loss", "size"], ["min", "min"])
