from scheduler_harness import SmallExperiment

import tuner as tune
from tuner.schedulers import HyperBandForBOHB, HyperBandScheduler
from tuner.search import Searcher


def flat(*losses, length=30):
    return [[float(loss)] * length for loss in losses]


def test_it_decides_as_hyperband_does():
    runs = [
        SmallExperiment(kind(metric="loss", mode="min", max_t=27), flat(*range(60))).run()
        for kind in (HyperBandForBOHB, HyperBandScheduler)
    ]
    assert runs[0] == runs[1]


class Listening(SmallExperiment):
    def tell(self, method, trial, *arguments):
        answer = super().tell(method, trial, *arguments)
        if method == "on_trial_result":
            self.infos.setdefault(trial.trial_id, []).append(arguments[0]["hyperband_info"])
        return answer


def test_results_at_rungs_carry_their_budget():
    scheduler = HyperBandForBOHB(metric="loss", mode="min", max_t=9)
    experiment = Listening(scheduler, flat(*range(9)))
    experiment.infos = {}
    experiment.run()
    best = [{"budget": 1}, {}, {"budget": 3}, {}, {}, {}, {}, {}, {"budget": 9}]
    assert experiment.infos["t000"] == best
    assert experiment.infos["t002"] == best[:3]
    assert experiment.infos["t008"] == best[:1]


def test_the_last_result_of_a_trial_that_ends_by_itself_has_the_entry():
    scheduler = HyperBandForBOHB(metric="loss", mode="min", max_t=8, reduction_factor=4)
    experiment = SmallExperiment(scheduler, flat(1, 2, 3))
    for trial, ended_at, info in zip(experiment.trials, (1, 2), ({}, {"budget": 2}), strict=False):
        undecided = {"loss": 1.0, "training_iteration": ended_at, "done": True}
        scheduler.on_trial_complete(experiment, trial, undecided)
        assert undecided["hyperband_info"] == info
    nothing = {}
    scheduler.on_trial_complete(experiment, experiment.trials[2], nothing)
    assert nothing == {}


class BudgetSearcher(Searcher):
    """Waits for the results of four trials before it proposes more, as a model may."""

    def __init__(self):
        super().__init__()
        self.budgets = {}
        self.unfinished = set()

    def suggest(self, trial_id):
        if len(self.unfinished) == 4:
            return None
        self.unfinished.add(trial_id)
        return {"x": len(self.budgets)}

    def on_trial_result(self, trial_id, result):
        self.budgets.setdefault(trial_id, []).append(result["hyperband_info"].get("budget"))

    def on_trial_complete(self, trial_id, result=None, error=False):
        self.unfinished.discard(trial_id)
        self.budgets.setdefault(trial_id, []).append(result["hyperband_info"].get("budget"))


def test_the_searcher_is_told_budgets_and_may_wait_for_results(tmp_path):
    searcher = BudgetSearcher()

    class Counting(tune.Trainable):
        def setup(self, config):
            self.steps = 0

        def step(self):
            self.steps += 1
            return {"loss": self.config["x"] / self.steps}

        def save_checkpoint(self, folder):
            return {"steps": self.steps}

        def load_checkpoint(self, saved):
            self.steps = saved["steps"]

    results = tune.Tuner(
        Counting,
        tune_config=tune.TuneConfig(
            metric="loss",
            mode="min",
            search_alg=searcher,
            scheduler=HyperBandForBOHB(max_t=9),
            num_samples=9,
        ),
        run_config=tune.RunConfig(storage_path=str(tmp_path), executor="inline", verbose=0),
    ).fit()
    assert not results.errors
    # Four with which the first bracket is halved, three that fill the second, two of the third.
    first_rungs = [1] * 4 + [3] * 3 + [9] * 2
    for result, first in zip(results, first_rungs, strict=True):
        budgets = searcher.budgets[result.metrics["trial_id"]]
        assert budgets[: first - 1] == [None] * (first - 1)
        assert budgets[first - 1] == first
        assert set(budgets) <= {None, 1, 3, 9}
    ends = [result.metrics["training_iteration"] for result in results]
    assert sorted(ends[:4]) == [1, 1, 1, 9]
    assert sorted(ends[4:7]) == [3, 3, 9]
