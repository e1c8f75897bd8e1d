import inspect

import cloudpickle
import pytest

from tuner.callbacks.logger import LoggerCallback
from tuner.experiment.trial import Trial


class Calls(LoggerCallback):
    def __init__(self):  # as users do, without super().__init__()
        self.calls = []

    def log_trial_start(self, trial):
        self.calls.append(("start", trial.trial_id))

    def log_trial_restore(self, trial):
        self.calls.append(("restore", trial.trial_id))

    def log_trial_save(self, trial):
        self.calls.append(("save", trial.trial_id))

    def log_trial_change(self, trial):
        self.calls.append(("change", trial.trial_id))

    def log_trial_result(self, iteration, trial, result):
        self.calls.append(("result", trial.trial_id, iteration, result))

    def log_trial_end(self, trial, failed=False):
        self.calls.append(("end", trial.trial_id, failed))


def make_trial(trial_id="a"):
    return Trial(trial_id=trial_id, config={}, trainable_name="f", path="f")


def test_hooks_become_the_life_of_a_trial():
    logger, trial = Calls(), make_trial()
    logger.on_trial_start(1, [trial], trial)
    logger.on_trial_result(2, [trial], trial, {"loss": 1})
    logger.on_trial_save(3, [trial], trial)
    logger.on_trial_change(4, [trial], trial)
    logger.on_trial_start(4, [trial], trial)
    logger.on_trial_restore(4, [trial], trial)
    logger.on_trial_complete(5, [trial], trial)
    assert logger.calls == [
        ("start", "a"),
        ("result", "a", 2, {"loss": 1}),
        ("save", "a"),
        ("change", "a"),
        ("restore", "a"),
        ("end", "a", False),
    ]


def test_a_trial_starts_before_its_first_result_and_its_end():
    logger = Calls()
    first, second = make_trial("a"), make_trial("b")
    logger.on_trial_result(0, [], first, {})
    logger.on_trial_error(0, [], second)
    assert logger.calls == [
        ("start", "a"),
        ("result", "a", 0, {}),
        ("start", "b"),
        ("end", "b", True),
    ]


def test_a_trial_that_is_taken_up_after_its_end_starts_again():
    logger, trial = Calls(), make_trial()
    logger.on_trial_error(0, [], trial)
    logger.on_trial_start(0, [], trial)
    assert [call[0] for call in logger.calls] == ["start", "end", "start"]


def test_it_runs_with_the_controller_unless_it_says_otherwise_and_can_be_pickled():
    assert LoggerCallback.in_recorder is False
    logger = cloudpickle.loads(cloudpickle.dumps(Calls()))
    logger.on_trial_start(0, [], make_trial())
    assert logger.calls == [("start", "a")]


def test_signatures_are_those_of_ray():
    theirs = pytest.importorskip("ray.tune.logger").LoggerCallback
    for name, method in inspect.getmembers(theirs, inspect.isfunction):
        if name.startswith("log_"):
            ours = inspect.signature(getattr(LoggerCallback, name))
            assert list(ours.parameters) == list(inspect.signature(method).parameters), name
