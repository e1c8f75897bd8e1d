import pytest

from tuner.errors import ConfigError
from tuner.stoppers import (
    CombinedStopper,
    ExperimentPlateauStopper,
    MaximumIterationStopper,
    MetricThresholdStopper,
    TimeoutStopper,
)


def test_any_of_them_stops_a_trial():
    stopper = CombinedStopper(MaximumIterationStopper(3), MetricThresholdStopper({"accuracy": 0.9}))
    assert stopper("a", {"training_iteration": 3, "accuracy": 0.1})
    assert stopper("a", {"training_iteration": 1, "accuracy": 0.95})
    assert not stopper("a", {"training_iteration": 1, "accuracy": 0.1})
    assert not stopper.stop_all()


def test_any_of_them_stops_the_experiment():
    stopper = CombinedStopper(TimeoutStopper(10), TimeoutStopper(5))
    stopper.on_time(100.0)
    assert not stopper.stop_all()
    assert stopper.deadline() == 105.0
    stopper.on_restore(200.0)
    stopper.on_time(204.0)
    assert not stopper.stop_all()
    stopper.on_time(205.0)
    assert stopper.stop_all()


def test_each_sees_every_result():
    plateau = ExperimentPlateauStopper("loss", top=2)
    stopper = CombinedStopper(MaximumIterationStopper(1), plateau)
    for _ in range(2):
        assert stopper("a", {"training_iteration": 1, "loss": 0.5})
    assert stopper.stop_all()


def test_unseen_keys_are_those_of_all():
    stopper = CombinedStopper(
        MetricThresholdStopper({"acc": 1, "los": 1}), ExperimentPlateauStopper("los")
    )
    assert stopper.unseen_keys() == ("acc", "los")
    stopper("a", {"acc": 0})
    assert stopper.unseen_keys() == ("los",)


def test_of_none_it_stops_nothing():
    stopper = CombinedStopper()
    assert not stopper("a", {"loss": 1})
    assert not stopper.stop_all()
    assert stopper.deadline() is None


def test_only_stoppers_can_be_combined():
    with pytest.raises(ConfigError, match=r"CombinedStopper\(stoppers=\{'loss': 1\}\): give Stop"):
        CombinedStopper(MaximumIterationStopper(1), {"loss": 1})
