"""Grid and random search: order, numbers, points, seeds, restore."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner import search_space as ss
from tuner.errors import ConfigError, SearchSpaceError
from tuner.search import BasicVariantGenerator

GRID = {"a": ss.grid_search([1, 2]), "b": ss.randint(0, 10**9)}


def ready(space, num_samples=1, seed=0, **kwargs):
    searcher = BasicVariantGenerator(**kwargs)
    assert searcher.set_search_properties("m", "min", space, num_samples=num_samples, seed=seed)
    return searcher


def suggest_all(searcher, limit=1000):
    configs = []
    while len(configs) < limit:
        config = searcher.suggest(f"t{len(configs)}")
        if not isinstance(config, dict):
            assert config == BasicVariantGenerator.FINISHED
            break
        configs.append(config)
    return configs


def configs_of(space, num_samples=1, **kwargs):
    return suggest_all(ready(space, num_samples, **kwargs))


def test_num_samples_repeats_the_grid():
    configs = configs_of(GRID, 3)
    assert [config["a"] for config in configs] == [1, 2] * 3
    assert len({config["b"] for config in configs}) == 6


def test_after_the_last_there_are_no_more():
    searcher = ready({"x": 1}, 2)
    assert suggest_all(searcher) == [{"x": 1}, {"x": 1}]
    assert searcher.suggest("again") == "FINISHED"


@pytest.mark.parametrize("space", [None, {}])
def test_without_a_search_space_every_trial_gets_an_empty_configuration(space):
    assert configs_of(space, 3) == [{}, {}, {}]


def test_samples_without_limit():
    searcher = ready(GRID, -1)
    assert searcher.total_samples(-1) is None
    configs = suggest_all(searcher, limit=500)
    assert len({config["b"] for config in configs}) == 500


def test_constant_grid_search_keeps_random_values_over_the_grid():
    space = {
        "a": ss.grid_search([1, {"inner": ss.uniform(0, 1)}, 3]),
        "b": ss.uniform(0, 1),
        "c": ss.sample_from(lambda _: random.random()),
        "d": ss.sample_from(lambda spec: np.random.uniform() if spec.config.a == 1 else spec.c),
        "e": ss.sample_from(lambda _: np.random.uniform()),
        "f": ss.sample_from(lambda _: ss.uniform(0, 1)),
        "g": ss.uniform(0, 1),
    }
    configs = configs_of(space, 2, constant_grid_search=True)
    assert len(configs) == 6
    for sample in (configs[:3], configs[3:]):
        for name in "bcefg":
            assert len({config[name] for config in sample}) == 1
    assert all(configs[0][name] != configs[3][name] for name in "bcdefg")
    assert configs[1]["a"] != configs[4]["a"]


def test_the_example_of_points_with_a_grid():
    points = [{"a": 2, "b": 2}, {"a": 1}, {"b": 2}]
    searcher = ready({"a": ss.grid_search([1, 2]), "b": ss.randint(0, 10**9)}, 4,
                     points_to_evaluate=points)  # fmt: skip
    configs = suggest_all(searcher)
    assert configs[0] == {"a": 2, "b": 2}
    assert [config["a"] for config in configs] == [2, 1, 1, 2, 1, 2]
    assert configs[2:4] == [{"a": 1, "b": 2}, {"a": 2, "b": 2}]
    assert len({config["b"] for config in configs}) == 4
    assert searcher.total_samples(4) == 6


def test_points_beyond_num_samples_are_evaluated_too():
    points = [{"x": 0.1}, {"x": 0.2}, {"x": 0.3}]
    configs = configs_of({"x": ss.uniform(0, 1)}, 1, points_to_evaluate=points)
    assert configs == points


def test_points_come_before_samples_without_limit():
    searcher = ready(GRID, -1, points_to_evaluate=[{"a": 1, "b": 1}])
    assert suggest_all(searcher, limit=5)[0] == {"a": 1, "b": 1}


def test_points_are_not_consumed():
    points = [{"x": 0.1}]
    assert configs_of({"x": ss.uniform(0, 1)}, 1, points_to_evaluate=points) == [{"x": 0.1}]
    assert points == [{"x": 0.1}]


def test_a_point_that_does_not_fit_is_refused_when_the_space_is_known():
    searcher = BasicVariantGenerator(points_to_evaluate=[{"zz": 1}])
    with pytest.raises(SearchSpaceError, match="'zz' is not in the search space"):
        searcher.set_search_properties("m", "min", GRID, num_samples=1, seed=0)


@pytest.mark.parametrize("points", [{"a": 1}, "a", [1], 3])
def test_points_must_be_a_list_of_dicts(points):
    with pytest.raises(ConfigError, match="give a list of dicts"):
        BasicVariantGenerator(points_to_evaluate=points)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"max_concurrent": -1}, r"BasicVariantGenerator\(max_concurrent=-1\): use 0"),
        ({"constant_grid_search": "yes"}, "constant_grid_search='yes'"),
        ({"random_state": "seven"}, "random_state='seven': give a whole number"),
        ({"random_state": -1}, "random_state=-1: a seed must be 0 or greater"),
    ],
)
def test_wrong_arguments_are_refused(kwargs, message):
    with pytest.raises(ConfigError, match=message):
        BasicVariantGenerator(**kwargs)


def test_suggest_needs_a_search_space():
    with pytest.raises(SearchSpaceError, match="call set_search_properties first"):
        BasicVariantGenerator().suggest("t0")


def test_the_seed_decides():
    assert configs_of(GRID, 3, seed=1) == configs_of(GRID, 3, seed=1)
    assert configs_of(GRID, 3, seed=1) != configs_of(GRID, 3, seed=2)
    assert configs_of(GRID, 3, seed=None) != configs_of(GRID, 3, seed=None)


@pytest.mark.parametrize("make", [int, np.random.default_rng, np.random.RandomState])
def test_random_state_goes_before_the_experiments_seed(make):
    first = configs_of(GRID, 3, seed=1, random_state=make(7))
    assert configs_of(GRID, 3, seed=2, random_state=make(7)) == first
    assert configs_of(GRID, 3, seed=1, random_state=make(8)) != first


def test_the_global_streams_are_left_alone():
    random.seed(0)
    np.random.seed(0)
    expected = random.random(), np.random.random()
    random.seed(0)
    np.random.seed(0)
    configs_of({**GRID, "c": ss.sample_from(lambda _: random.random())}, 3, seed=None)
    assert (random.random(), np.random.random()) == expected


def test_max_concurrent():
    searcher = ready({"x": ss.grid_search(list(range(5)))}, max_concurrent=2)
    assert searcher.suggest("a") == {"x": 0}
    assert searcher.suggest("b") == {"x": 1}
    assert searcher.suggest("c") is None
    searcher.on_trial_result("a", {"m": 1})
    assert searcher.suggest("c") is None
    searcher.on_trial_complete("a", {"m": 1})
    assert searcher.suggest("c") == {"x": 2}
    assert searcher.suggest("d") is None
    searcher.on_trial_complete("b", None, error=True)
    searcher.on_trial_complete("b", None, error=True)
    searcher.on_trial_complete("c", {"m": 1})
    assert [searcher.suggest(name) for name in "def"] == [{"x": 3}, {"x": 4}, None]


SPACE = {"a": ss.grid_search([1, 2, 3]), "b": ss.uniform(0, 1), "c": ss.choice(list(range(99)))}


@given(
    st.integers(0, 5), st.lists(st.sampled_from([{}, {"a": 7}, {"b": 0.5}]), max_size=4), st.data()
)
def test_going_on_from_a_snapshot_and_records_gives_the_same_as_never_stopping(num, points, data):
    def fresh():
        return ready(SPACE, num, points_to_evaluate=points, seed=3)

    expected = suggest_all(fresh())
    assert len(expected) == fresh().total_samples(num)
    snapshot_at = data.draw(st.integers(0, len(expected)))
    killed_at = data.draw(st.integers(snapshot_at, len(expected)))
    live = fresh()
    for index in range(snapshot_at):
        live.suggest(f"t{index}")
    restored = fresh()
    restored.set_state(live.get_state())
    for index in range(snapshot_at, killed_at):
        restored.on_trial_recorded(f"t{index}", expected[index])
    assert suggest_all(restored) == expected[killed_at:]


def test_a_recorded_trial_calls_no_user_function():
    calls = []
    searcher = ready({"x": ss.sample_from(lambda _: calls.append(1))}, 3)
    searcher.on_trial_recorded("t0", {"x": None})
    assert calls == []
    assert len(suggest_all(searcher)) == 2
    assert calls == [1, 1]


def test_recorded_trials_count_as_unfinished():
    searcher = ready({"x": 1}, 3, max_concurrent=1)
    searcher.on_trial_recorded("t0", {"x": 1})
    assert searcher.suggest("t1") is None
    other = ready({"x": 1}, 3, max_concurrent=1)
    other.set_state(searcher.get_state())
    assert other.suggest("t1") is None
    other.on_trial_complete("t0")
    assert other.suggest("t1") == {"x": 1}


def test_the_seed_of_an_unseeded_search_is_part_of_its_state():
    first, second = ready(SPACE, 2, seed=None), ready(SPACE, 2, seed=None)
    second.set_state(first.get_state())
    assert suggest_all(second) == suggest_all(first)


def test_more_samples_after_a_restore():
    stopped = ready(SPACE, 1, seed=3)
    suggest_all(stopped)
    longer = ready(SPACE, 3, seed=3)
    longer.set_state(stopped.get_state())
    assert suggest_all(longer) == suggest_all(ready(SPACE, 3, seed=3))[3:]


def test_the_search_space_again_changes_objects_and_nothing_else():
    def space():
        return {"b": ss.randint(0, 10**9), "ref": object(), "a": ss.grid_search([1, object()])}

    searcher = ready(space(), 2, points_to_evaluate=[{"b": 3}])
    first = searcher.suggest("t0")
    again = space()
    searcher.set_param_space(again)
    rest = suggest_all(searcher)
    known = [first, *rest]
    assert [config["b"] for config in known] == [
        config["b"] for config in suggest_all(ready(space(), 2, points_to_evaluate=[{"b": 3}]))
    ]
    assert all(config["ref"] is again["ref"] for config in rest)
    assert rest[0]["a"] is again["a"]["grid_search"][1]


def test_a_second_experiment_starts_anew():
    searcher = BasicVariantGenerator(random_state=1)
    searcher.set_search_properties("m", "min", GRID, num_samples=1)
    first = suggest_all(searcher)
    searcher.set_search_properties("m", "min", GRID, num_samples=1)
    assert suggest_all(searcher) == first
