from scheduler_harness import SmallExperiment

from tuner.schedulers import FIFOScheduler, TrialScheduler


def test_every_trial_runs_to_its_end():
    experiment = SmallExperiment(FIFOScheduler(), [[1.0] * n for n in (3, 1, 4, 2)], slots=2)
    assert {decision for _, _, decision in experiment.run()} == {TrialScheduler.CONTINUE}
    assert experiment.iterations() == [3, 1, 4, 2]


class FitsOnly(SmallExperiment):
    """An experiment in which only the trials of `small` fit."""

    small: tuple[str, ...] = ()

    def fits(self, trial):
        return trial.trial_id in self.small


def test_the_first_pending_trial_that_fits_is_chosen():
    experiment = FitsOnly(FIFOScheduler(), [[1.0]] * 4)
    experiment.small = ("t001", "t003")
    assert experiment.scheduler.choose_trial_to_run(experiment).trial_id == "t001"


def test_a_paused_trial_is_chosen_when_no_pending_one_fits():
    experiment = FitsOnly(FIFOScheduler(), [[1.0]] * 4)
    experiment.move(experiment.trials[0], "PAUSED")
    experiment.small = ("t000", "t002")
    assert experiment.scheduler.choose_trial_to_run(experiment).trial_id == "t002"
    experiment.small = ("t000",)
    assert experiment.scheduler.choose_trial_to_run(experiment).trial_id == "t000"
    experiment.small = ()
    assert experiment.scheduler.choose_trial_to_run(experiment) is None
