"""What every scheduler promises; a new one joins by one line in `MEMBERS`."""

import math
import os
import pickle
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cloudpickle
import numpy as np
import pytest
from scheduler_harness import SmallExperiment, replay, state_of

from tuner.errors import ConfigError
from tuner.schedulers import (
    PB2,
    ASHAScheduler,
    DistributeResourcesToTopJob,
    FIFOScheduler,
    HyperBandForBOHB,
    HyperBandScheduler,
    MedianStoppingRule,
    PopulationBasedTraining,
    ResourceChangingScheduler,
    TrialScheduler,
)
from tuner.search_space import uniform


class Member(NamedTuple):
    make: Callable[[], TrialScheduler]  # without metric and mode; trials have up to 30 iterations
    uses_metric: bool = True
    stops: bool = True


MEMBERS = {
    "base": Member(TrialScheduler, uses_metric=False),
    "fifo": Member(FIFOScheduler, uses_metric=False),
    "asha": Member(lambda: ASHAScheduler(max_t=30, reduction_factor=3)),
    "asha_brackets": Member(lambda: ASHAScheduler(max_t=30, reduction_factor=2, brackets=3)),
    "asha_open_end": Member(lambda: ASHAScheduler(max_t=9, stop_last_trials=False)),
    "resources": Member(ResourceChangingScheduler, uses_metric=False),
    "resources_asha": Member(
        lambda: ResourceChangingScheduler(
            ASHAScheduler(max_t=30, reduction_factor=3), DistributeResourcesToTopJob()
        )
    ),
    "pbt": Member(lambda: pbt(), stops=False),
    "pbt_synch": Member(lambda: pbt(synch=True), stops=False),
    "hyperband": Member(lambda: HyperBandScheduler(max_t=30)),
    "hyperband_open_end": Member(lambda: HyperBandScheduler(max_t=9, stop_last_trials=False)),
    "hyperband_many_brackets": Member(
        lambda: HyperBandScheduler(max_t=3.5, reduction_factor=2, stop_last_trials=False)
    ),
    "bohb": Member(lambda: HyperBandForBOHB(max_t=30)),
    "median": Member(lambda: median()),
    "median_pausing": Member(lambda: median(hard_stop=False), stops=False),
    "median_without_pauses": Member(lambda: median(min_time_slice=math.inf)),
    "pb2": Member(lambda: pb2(), stops=False),
    "pb2_synch": Member(lambda: pb2(synch=True), stops=False),
}


def pbt(**options):
    return PopulationBasedTraining(
        "training_iteration",
        perturbation_interval=4,
        hyperparam_mutations={"lr": uniform(0, 1)},
        **options,
    )


def median(**options):
    return MedianStoppingRule("training_iteration", grace_period=3, **options)


def pb2(**options):
    return PB2(
        "training_iteration",
        perturbation_interval=9,
        hyperparam_bounds={"lr": [0.0, 1.0]},
        **options,
    )


@pytest.fixture(params=MEMBERS)
def member(request):
    return MEMBERS[request.param]


@pytest.fixture(params=["min", "max"])
def mode(request):
    return request.param


def scheduler_for(member, mode="min", seed=7):
    scheduler = member.make()
    assert scheduler.set_search_properties("loss", mode, seed=seed)
    return scheduler


def curves(number=12, length=30, seed=1):
    """Noisy curves around a level of their own; trial 0 has the least values at all times."""
    rng = random.Random(seed)
    levels = [-10.0] + [rng.uniform(0, 1) for _ in range(number - 1)]
    return [[level + rng.uniform(0, 0.5) for _ in range(length)] for level in levels]


def test_all_trials_come_to_an_end_and_the_best_is_never_stopped(member, mode):
    sign = 1 if mode == "min" else -1
    experiment = SmallExperiment(
        scheduler_for(member, mode), [[sign * y for y in curve] for curve in curves()]
    )
    experiment.run()
    assert experiment.iterations()[0] >= max(experiment.iterations()[1:])
    assert set(experiment.launches) == {trial.trial_id for trial in experiment.trials}


