"""What a second run says anew, and what it cannot change."""

import dataclasses

import pytest

import tuner as tune
from tuner.rerunning import HOW_IT_IS_RUN, said_anew, unheeded
from tuner.schedulers import ASHAScheduler


def test_every_field_of_how_it_is_run_is_there():
    assert {field.name for field in dataclasses.fields(tune.RunConfig)} >= {*HOW_IT_IS_RUN}


def test_what_describes_the_experiment_is_not_said_anew():
    callback = tune.Callback()
    config = tune.RunConfig(name="a", stop={"x": 1}, callbacks=[callback], executor="inline")
    assert said_anew(config) == {"callbacks": [callback], "executor": "inline"}
    assert said_anew(tune.RunConfig()) == {}


def test_no_callbacks_are_something_else_than_not_a_word_of_them():
    assert said_anew(tune.RunConfig(callbacks=[])) == {"callbacks": []}


@pytest.mark.parametrize(
    ("now", "before", "names"),
    [
        (tune.TuneConfig(num_samples=3, seed=1), tune.TuneConfig(), ["num_samples", "seed"]),
        (tune.TuneConfig(), tune.TuneConfig(num_samples=3), []),
        (tune.TuneConfig(max_concurrent_trials=2), tune.TuneConfig(), []),
        (tune.RunConfig(name="a", verbose=3), tune.RunConfig(), []),
        (tune.RunConfig(stop={"x": 1}), tune.RunConfig(stop={"x": 1}), []),
        (tune.RunConfig(stop={"x": 2}), tune.RunConfig(stop={"x": 1}), ["stop"]),
    ],
)
def test_what_is_given_and_differs_is_not_heeded(now, before, names):
    assert unheeded(now, before) == names


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"checkpoint_at_end": False}, []),
        ({"num_to_keep": 2}, []),
        ({"num_to_keep": 3}, ["checkpoint_config"]),
    ],
)
def test_what_is_not_said_within_a_config_does_not_differ(fields, names):
    before = tune.CheckpointConfig(checkpoint_frequency=1, num_to_keep=2, checkpoint_at_end=False)
    now = tune.CheckpointConfig(**fields)
    configs = [tune.RunConfig(checkpoint_config=each) for each in (now, before)]
    assert unheeded(*configs) == names


def test_two_objects_of_one_class_are_not_told_apart():
    def config(scheduler):
        return tune.TuneConfig(scheduler=scheduler, metric="x", mode="min")

    assert unheeded(config(ASHAScheduler()), config(ASHAScheduler())) == []
    assert unheeded(config(ASHAScheduler()), config("pbt")) == ["scheduler"]
