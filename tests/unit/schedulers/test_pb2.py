"""PB2: what it learns, what it chooses, and that it stays within the bounds."""

import importlib.util
import math
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scheduler_harness import SmallExperiment, SmallTrial
from scipy.optimize import approx_fprime
from sklearn.gaussian_process.kernels import RBF, Matern

from tuner.errors import ConfigError, MissingDependencyError
from tuner.schedulers import PB2, Change
from tuner.schedulers.arm import Arm
from tuner.schedulers.bounds import Bounds
from tuner.schedulers.gp_bandit import TimeVaryingKernel, choose
from tuner.search_space import loguniform, quniform, randint, uniform


def make(bounds=None, mode="max", **options):
    scheduler = PB2(
        "training_iteration",
        "loss",
        mode,
        perturbation_interval=2,
        hyperparam_bounds=bounds or {"x": [0.0, 1.0]},
        **options,
    )
    scheduler.set_search_properties(None, None, seed=5)
    return scheduler


class Landscape(SmallExperiment):
    """Each iteration of a trial gains as much as its `x` is near to an optimum, which may move."""

    def __init__(self, scheduler, trials, optimum=lambda t: 0.7, sign=1, length=40, **options):
        self.sign = sign
        super().__init__(
            scheduler, [[0.0] * length for _ in range(trials)], slots=trials, **options
        )
        self.levels = dict.fromkeys((trial.trial_id for trial in self.trials), 0.0)
        self.optimum = optimum

    def _step(self, trial):
        gain = 1 - 4 * (trial.config["x"] - self.optimum(trial.iteration)) ** 2
        self.levels[trial.trial_id] += gain
        trial.curve = [self.sign * self.levels[trial.trial_id]] * len(trial.curve)
        super()._step(trial)

    def _change(self, change):
        super()._change(change)
        if isinstance(change, Change) and change.donor is not None:
            self.levels[change.trial_id] = self.levels[change.donor]


def configs_of_exploits(experiment):
    return [c.config for c in experiment.changes if getattr(c, "donor", None) is not None]


# The scheduler


@pytest.mark.parametrize(("mode", "sign"), [("max", 1), ("min", -1)])
def test_new_configurations_come_to_the_optimum(mode, sign):
    experiment = Landscape(make(mode=mode), 4, sign=sign)
    experiment.run()
    chosen = [config["x"] for config in configs_of_exploits(experiment)]
    assert len(chosen) >= 6
    assert np.median(np.abs(np.array(chosen[-5:]) - 0.7)) < 0.1


def test_it_follows_an_optimum_that_moves():
    experiment = Landscape(make(), 4, optimum=lambda t: 0.1 if t < 30 else 0.9, length=60)
    experiment.run()
    chosen = np.array([config["x"] for config in configs_of_exploits(experiment)])
    assert np.median(chosen[:7]) < 0.4
    assert np.median(chosen[-5:]) > 0.6


def test_gains_are_those_of_intervals_per_round_from_where_the_trial_went_on():
    scheduler = make()
    experiment = SmallExperiment(scheduler, [[0.0], [0.0]])
    giver, taker = experiment.trials

    def report(trial, t, loss):
        result = {"training_iteration": t, "loss": loss}
        scheduler.on_trial_result(experiment, trial, result)

    giver.config, taker.config = {"x": 0.25}, {"x": 0.5}
    report(giver, 1, 10.0)
    report(giver, 3, 14.0)  # a round is two iterations
    assert list(scheduler._gains) == [(Arm(0.5, 10.0, (0.25,)), 4.0)]
    report(taker, 1, 0.0)
    taker.config = {"x": 0.75}
    change = Change(trial_id=taker.trial_id, donor=giver.trial_id, config=taker.config)
    scheduler.on_trial_change(experiment, taker, change)
    report(taker, 7, 15.0)
    assert scheduler._gains[-1] == (Arm(1.5, 14.0, (0.75,)), 0.5)


def test_what_cannot_be_learned_from_is_left_out():
    scheduler = make()
    experiment = SmallExperiment(scheduler, [[0.0]])
    (trial,) = experiment.trials

    def report(t, loss):
        scheduler.on_trial_result(experiment, trial, {"training_iteration": t, "loss": loss})

    trial.config = {"x": 0.5}
    for t, loss in ((1, math.nan), (3, math.inf), (5, 1.0), (7, -math.inf), (9, 2.0)):
        report(t, loss)
    assert not scheduler._gains
    trial.config = {"x": "a lot"}
    report(11, 3.0)
    report(13, 4.0)
    assert [gain for _, gain in scheduler._gains] == [1.0], "until it lost its number"