def test_minimizing_and_maximizing_are_mirror_images(member):
    least = SmallExperiment(scheduler_for(member, "min"), curves()).run()
    mirrored = [[-y for y in curve] for curve in curves()]
    assert SmallExperiment(scheduler_for(member, "max"), mirrored).run() == least


def test_trials_start_in_order_of_arrival(member):
    experiment = SmallExperiment(scheduler_for(member), curves(length=1), slots=2)
    experiment.run()
    assert experiment.launches == sorted(experiment.launches)


def test_one_trial_alone_is_never_stopped_by_comparison(member):
    experiment = SmallExperiment(scheduler_for(member), curves(number=1, length=20))
    assert "STOP" not in {decision for _, _, decision in experiment.run()}
    assert experiment.iterations() == [20]


def test_ties_let_trials_go_on(member):
    experiment = SmallExperiment(scheduler_for(member), [[0.5] * 20] * 6)
    experiment.run()
    assert max(experiment.iterations()) == 20


def test_a_nan_trial_is_stopped_and_the_best_is_not(member, mode):
    sign = 1 if mode == "min" else -1
    values = [[sign * y for y in curve] for curve in curves(length=29)]
    values[5] = [math.nan] * 29
    experiment = SmallExperiment(scheduler_for(member, mode), values)
    experiment.run()
    assert experiment.iterations()[0] == 29
    if member.uses_metric and member.stops:
        assert experiment.iterations()[5] < 29


def test_nothing_but_nan_and_infinities_comes_to_an_end(member, mode):
    values = [[math.nan] * 10, [math.inf] * 10, [-math.inf] * 10, [math.nan] * 10]
    experiment = SmallExperiment(scheduler_for(member, mode), values)
    experiment.run()
    best = 2 if mode == "min" else 1
    assert experiment.iterations()[best] == 10


def test_numpy_scalars_are_numbers(member):
    plain = SmallExperiment(scheduler_for(member), curves()).run()
    arrays = [[np.float64(y) for y in curve] for curve in curves()]
    assert SmallExperiment(scheduler_for(member), arrays).run() == plain


def test_a_missing_metric_is_one_clear_error(member):
    experiment = SmallExperiment(scheduler_for(member), curves(number=1))
    (trial,) = experiment.trials
    result = {"accuracy": 0.9, "training_iteration": 1}
    if not member.uses_metric:
        decision = experiment.scheduler.on_trial_result(experiment, trial, result)
        assert decision != TrialScheduler.STOP
        return
    with pytest.raises(ConfigError, match=r"'loss'.*t000.*'accuracy'") as error:
        experiment.scheduler.on_trial_result(experiment, trial, result)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("readd", [True, False])
def test_trials_that_fail_and_are_retried_come_to_an_end(member, readd):
    fails_at = {0: [1], 3: [2, 7], 4: [1], 5: [1]}
    experiment = SmallExperiment(scheduler_for(member), curves(), fails_at=fails_at, readd=readd)
    experiment.run()
    assert experiment.iterations()[0] == 30
    assert min(experiment.iterations()) >= 1


def test_a_trial_that_failed_for_good_is_left_alone(member):
    experiment = SmallExperiment(scheduler_for(member), curves(number=6))
    experiment.fail_for_good("t002")
    experiment.run()
    assert "t002" not in experiment.launches


def test_removed_trials_are_not_run(member):
    experiment = SmallExperiment(scheduler_for(member), curves())
    experiment.remove("t003")
    experiment.remove("t011")
    experiment.run()
    assert {"t003", "t011"}.isdisjoint(experiment.launches)
    assert len(set(experiment.launches)) == 10


@pytest.mark.parametrize("every", [1, 7, 50])
def test_a_pickle_goes_on_with_the_same_decisions(member, mode, every):
    through = SmallExperiment(scheduler_for(member, mode), curves()).run()
    pickled = SmallExperiment(scheduler_for(member, mode), curves(), pickle_every=every).run()
    assert pickled == through


