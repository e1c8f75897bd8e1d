"""Every search space that the project's source documents show."""

import math

import numpy as np
import pytest

from tuner import search_space as ss
from tuner.errors import SearchSpaceError
from tuner.search import BasicVariantGenerator


def suggestions(space, **spec):
    searcher = BasicVariantGenerator()
    searcher.set_search_properties(None, None, space, seed=0, **spec)
    configs = []
    while isinstance(config := searcher.suggest(str(len(configs))), dict):
        configs.append(config)
    assert config == BasicVariantGenerator.FINISHED
    return configs


def test_user_guide_grid_search_and_random_search():
    configs = suggestions(
        {
            "qux": ss.sample_from(lambda spec: 2 + 2),
            "bar": ss.grid_search([True, False]),
            "foo": ss.grid_search([1, 2, 3]),
            "baz": "asd",
        }
    )
    assert len(configs) == 6
    assert {(config["bar"], config["foo"]) for config in configs} == {
        (bar, foo) for bar in (True, False) for foo in (1, 2, 3)
    }
    assert all(config["qux"] == 4 and config["baz"] == "asd" for config in configs)


def test_user_guide_sampling_multiple_times():
    normals = {}

    def beta(spec):
        normal = np.random.normal()
        normals[spec.config.alpha] = normal
        return spec.config.alpha * normal

    configs = suggestions(
        {
            "alpha": ss.sample_from(lambda spec: np.random.uniform(100)),
            "beta": ss.sample_from(beta),
            "nn_layers": [ss.grid_search([16, 64, 256]), ss.grid_search([16, 64, 256])],
        },
        num_samples=10,
    )
    assert len(configs) == 90
    assert len({config["alpha"] for config in configs}) == 90
    assert all(1 <= config["alpha"] <= 100 for config in configs)
    assert all(c["beta"] == c["alpha"] * normals[c["alpha"]] for c in configs)
    layers = [tuple(config["nn_layers"]) for config in configs]
    assert all(layers.count(pair) == 10 for pair in set(layers))
    assert len(set(layers)) == 9


def test_user_guide_tensorboard_grid():
    grid = {"lr": ss.grid_search([1e-5, 1e-4]), "momentum": ss.grid_search([0, 0.9])}
    configs = suggestions(grid)
    assert {(c["lr"], c["momentum"]) for c in configs} == {
        (1e-5, 0),
        (1e-5, 0.9),
        (1e-4, 0),
        (1e-4, 0.9),
    }


def test_grid_included_is_repeated():
    configs = suggestions({"x": ss.grid_search([1, 2])}, num_samples=3)
    assert [config["x"] for config in configs] == [1, 2] * 3


def test_choice_row():
    assert {c["x"] for c in suggestions({"x": ss.choice([1, 2])}, num_samples=50)} == {1, 2}


def test_randn_of_a_list_row():
    """The table writes `randn([1,2])` among the discrete spaces; it has always been an error."""
    with pytest.raises(SearchSpaceError, match="use choice\\(list\\)"):
        ss.randn([1, 2])


def test_sample_from_row():
    assert suggestions({"x": ss.sample_from(lambda spec: 3)}) == [{"x": 3}]


STEPS = [-5.0, -4.8, -4.6, -4.4, -4.2, -4.0, -3.8, -3.6, -3.4, -3.2, -3.0]
STEPS += [-2.8, -2.6, -2.4, -2.2, -2.0, -1.8, -1.6, -1.4, -1.2, -1.0]


@pytest.mark.parametrize(
    ("domain", "check"),
    [
        (ss.uniform(-5, -1), lambda v: -5 <= v <= -1),
        (ss.quniform(-5, -1, 0.2), lambda v: v in STEPS),
        (ss.loguniform(1e-4, 1e-1, 2), lambda v: 1e-4 <= v <= 1e-1),
        (ss.qloguniform(1e-4, 1e-1, 5e-5), lambda v: float(f"{round(v / 5e-5) * 5}e-5") == v),
        (ss.randn(10, 2), lambda v: isinstance(v, float) and math.isfinite(v)),
        (ss.qrandn(10, 2, 0.2), lambda v: round(round(v / 0.2) * 0.2, 9) == v),
        (ss.randint(-9, 15), lambda v: type(v) is int and -9 <= v < 15),
        (ss.qrandint(-21, 12, 3), lambda v: v in range(-21, 13, 3)),
        (ss.lograndint(1, 10), lambda v: type(v) is int and 1 <= v < 10),
        (ss.qlograndint(1, 10, 2), lambda v: v in (2, 4, 6, 8, 10)),
        (ss.sample_from(lambda _: 2 ** np.random.randint(1, 6)), lambda v: v in (2, 4, 8, 16, 32)),
    ],
    ids=lambda value: "" if callable(value) else repr(value),
)
def test_rows_of_the_continuous_table(domain, check):
    values = [config["x"] for config in suggestions({"x": domain}, num_samples=200)]
    assert all(map(check, values))
    assert len(set(values)) >= 5


def test_powers_of_two_are_all_drawn():
    space = {"x": ss.sample_from(lambda _: 2 ** np.random.randint(1, 6))}
    assert {config["x"] for config in suggestions(space, num_samples=100)} == {2, 4, 8, 16, 32}


def test_first_paper_grid():
    space = {"lr": ss.grid_search([0.2, 0.4, 0.6]), "momentum": ss.grid_search([0.1, 0.2])}
    assert len(suggestions(space)) == 6


def test_population_sample_space():
    space = {
        "num_sgd_iter": ss.choice([10, 20, 30]),
        "sgd_minibatch_size": ss.choice([128, 512, 2048]),
        "train_batch_size": ss.choice([10000, 20000, 40000]),
    }
    configs = suggestions(space, num_samples=60)
    assert all({c[name] for c in configs} == set(space[name].categories) for name in space)
