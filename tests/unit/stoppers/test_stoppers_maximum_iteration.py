import pytest

from tuner.errors import ConfigError
from tuner.stoppers import MaximumIterationStopper


def test_each_trial_stops_at_its_own_last_iteration():
    stopper = MaximumIterationStopper(max_iter=2)
    assert [
        stopper(trial_id, {"training_iteration": iteration})
        for trial_id, iteration in (("a", 1), ("b", 1), ("a", 2), ("b", 2))
    ] == [False, False, True, True]
    assert not stopper.stop_all()


def test_an_iteration_repeated_after_a_failure_counts_once():
    stopper = MaximumIterationStopper(max_iter=3)
    answers = [stopper("a", {"training_iteration": i}) for i in (1, 2, 1, 2, 3)]
    assert answers == [False, False, False, False, True]


def test_results_are_counted_where_they_have_no_number():
    stopper = MaximumIterationStopper(max_iter=2)
    assert [stopper(t, {"loss": 1}) for t in ("a", "b", "a")] == [False, False, True]


@pytest.mark.parametrize("max_iter", [0, -1, 1.5, None, "3"])
def test_refuses_what_is_no_number_of_iterations(max_iter):
    with pytest.raises(ConfigError, match=r"MaximumIterationStopper\(max_iter="):
        MaximumIterationStopper(max_iter)


def test_answers_equal_those_of_ray():
    theirs = pytest.importorskip("ray.tune.stopper").MaximumIterationStopper(4)
    ours = MaximumIterationStopper(4)
    for number in range(20):
        result = {"training_iteration": number // 3 + 1}
        trial_id = "abc"[number % 3]
        assert ours(trial_id, result) == theirs(trial_id, result)