def eventful(scheduler, mode="min", **options):
    """Trials that fail, are removed, tie, report NaN; more of them than slots."""
    sign = 1 if mode == "min" else -1
    values = [[sign * y for y in curve] for curve in curves(number=20, length=29)]
    values[5] = [math.nan] * 29
    values[6] = values[7]
    values[8] = values[8][:4]  # ends by itself
    experiment = SmallExperiment(
        scheduler, values, fails_at={0: [1], 3: [2, 7], 4: [1], 12: [5]}, **options
    )
    if not options.get("lazily"):
        experiment.remove("t009")
        experiment.fail_for_good("t010")
    return experiment


@pytest.mark.slow
@pytest.mark.parametrize("lazily", [False, True])
@pytest.mark.parametrize("slots", [1, 4])
def test_a_replay_decides_as_the_live_run_did_at_every_step(member, mode, slots, lazily):
    twin = scheduler_for(member, mode)
    live = eventful(scheduler_for(member, mode), mode, slots=slots, lazily=lazily, twin=twin)
    live.run()
    assert len(live.decisions) > 20


@pytest.mark.slow
def test_a_replay_in_a_fresh_process_decides_as_the_live_run_did(member, tmp_path):
    before = cloudpickle.dumps(scheduler_for(member))
    live = eventful(scheduler_for(member), records=True, lazily=True)
    live.run()
    (tmp_path / "record.pkl").write_bytes(pickle.dumps((before, live.calls)))
    process = subprocess.run(
        [sys.executable, Path(__file__).with_name("replay_process.py"), tmp_path / "record.pkl"],
        env={**os.environ, "PYTHONHASHSEED": "17"},
        capture_output=True,
    )
    assert process.returncode == 0, process.stderr.decode()
    answers, state = pickle.loads(process.stdout)
    decisions = [answer for answer in answers if isinstance(answer, str)]
    assert decisions == [decision for _, _, decision in live.decisions]
    assert state == repr(state_of(live.scheduler))


def test_a_replay_goes_on_as_the_live_run_does(member):
    live = eventful(scheduler_for(member), records=True, lazily=True)
    live.run()
    restored = scheduler_for(member)
    replay(restored, live.calls)
    more = curves(number=8, seed=5)
    assert SmallExperiment(restored, more).run() == SmallExperiment(live.scheduler, more).run()


def test_trials_that_are_created_as_slots_fall_free_all_come_to_an_end(member, mode):
    experiment = eventful(scheduler_for(member, mode), mode, lazily=True, slots=2)
    experiment.run()
    assert experiment.iterations()[0] == 29
    assert len(experiment.trials) == 20


def test_save_and_restore_keep_the_state(member, tmp_path):
    first = SmallExperiment(scheduler_for(member), curves())
    first.run()
    first.scheduler.save(str(tmp_path / "scheduler.pkl"))
    restored = member.make()
    restored.restore(str(tmp_path / "scheduler.pkl"))
    assert restored.debug_string() == first.scheduler.debug_string()
    more = curves(number=8, seed=5)
    assert SmallExperiment(restored, more).run() == SmallExperiment(first.scheduler, more).run()


def test_the_same_seed_gives_the_same_decisions(member):
    runs = [SmallExperiment(scheduler_for(member, seed=3), curves()).run() for _ in range(2)]
    assert runs[0] == runs[1]


def test_no_global_random_numbers_are_drawn(member):
    before = random.getstate(), pickle.dumps(np.random.get_state())
    SmallExperiment(scheduler_for(member), curves()).run()
    assert (random.getstate(), pickle.dumps(np.random.get_state())) == before


def test_metric_and_mode_are_given_once(member):
    scheduler = scheduler_for(member, "max")
    assert (scheduler.metric, scheduler.mode) == ("loss", "max")
    assert scheduler.set_search_properties(None, None)
    assert not scheduler.set_search_properties("accuracy", None)
    assert not scheduler.set_search_properties(None, "min")
    assert (scheduler.metric, scheduler.mode) == ("loss", "max")


def test_debug_string_says_something(member):
    experiment = SmallExperiment(scheduler_for(member), curves())
    experiment.run()
    assert experiment.scheduler.debug_string().strip()