def test_the_window_is_bounded():
    scheduler = make()
    experiment = SmallExperiment(scheduler, [[0.0]])
    (trial,) = experiment.trials
    for t in range(1, 1000, 2):
        scheduler.on_trial_result(experiment, trial, {"training_iteration": t, "loss": float(t)})
    assert len(scheduler._gains) == 200
    assert scheduler._gains[-1][0].time == pytest.approx(997 / 2)


def test_those_chosen_at_once_differ():
    experiment = Landscape(make(quantile_fraction=0.5, synch=True), 8, lambda t: 0.5, length=5)
    for trial in experiment.trials:
        trial.config["x"] = 0.5
    experiment.run()
    first, second = (config["x"] for config in configs_of_exploits(experiment)[:2])
    assert abs(first - second) > 0.5


def test_a_pickle_in_the_middle_and_a_seed_decide_on_the_same_configurations():
    runs = [Landscape(make(), 4, pickle_every=every, length=20) for every in (None, None, 7)]
    for run in runs:
        run.run()
    chosen = [configs_of_exploits(run) for run in runs]
    assert chosen[0] == chosen[1] == chosen[2]
    other = PB2("training_iteration", "loss", "max", 2, {"x": [0.0, 1.0]})
    other.set_search_properties(None, None, seed=6)
    assert pickle.dumps(other.complete_config({}, 0)) != pickle.dumps(make().complete_config({}, 0))


def test_asking_for_changes_changes_nothing():
    experiment = Landscape(make(), 4, length=20)
    seen = []
    ask = experiment.scheduler.changes

    def twice(view):
        before = pickle.dumps((experiment.scheduler._gains, experiment.scheduler._arms))
        first, second = [*ask(view)], [*ask(view)]
        assert first == second
        assert pickle.dumps((experiment.scheduler._gains, experiment.scheduler._arms)) == before
        seen.extend(first)
        return second

    experiment.scheduler.changes = twice
    experiment.run()
    assert len(seen) > 3


def test_the_custom_function_has_the_last_word():
    def explore(config):
        return {**config, "x": 0.33, "extra": 1}

    experiment = Landscape(make(custom_explore_fn=explore), 4, length=15)
    experiment.run()
    assert {(c["x"], c["extra"]) for c in configs_of_exploits(experiment)} == {(0.33, 1)}


def test_missing_hyperparameters_are_drawn_from_the_bounds():
    scheduler = make({"x": [0.5, 0.6], "net": {"width": [8, 16], "rate": loguniform(1e-5, 1e-1)}})
    configs = [scheduler.complete_config({"net": {"depth": 3}}, n) for n in range(50)]
    widths = {config["net"]["width"] for config in configs}
    assert widths <= set(range(8, 17))
    assert len(widths) > 5
    assert all(type(width) is int for width in widths)
    assert all(0.5 <= config["x"] <= 0.6 for config in configs)
    assert 1e-4 < np.median([config["net"]["rate"] for config in configs]) < 1e-2
    assert {config["net"]["depth"] for config in configs} == {3}


@pytest.mark.parametrize(
    "bounds",
    [
        None,
        {},
        [1, 2],
        {"x": []},
        {"x": [1]},
        {"x": [1, 2, 3]},
        {"x": [2, 1]},
        {"x": [1, 1]},
        {"x": [0, math.inf]},
        {"x": ["a", "b"]},
        {"x": 3},
        {"x": quniform(0, 1, 0.1)},
        {"x": randint(1, 2)},
        {"net": {}},
        {"net": {"x": "wide"}},
    ],
)
def test_impossible_bounds(bounds):
    with pytest.raises(ConfigError, match="hyperparam_bounds") as error:
        PB2(hyperparam_bounds=bounds)
    assert "\n" not in str(error.value)


def test_without_its_library_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r'pip install "tuner\[pb2\]"'):
        PB2(hyperparam_bounds={"x": [0.0, 1.0]})


def test_a_donor_of_which_nothing_is_known_gives_a_point_within_the_bounds():
    scheduler = make({"x": [2.0, 3.0]})
    experiment = SmallExperiment(scheduler, [[0.0], [0.0]])
    trial, donor = experiment.trials
    donor.config = {"x": 2.5, "kept": 1}
    config = scheduler._new_config(experiment, trial, donor, seed=1)
    assert 2 <= config["x"] <= 3
    assert config["kept"] == 1
    assert donor.config == {"x": 2.5, "kept": 1}


# The bounds

