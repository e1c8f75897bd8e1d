import pickle
import threading
import time

import pytest

from tuner import codec
from tuner.execution.executor import Job
from tuner.execution.local import LocalExecutor
from tuner.execution.protocol import Assignment
from tuner.execution.shared_machine import Attempt, SharedMachine, SharingExecutor
from tuner.experiment.events import Failed, Finished, Reported
from tuner.trial_progress import Progress


class Waking:
    """Stands where an executor waits for resources."""

    def __init__(self):
        self.num_wakes = 0

    def wake(self):
        self.num_wakes += 1


def machine(**total):
    return SharedMachine(total, [])


def test_what_is_free_is_given_and_what_is_not_is_given_later():
    shared, one, other = machine(CPU=2.0), Waking(), Waking()
    assert shared.take(Attempt(one, "a", 1), {"CPU": 2})
    assert not shared.take(Attempt(other, "b", 1), {"CPU": 1})
    shared.give_back(Attempt(one, "a", 1))
    assert other.num_wakes == 1
    assert shared.take(Attempt(other, "b", 1), {"CPU": 1})


def test_asking_again_takes_nothing_more():
    shared, one = machine(CPU=2.0), Waking()
    for _ in range(3):
        assert shared.take(Attempt(one, "a", 1), {"CPU": 1})
    assert shared.take(Attempt(one, "b", 1), {"CPU": 1})


def test_a_large_one_is_not_passed_by_small_ones():
    shared, one, other = machine(CPU=2.0), Waking(), Waking()
    assert shared.take(Attempt(one, "a", 1), {"CPU": 1})
    assert not shared.take(Attempt(other, "large", 1), {"CPU": 2})
    assert not shared.take(Attempt(one, "small", 1), {"CPU": 1})
    shared.give_back(Attempt(one, "a", 1))
    assert not shared.take(Attempt(one, "small", 1), {"CPU": 1})
    assert shared.take(Attempt(other, "large", 1), {"CPU": 2})


def test_who_gives_up_a_place_lets_the_next_one_in():
    shared, one, other = machine(CPU=1.0), Waking(), Waking()
    assert shared.take(Attempt(one, "a", 1), {"CPU": 0.5})
    assert not shared.take(Attempt(one, "large", 1), {"CPU": 1})
    assert not shared.take(Attempt(other, "small", 1), {"CPU": 0.5})
    shared.give_back(Attempt(one, "large", 1))
    assert other.num_wakes == 1
    assert shared.take(Attempt(other, "small", 1), {"CPU": 0.5})


def test_who_leaves_gives_back_everything():
    shared, one, other = machine(CPU=2.0), Waking(), Waking()
    assert shared.take(Attempt(one, "a", 1), {"CPU": 1})
    assert shared.take(Attempt(one, "b", 1), {"CPU": 1})
    assert not shared.take(Attempt(one, "c", 1), {"CPU": 1})
    assert not shared.take(Attempt(other, "d", 1), {"CPU": 2})
    shared.leave(one)
    assert shared.take(Attempt(other, "d", 1), {"CPU": 2})


def test_it_is_stored_as_one_for_a_machine_of_its_own():
    assert type(pickle.loads(pickle.dumps(SharingExecutor()))) is LocalExecutor


class Experiment:
    """What a controller does, for trials that report at once and are answered."""

    def __init__(self, executor, folder):
        self.executor = executor
        self.folder = folder
        self.seen = []
        executor.clock.begin(0.0)
        executor.start(
            Job(
                trainable=lambda config: {"gpus": __import__("os").environ["CUDA_VISIBLE_DEVICES"]},
                name="train",
                on_output=lambda trial_id, data: None,
                step=lambda stimuli: None,
                path=str(folder),
            )
        )

    def launch(self, trial_id, *, keep_worker=False, **amounts):
        path = self.folder / trial_id
        path.mkdir()
        self.executor.launch(
            Assignment(
                trial_id=trial_id,
                trial_name=trial_id,
                experiment_name="exp",
                attempt=1,
                config=codec.encode_exact({}),
                path=str(path),
                checkpoint=None,
                next_checkpoint=0,
                progress=Progress(),
                bundles=[amounts],
                seed=0,
                driver_directory=str(self.folder),
                keep_worker=keep_worker,
            )
        )

    def until(self, kind, trial_id):
        """Waits for news of a trial, answering every report."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            for each in self.executor.wait(1.0):
                if isinstance(each, Failed):
                    raise AssertionError(each.error)
                if isinstance(each, Reported):
                    self.executor.answer(each.trial_id, 1, "CONTINUE")
                self.seen.append(each)
            for each in self.seen:
                if isinstance(each, kind) and each.trial_id == trial_id:
                    return each
        raise AssertionError(f"no {kind.__name__} of {trial_id}")


def sharing(num_cpus, gpu_ids=()):
    """Two executors of a machine."""
    total = {"CPU": float(num_cpus), "GPU": float(len(gpu_ids))}
    shared = SharedMachine(total, list(gpu_ids))
    return SharingExecutor(shared), SharingExecutor(shared)


@pytest.fixture
def two(tmp_path):
    """Makes two experiments on a machine, which are ended with the test."""
    made = []

    def make(num_cpus, gpu_ids=()):
        for name, executor in zip("ab", sharing(num_cpus, gpu_ids), strict=True):
            folder = tmp_path / name
            folder.mkdir()
            made.append(Experiment(executor, folder))
        return made

    yield make
    for each in made:
        each.executor.shutdown()


def test_a_trial_waits_for_one_of_another_experiment(two):
    one, other = two(1)
    one.launch("a", CPU=1)
    other.launch("b", CPU=1)
    assert [each.trial_id for each in other.executor.waiting()] == ["b"]
    one.until(Finished, "a")
    other.until(Finished, "b")
    assert not other.executor.waiting()


def test_a_wait_ends_when_another_experiment_gives_back(two):
    one, other = two(1)
    one.launch("a", CPU=1)
    other.launch("b", CPU=1)
    waiting = threading.Thread(target=other.until, args=[Finished, "b"])
    waiting.start()
    one.until(Finished, "a")
    waiting.join(60)
    assert not waiting.is_alive()


def test_one_that_waits_can_be_ended_and_lets_the_next_one_in(two):
    one, other = two(2)
    one.launch("a", CPU=1)
    one.launch("large", CPU=2)
    other.launch("b", CPU=1)
    one.executor.end("large", 1)
    assert one.until(Finished, "large").interrupted
    other.until(Finished, "b")
    one.until(Finished, "a")


def test_two_experiments_never_have_the_same_gpu(two):
    one, other = two(4, ["0", "1"])
    one.launch("a", GPU=1, CPU=1)
    other.launch("b", GPU=1, CPU=1)
    gpus = {
        experiment.until(Reported, trial_id).result["gpus"]
        for experiment, trial_id in ((one, "a"), (other, "b"))
    }
    assert gpus == {"0", "1"}


def test_a_worker_that_is_idle_gives_its_gpu_to_another_experiment(two):
    one, other = two(4, ["0"])
    one.launch("a", GPU=1, CPU=1, keep_worker=True)
    one.until(Finished, "a")
    other.launch("b", GPU=1, CPU=1)
    freeing = threading.Thread(target=one.executor.wait, args=[60])
    freeing.start()
    freeing.join(60)  # woken, it sends the idle worker away
    deadline = time.monotonic() + 60
    while one.executor._workers:
        assert time.monotonic() < deadline, "the idle worker has stayed"
        one.executor.wait(1.0)
    other.until(Finished, "b")
