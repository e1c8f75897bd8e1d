import pickle

import pytest

from tuner.stoppers import (
    CombinedStopper,
    ExperimentPlateauStopper,
    FunctionStopper,
    MaximumIterationStopper,
    MetricThresholdStopper,
    NoopStopper,
    Stopper,
    TimeoutStopper,
    TrialPlateauStopper,
)

STOPPERS = [
    NoopStopper(),
    MaximumIterationStopper(3),
    TrialPlateauStopper("loss", num_results=2, grace_period=2),
    ExperimentPlateauStopper("loss", top=3),
    TimeoutStopper(3.5),
    FunctionStopper(lambda trial_id, result: result["loss"] < 0.2),
    MetricThresholdStopper({"training_iteration": 4}),
    CombinedStopper(MaximumIterationStopper(4), TimeoutStopper(2)),
]
LOSSES = [0.9, 0.5, 0.4, 0.3, 0.3, 0.3, 0.1]


def observe(stopper, number):
    """Two trials report in turn, one second apart."""
    stopper.on_time(1000.0 + number)
    result = {"loss": LOSSES[number], "training_iteration": number + 1}
    return [stopper(trial_id, result) for trial_id in ("a", "b")], stopper.stop_all()


@pytest.mark.parametrize("stopper", STOPPERS, ids=lambda stopper: type(stopper).__name__)
@pytest.mark.parametrize("cut", range(1, 6))
def test_a_pickle_goes_on_where_the_stopper_was(stopper, cut):
    whole = pickle.loads(pickle.dumps(stopper))
    cut_off = pickle.loads(pickle.dumps(stopper))
    expected = [observe(whole, number) for number in range(len(LOSSES))]
    observed = [observe(cut_off, number) for number in range(cut)]
    restored = pickle.loads(pickle.dumps(cut_off))
    restored.on_time(1000.0 + cut - 1)
    observed += [observe(restored, number) for number in range(cut, len(LOSSES))]
    assert observed == expected


def test_all_but_the_noop_stop_this_in_the_end():
    for stopper in STOPPERS[1:]:
        copy = pickle.loads(pickle.dumps(stopper))
        answers = [observe(copy, number) for number in range(len(LOSSES))]
        assert any(any(trials) or experiment for trials, experiment in answers)


def test_the_noop_stops_nothing():
    answers = [observe(NoopStopper(), number) for number in range(len(LOSSES))]
    assert answers == [([False, False], False)] * len(LOSSES)


class OnlyCall(Stopper):
    def __call__(self, trial_id, result):
        return result["loss"] < 0.5


class OnlyStopAll(Stopper):
    def stop_all(self):
        return True


def test_a_users_stopper_needs_only_the_methods_it_changes():
    assert OnlyCall()("a", {"loss": 0.1}) is True
    assert OnlyCall().stop_all() is False
    assert OnlyStopAll()("a", {"loss": 0.1}) is False
    assert OnlyCall().deadline() is None
    assert OnlyCall().unseen_keys() == ()
    OnlyCall().on_time(5.0)
    OnlyCall().on_restore(5.0)