BOUNDS = {
    "a": [-1.0, 3.0],
    "b": [0, 10],
    "net": {"rate": loguniform(1e-5, 1e-1), "width": randint(4, 65), "keep": uniform(0, 1)},
}


@given(st.lists(st.floats(0, 1), min_size=5, max_size=5))
def test_a_point_becomes_a_configuration_and_back(point):
    bounds = Bounds("PB2", BOUNDS)
    config = bounds.to_config(point, {"net": {"depth": 2}})
    assert -1 <= config["a"] <= 3
    assert type(config["b"]) is int
    assert 0 <= config["b"] <= 10
    assert 1e-5 <= config["net"]["rate"] <= 1e-1
    assert type(config["net"]["width"]) is int
    assert 4 <= config["net"]["width"] <= 64
    back = bounds.to_point(config)
    whole = (1, 3)
    steps = {1: 10, 3: 60}
    for axis, place in enumerate(point):
        tolerance = 0.5 / steps[axis] + 1e-9 if axis in whole else 1e-9
        assert back[axis] == pytest.approx(place, abs=tolerance)


def test_the_type_of_a_number_is_that_of_the_configuration():
    bounds = Bounds("PB2", {"lambda": [0, 1], "batch": [100.0, 1000.0]})
    config = bounds.to_config((0.25, 0.5), {"lambda": 0.9, "batch": 128})
    assert config == {"lambda": 0.25, "batch": 550}
    assert type(config["batch"]) is int


def test_no_point_where_something_is_missing():
    bounds = Bounds("PB2", {"net": {"rate": loguniform(1e-5, 1)}})
    for config in ({}, {"net": 3}, {"net": {"rate": None}}, {"net": {"rate": 0.0}}):
        assert bounds.to_point(config) is None


# The model


def test_the_kernel_is_a_product_of_two_that_are_known():
    rng = np.random.default_rng(0)
    data = rng.random((6, 3)) * [5, 1, 1]
    epsilon = 0.3
    forgets = Matern(length_scale=-2 / math.log(1 - epsilon), nu=0.5)(data[:, :1])
    expected = forgets * RBF(length_scale=0.7)(data[:, 1:])
    kernel = TimeVaryingKernel(0.7, epsilon)
    assert kernel(data) == pytest.approx(expected)
    assert kernel(data, data[:2]) == pytest.approx(expected[:, :2])
    assert kernel.diag(data) == pytest.approx(np.diag(expected))


def test_the_gradient_of_the_kernel():
    data = np.random.default_rng(0).random((4, 3)) * [5, 1, 1]
    kernel = TimeVaryingKernel(0.7, 0.3)
    _, gradient = kernel(data, eval_gradient=True)
    for i in range(4):
        for j in range(4):
            numeric = approx_fprime(
                kernel.theta, lambda theta, i=i, j=j: kernel.clone_with_theta(theta)(data)[i, j]
            )
            assert gradient[i, j] == pytest.approx(numeric, abs=1e-6)


def observed(optimum, times, noise=0.0, seed=0):
    rng = np.random.default_rng(seed)
    arms = [Arm(float(t), 0.0, (float(rng.random()),)) for t in times]
    return [(arm, -((arm.point[0] - optimum) ** 2) + noise * rng.normal()) for arm in arms]


def test_newer_observations_count_more():
    trained = observed(0.2, range(30)) + observed(0.8, range(30, 60), seed=1)
    (x,) = choose(trained, [], time=60.0, reward=0.0, seed=0)
    assert abs(x - 0.8) < 0.15


def test_what_is_running_is_not_chosen_again():
    trained = observed(0.5, range(1))
    (first,) = choose(trained, [], time=5.0, reward=0.0, seed=0)
    running = [Arm(5.0, 0.0, (first,))] * 3
    (second,) = choose(trained, running, time=5.0, reward=0.0, seed=0)
    assert abs(first - second) > 0.02


@pytest.mark.parametrize("gains", [[0.0], [1.0] * 5, [1e100, -1e100, 0.0], [1e-300, 0.0]])
def test_strange_gains_break_nothing(gains):
    trained = [(Arm(float(t), 1e9 * t, (0.1 * t, 0.5)), gain) for t, gain in enumerate(gains)]
    point = choose(trained, [], time=9.0, reward=0.0, seed=1)
    assert len(point) == 2
    assert all(0 <= place <= 1 for place in point)


def test_a_trial_view_is_enough():
    trial = SmallTrial("t", [], config={"x": 0.5})
    scheduler = make()
    scheduler.on_trial_add(None, trial)
    result = {"loss": 1.0, "training_iteration": 1}
    assert scheduler.on_trial_result(None, trial, result) == "CONTINUE"
