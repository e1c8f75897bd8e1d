import inspect

import pytest

from tuner.callbacks.callback import Callback


def test_every_hook_takes_arguments_that_it_does_not_know():
    callback = Callback()
    callback.setup(stop=None, num_samples=1, total_num_samples=4, something_new=1)
    callback.on_step_begin(0, [], something_new=1)
    callback.on_step_end(0, [], something_new=1)
    for name in ("start", "restore", "save", "complete", "recover", "error"):
        getattr(callback, f"on_trial_{name}")(0, [], None, something_new=1)
    callback.on_trial_result(0, [], None, {}, something_new=1)
    callback.on_checkpoint(0, [], None, None, something_new=1)
    callback.on_experiment_end([], something_new=1)
    assert callback.get_state() is None
    callback.set_state({})


def test_signatures_are_those_of_ray():
    theirs = pytest.importorskip("ray.tune").Callback
    for name, method in inspect.getmembers(theirs, inspect.isfunction):
        if not name.startswith("_"):
            ours = inspect.signature(getattr(Callback, name))
            assert list(ours.parameters) == list(inspect.signature(method).parameters), name
