import pickle
import threading

import pytest

from tuner.errors import ConfigError
from tuner.execution import machine
from tuner.experiment.trial import Trial
from tuner.legacy.place import Place
from tuner.legacy.sync import CopyExperiment, CopyTrials, copies, copy_finally
from tuner.legacy.sync_command import SyncCommand

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

ELSEWHERE = "192.0.2.77"


class Copying:
    """Notes what is copied, and can be held up."""

    def __init__(self):
        self.copied = []
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def __call__(self, source, target):
        assert self.may_go_on.wait(60)
        self.copied.append((source, target))


def command(function, field="sync_to_cloud"):
    return SyncCommand("tune.run", field, function)


def make_trial(trial_id, address):
    path = f"/results/exp/{trial_id}"
    trial = Trial(trial_id=trial_id, config={}, trainable_name="f", path=path)
    trial.last_result = {"node_ip": address}
    return trial


def test_the_experiment_is_copied_when_that_is_due():
    copying, trial = Copying(), make_trial("a", "127.0.0.1")
    callback = CopyExperiment(command(copying), "s3://bucket/up", 1e-9)
    for iteration in range(2):  # the first one begins the period
        callback.on_step_end(iteration, [trial])
    callback.on_experiment_end([trial])
    assert copying.copied == [("/results/exp", "s3://bucket/up/exp")]


def test_it_is_not_copied_before():
    copying, trial = Copying(), make_trial("a", "127.0.0.1")
    callback = CopyExperiment(command(copying), "s3://bucket/up", 3600)
    for iteration in range(9):
        callback.on_step_end(iteration, [trial])
    callback.on_experiment_end([trial])
    assert copying.copied == []


def test_training_does_not_wait_for_a_copy_and_none_is_begun_beside_it():
    copying, trial = Copying(), make_trial("a", "127.0.0.1")
    copying.may_go_on.clear()
    callback = CopyExperiment(command(copying), "s3://bucket/up", 1e-9)
    for iteration in range(9):
        callback.on_step_end(iteration, [trial])
    copying.may_go_on.set()
    callback.on_experiment_end([trial])
    assert len(copying.copied) == 1


def test_a_copy_that_fails_is_a_warning_and_the_next_one_is_made(caplog):
    trial = make_trial("a", "127.0.0.1")
    callback = CopyExperiment(command("echo no room {source} {target}; false"), "/up", 1e-9)
    callback.on_step_end(0, [trial])
    for iteration in range(2):
        callback.on_step_end(1 + iteration, [trial])
        callback.on_experiment_end([trial])
    warnings = [record.getMessage() for record in caplog.records]
    assert len(warnings) == 2
    assert "no room /results/exp /up/exp" in warnings[0]


def test_the_last_copy_that_fails_is_an_error(caplog):
    failing = command("echo no room; false {source} {target}")
    copy_finally(Place(upload=failing, upload_dir="/up"), "/results/exp")
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert "the results in /results/exp are not in /up/exp" in record.getMessage()
    assert "no room" in record.getMessage()


def test_a_trial_elsewhere_is_brought_here_when_it_ends():
    copying = Copying()
    callback = CopyTrials(command(copying, "sync_to_driver"), 3600)
    here, there = make_trial("here", machine.node_ip()), make_trial("there", ELSEWHERE)
    for trial in (here, there):
        callback.on_trial_result(0, [here, there], trial, trial.last_result)
        callback.on_trial_complete(0, [here, there], trial)
    callback.on_experiment_end([here, there])
    assert copying.copied == [(f"{ELSEWHERE}:/results/exp/there/", "/results/exp/there")]


def test_trials_that_end_while_another_one_is_copied_are_all_brought():
    copying = Copying()
    copying.may_go_on.clear()
    callback = CopyTrials(command(copying, "sync_to_driver"), 3600)
    trials = [make_trial(name, ELSEWHERE) for name in "abc"]
    for end, trial in zip(
        (callback.on_trial_complete, callback.on_trial_error, callback.on_trial_recover),
        trials,
        strict=True,
    ):
        end(0, trials, trial)
    copying.may_go_on.set()
    callback.on_experiment_end(trials)
    assert [target for _, target in copying.copied] == [trial.path for trial in trials]


def test_a_trial_elsewhere_is_brought_here_now_and_then():
    copying, trial = Copying(), make_trial("there", ELSEWHERE)
    callback = CopyTrials(command(copying, "sync_to_driver"), 1e-9)
    for _ in range(2):
        callback.on_trial_result(0, [trial], trial, trial.last_result)
    callback.on_experiment_end([trial])
    assert len(copying.copied) == 1


def test_they_are_stored_without_their_threads():
    callback = CopyExperiment(command("cp {source} {target}"), "/up", 1)
    loaded = pickle.loads(pickle.dumps(callback))
    loaded.on_experiment_end([])
    assert isinstance(loaded, CopyExperiment)


def test_what_arguments_mean():
    place = Place(upload=command("cp {source} {target}"), upload_dir="/up")
    kinds = [type(each) for each in copies("tune.run", place, "cp {source} {target}", 10)]
    assert kinds == [CopyExperiment, CopyTrials]
    assert copies("tune.run", Place(), False, 10) == []


def test_the_period_can_be_set_for_all_experiments(monkeypatch):
    copying, trial = Copying(), make_trial("a", "127.0.0.1")
    place = Place(upload=command(copying), upload_dir="/up")
    monkeypatch.setenv("TUNE_GLOBAL_CHECKPOINT_S", "1e-9")
    (callback,) = copies("tune.run", place, None, None)
    for iteration in range(2):
        callback.on_step_end(iteration, [trial])
    callback.on_experiment_end([trial])
    assert copying.copied == [("/results/exp", "/up/exp")]


def test_a_period_that_cannot_be_is_named():
    with pytest.raises(ConfigError, match="global_checkpoint_period=0"):
        copies("tune.run", Place(), None, 0)
