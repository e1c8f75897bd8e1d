"""How much each trial gets, by the functions that say so."""

from types import SimpleNamespace

import pytest
from scheduler_harness import SmallTrial

from tuner.errors import ConfigError
from tuner.placement import PlacementGroupFactory
from tuner.schedulers import (
    DistributeResources,
    DistributeResourcesToTopJob,
    FIFOScheduler,
    ResourceChangingScheduler,
)
from tuner.schedulers.resource_changing_scheduler import (
    DistributeResourcesToTopJob as FromTheModuleOfRay,
)


class World:
    """Trials that run, by name: what each asked for, what it has, what it reports."""

    def __init__(self, allocate, total, base=None, metric=None, mode=None, max_running=None):
        self.scheduler = ResourceChangingScheduler(FIFOScheduler(), allocate)
        self.scheduler.set_search_properties(metric, mode)
        self.allocate = allocate
        self.base = base or [{"CPU": 1.0}]
        self.view = SimpleNamespace(
            total_resources=total,
            running_trials=[],
            paused_trials=[],
            pending_trials=[],
            max_running=max_running,
        )

    def run(self, count, waiting=0):
        for number in range(count + waiting):
            trial = SmallTrial(f"t{number}", [], bundles=self.base, number=number)
            trial.status = "RUNNING" if number < count else "PENDING"
            trials = self.view.running_trials if number < count else self.view.pending_trials
            trials.append(trial)
            self.scheduler.on_trial_add(self.view, trial)
        return self

    def ask(self, number, **metrics):
        """A running trial reports, and gets what it is given."""
        trial = self.view.running_trials[number]
        result = {"training_iteration": 1, **metrics}
        trial.last_result = result
        if self.scheduler.on_trial_result(self.view, trial, result) == "PAUSE":
            trial.bundles = self.scheduler._promised.pop(trial.trial_id)
        return trial.bundles

    def ask_all(self, **metrics):
        return [self.ask(number, **metrics) for number in range(len(self.view.running_trials))]


def amounts(bundles, name="CPU"):
    return [sum(bundle.get(name, 0) for bundle in each) for each in bundles]


def test_equal_shares_and_what_is_left_over_to_the_first():
    world = World(DistributeResources(), {"CPU": 11}).run(3)
    assert amounts(world.ask_all()) == [4, 4, 3]
    assert amounts(world.ask_all()) == [4, 4, 3]


def test_shares_grow_as_trials_end():
    world = World(DistributeResources(), {"CPU": 6}).run(3)
    assert amounts(world.ask_all()) == [2, 2, 2]
    world.view.running_trials.pop(1)
    assert amounts(world.ask_all()) == [3, 3]


def test_a_trial_with_more_than_its_share_gives_it_back_for_one_that_waits():
    world = World(DistributeResources(), {"CPU": 6}).run(1)
    assert amounts(world.ask_all()) == [6]
    waiting = SmallTrial("t1", [], bundles=world.base, number=1)
    world.view.pending_trials.append(waiting)
    assert amounts(world.ask_all()) == [3]
    world.view.max_running = 1
    assert amounts(world.ask_all()) == [6]


def test_one_that_waits_for_more_than_could_ever_be_left_does_not_count():
    world = World(DistributeResources(), {"CPU": 4}, base=[{"CPU": 3.0}]).run(1, waiting=1)
    assert amounts(world.ask_all()) == [4]


def test_gpus_are_shared_where_trials_ask_for_gpus():
    world = World(DistributeResources(), {"CPU": 8, "GPU": 4}, base=[{"CPU": 1.0, "GPU": 1.0}])
    world.run(2)
    assert world.ask_all() == [[{"CPU": 1, "GPU": 2}]] * 2


def test_a_unit_of_both_needs_both():
    allocate = DistributeResources(increase_by={"CPU": 2, "GPU": 1})
    world = World(allocate, {"CPU": 6, "GPU": 4}, base=[{"CPU": 1.0, "GPU": 1.0}]).run(1)
    assert world.ask(0) == [{"CPU": 5, "GPU": 3}]


def test_units_a_limit_and_a_reserve():
    world = World(DistributeResources(increase_by={"cpu": 2}), {"CPU": 10}).run(1)
    assert amounts(world.ask_all()) == [9]
    world = World(DistributeResources(False, {"CPU": 2}, 3), {"CPU": 10}).run(1)
    assert amounts(world.ask_all()) == [7]
    world = World(DistributeResources(reserve_resources={"CPU": 4}), {"CPU": 10}).run(2)
    assert amounts(world.ask_all()) == [3, 3]
    world = World(DistributeResources(increase_by_times=1), {"CPU": 10}).run(1)
    assert amounts(world.ask_all()) == [10], "without increase_by there is no limit"


def test_custom_resources_and_fractions():
    allocate = DistributeResources(increase_by={"license": 0.1})
    world = World(allocate, {"CPU": 4, "license": 1.0}, base=[{"license": 0.1}]).run(1)
    assert world.ask(0)[0]["license"] == pytest.approx(1.0)


