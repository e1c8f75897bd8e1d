"""From the user's configs to searcher, scheduler and stopper: the finer points."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import pytest

import tuner as tune
from tuner.errors import ConfigError
from tuner.policies import build_scheduler, build_searcher
from tuner.schedulers import ASHAScheduler, FIFOScheduler
from tuner.search import BasicVariantGenerator, ConcurrencyLimiter, Repeater, Searcher
from tuner.stoppers.limits import Limits

SPACE = {"x": tune.uniform(0, 1)}


@pytest.mark.parametrize("name", ["asha", "ASHA", "async_hyperband", "AsyncHyperBand", "fifo"])
def test_schedulers_by_name_whatever_its_case(name: str) -> None:
    scheduler = build_scheduler(tune.TuneConfig(scheduler=name, metric="loss", mode="min"), 0)
    assert type(scheduler) is (FIFOScheduler if name == "fifo" else ASHAScheduler)
    assert (scheduler.metric, scheduler.mode) == ("loss", "min")


@pytest.mark.parametrize(
    ("name", "needed"), [("pbt", "hyperparam_mutations"), ("PBT_replay", "policy_file=...")]
)
def test_a_name_that_does_not_say_enough_is_an_error_that_says_what_to_give(
    name: str, needed: str
) -> None:
    with pytest.raises(ConfigError, match=needed):
        build_scheduler(tune.TuneConfig(scheduler=name, metric="loss", mode="min"), 0)


@pytest.mark.parametrize("name", ["random", "variant_generator", None])
def test_searchers_by_name(name: str | None) -> None:
    searcher = build_searcher(tune.TuneConfig(search_alg=name, num_samples=4), SPACE, 0)
    assert type(searcher) is BasicVariantGenerator
    assert searcher.total_samples(4) == 4


def test_the_seed_of_the_experiment_decides_on_configurations() -> None:
    def first(seed: int) -> object:
        return build_searcher(tune.TuneConfig(), SPACE, seed).suggest("t")

    assert first(1) == first(1)
    assert first(1) != first(2)


SEVERAL = tune.TuneConfig(metric=("loss", "size"), mode=("min", "max"))


def test_several_objectives_reach_the_searcher() -> None:
    searcher = build_searcher(SEVERAL, SPACE, 0)
    assert (searcher.metric, searcher.mode) == (["loss", "size"], ["min", "max"])


def test_with_several_objectives_a_scheduler_compares_by_its_own() -> None:
    own = ASHAScheduler(metric="loss", mode="min")
    scheduler = build_scheduler(dataclasses.replace(SEVERAL, scheduler=own), 0)
    assert (scheduler.metric, scheduler.mode) == ("loss", "min")
    with pytest.raises(ConfigError, match=r"name it: AsyncHyperBandScheduler\(metric=..., mode="):
        build_scheduler(dataclasses.replace(SEVERAL, scheduler="asha"), 0)
    build_scheduler(SEVERAL, 0)  # without one, nothing is compared


class Named(BasicVariantGenerator):
    """With a metric of its own, as searchers that learn have it."""

    def __init__(self, metric: str | list[str], mode: str | list[str]) -> None:
        super().__init__()
        self.metric, self.mode = metric, mode


def around(searcher: Searcher) -> list[Searcher]:
    return [searcher, ConcurrencyLimiter(searcher, 2), Repeater(searcher, 2)]


@pytest.mark.parametrize(
    "searcher", around(Named("a", "min")), ids=lambda each: type(each).__name__
)
@pytest.mark.parametrize(
    ("metric", "mode", "problem"),
    [
        ("b", "min", r"metric='b' is given here and also to search_alg=\w+, as 'a'; give it once"),
        ("a", "max", r"mode='max' is given here and also to search_alg=\w+, as 'min'"),
        (None, "max", "mode='max' is given here"),
        (["b", "c"], ["min", "max"], "metric=.* is given here"),
    ],
)
def test_a_searcher_has_no_other_objective(
    searcher: Searcher, metric: str, mode: str, problem: str
) -> None:
    config = tune.TuneConfig(search_alg=searcher, metric=metric, mode=mode)
    with pytest.raises(ConfigError, match=problem):
        build_searcher(config, SPACE, 0)


@pytest.mark.parametrize(
    "searcher", around(Named("a", "min")), ids=lambda each: type(each).__name__
)
@pytest.mark.parametrize(
    ("metric", "mode"), [(None, None), ("a", "min"), (["a", "b"], ["min", "max"])]
)
def test_a_searcher_may_have_the_same_objective(searcher: Searcher, metric: str, mode: str) -> None:
    config = tune.TuneConfig(search_alg=searcher, metric=metric, mode=mode)
    assert build_searcher(config, SPACE, 0).metric == "a"


def test_results_may_be_compared_by_one_objective_of_several() -> None:
    searcher = Named(["a", "b"], ["min", "max"])
    config = tune.TuneConfig(search_alg=searcher, metric="b", mode="max")
    assert build_searcher(config, SPACE, 0).metric == ["a", "b"]


def test_a_searcher_that_does_not_take_the_space_is_refused() -> None:
    class Stubborn(Searcher):
        def suggest(self, trial_id: str) -> dict[str, float]:
            return {"x": 0.0}

    config = tune.TuneConfig(search_alg=Stubborn(), metric="loss", mode="min")
    with pytest.raises(ConfigError, match="search_alg=Stubborn"):
        build_searcher(config, SPACE, 0)


def test_metrics_that_are_not_reported_are_an_error_unless_the_user_is_lenient(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Trial:
        trial_id = "t"
        last_result: dict[str, object] = {}  # noqa: RUF012

    def decision() -> str:
        config = tune.TuneConfig(scheduler="asha", metric="loss", mode="min")
        scheduler = build_scheduler(config, 0)
        scheduler.on_trial_add(None, Trial())
        return scheduler.on_trial_result(None, Trial(), {"training_iteration": 1})

    with pytest.raises(ConfigError, match="metric='loss': trial t did not report it"):
        decision()
    monkeypatch.setenv("TUNE_DISABLE_STRICT_METRIC_CHECKING", "1")
    assert decision() == "CONTINUE"


def test_a_time_budget_may_be_a_timedelta_and_leaves_other_criteria_as_they_are() -> None:
    stopper = Limits(lambda trial_id, result: result["n"] > 3, timedelta(minutes=1))
    stopper.on_time(1000.0)
    assert stopper.deadline() == 1060.0
    assert (stopper("t", {"n": 4}), stopper("t", {"n": 3}), stopper.stop_all()) == (
        True,
        False,
        False,
    )
    stopper.on_time(1060.0)
    assert stopper.stop_all()