def test_new_bundles():
    base = [{"CPU": 1.0}, {"CPU": 2.0}]
    world = World(DistributeResources(add_bundles=True), {"CPU": 8}, base=base).run(1)
    assert world.ask(0) == [{"CPU": 1}, {"CPU": 2}, {"CPU": 2}, {"CPU": 2}]
    allocate = DistributeResources(True, {"CPU": 1}, 2)
    assert World(allocate, {"CPU": 8}, base=base).run(1).ask(0) == [*base, {"CPU": 1}, {"CPU": 1}]


def test_several_bundles_without_add_bundles_are_an_error():
    world = World(DistributeResources(), {"CPU": 8}, base=[{"CPU": 1.0}, {"CPU": 2.0}]).run(1)
    with pytest.raises(ConfigError, match="trial t0 asks for 2 bundles; use add_bundles=True"):
        world.ask(0)


@pytest.mark.parametrize(("mode", "best"), [("min", 1), ("max", 2)])
def test_the_best_trial_gets_all_that_is_free(mode, best):
    world = World(DistributeResourcesToTopJob(), {"CPU": 8}, metric="loss", mode=mode).run(3)
    losses = [0.5, 0.1, 0.9]
    for number, loss in enumerate(losses):
        world.view.running_trials[number].last_result = {"loss": loss}
    given = [world.ask(number, loss=losses[number]) for number in range(3)]
    assert amounts(given) == [6 if number == best else 1 for number in range(3)]


def test_the_former_best_keeps_what_it_has_and_gives_it_to_one_that_waits():
    allocate = DistributeResourcesToTopJob(metric="a/loss", mode="min")
    world = World(allocate, {"CPU": 8}).run(2)
    assert amounts([world.ask(0, a={"loss": 0.5})]) == [7]
    assert amounts([world.ask(1, a={"loss": 0.1})]) == [1]
    assert amounts([world.ask(0, a={"loss": 0.5})]) == [7]
    world.view.pending_trials.append(SmallTrial("t2", [], bundles=world.base, number=2))
    assert amounts([world.ask(0, a={"loss": 0.5})]) == [6]


def test_at_its_limit_the_best_leaves_the_rest_to_the_next():
    allocate = DistributeResourcesToTopJob(False, {"CPU": 1}, 2)
    world = World(allocate, {"CPU": 8}, metric="loss", mode="max").run(3)
    for number, loss in enumerate([3, 2, 1]):
        world.view.running_trials[number].last_result = {"loss": loss}
    assert amounts([world.ask(n, loss=3 - n) for n in range(3)]) == [3, 3, 2]


def test_nan_is_never_the_best():
    world = World(DistributeResourcesToTopJob(), {"CPU": 4}, metric="loss", mode="max").run(2)
    assert amounts([world.ask(0, loss=float("nan"))]) == [1]
    assert amounts([world.ask(1, loss=-5.0)]) == [3]


def test_the_top_job_needs_a_metric_that_is_reported():
    world = World(DistributeResourcesToTopJob(), {"CPU": 4}).run(1)
    with pytest.raises(ConfigError, match=r"DistributeResourcesToTopJob\(metric=None\)"):
        world.ask(0, loss=1.0)
    world = World(DistributeResourcesToTopJob(metric="los", mode="min"), {"CPU": 4}).run(1)
    with pytest.raises(ConfigError, match="did you mean 'loss'"):
        world.ask(0, loss=1.0)


@pytest.mark.parametrize("kind", [DistributeResources, DistributeResourcesToTopJob])
@pytest.mark.parametrize(
    "arguments",
    [
        {"add_bundles": 1},
        {"increase_by": {"CPU": -1}},
        {"increase_by": {"CPU": 0}},
        {"increase_by": 2},
        {"increase_by_times": 1.5},
        {"reserve_resources": {"CPU": "1"}},
    ],
)
def test_impossible_arguments(kind, arguments):
    with pytest.raises(ConfigError):
        kind(**arguments)


def test_impossible_arguments_of_the_scheduler():
    with pytest.raises(ConfigError, match="base_scheduler='asha'"):
        ResourceChangingScheduler("asha")
    for function in (DistributeResources, 3):
        with pytest.raises(ConfigError, match="resources_allocation_function"):
            ResourceChangingScheduler(None, function)
    with pytest.raises(ConfigError):
        DistributeResourcesToTopJob(mode="maximum")


def test_a_function_as_the_documentation_of_ray_has_it():
    def example(experiment, trial, result, scheduler):
        base = scheduler.base_trial_resources
        live = scheduler.live_trials(experiment)
        cpus = max(base.head_cpus, experiment.total_resources["CPU"] // len(live))
        return PlacementGroupFactory([{"CPU": cpus, "GPU": 0}])

    assert amounts(World(example, {"CPU": 8}).run(2).ask_all()) == [4, 4]
    assert FromTheModuleOfRay is DistributeResourcesToTopJob
