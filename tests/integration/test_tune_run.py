"""`tune.run`: its arguments, each with what it brings about."""

import os
import warnings

import pytest
from fit_helpers import run_script

import tuner as tune
from tuner.errors import ConfigError, TuneError
from tuner.schedulers import ASHAScheduler

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


def train(config):
    for i in range(3):
        tune.report({"loss": (config.get("x", 0) - 2) ** 2 + 1 / (i + 1)})


class Counter(tune.Trainable):
    def setup(self, config):
        self.count = 0

    def step(self):
        self.count += 1
        return {"count": self.count}

    def save_checkpoint(self, checkpoint_dir):
        return {"count": self.count}

    def load_checkpoint(self, checkpoint):
        self.count = checkpoint["count"]


@pytest.fixture
def run(tmp_path):
    """`tune.run` in an empty folder, silently."""

    def run(trainable=train, **arguments):
        if not arguments.keys() & {"storage_path", "local_dir", "upload_dir"}:
            arguments["storage_path"] = tmp_path
        return tune.run(trainable, **{"verbose": 0, **arguments})

    return run


def test_it_returns_an_analysis(run):
    analysis = run(config={"x": tune.grid_search([1, 2, 3])}, metric="loss", mode="min")
    assert type(analysis) is tune.ExperimentAnalysis
    assert analysis.best_config == {"x": 2}
    assert [trial.config["x"] for trial in analysis.trials] == [1, 2, 3]


def test_the_grid_is_repeated(run):
    assert len(run(config={"x": tune.grid_search([1, 2])}, num_samples=3).trials) == 6


@pytest.mark.parametrize(
    "stop", [{"training_iteration": 2}, lambda trial_id, result: result["training_iteration"] > 1]
)
def test_stop(run, stop):
    assert run(stop=stop).trials[0].last_result["training_iteration"] == 2


def test_local_dir_and_name_make_the_folder(run, tmp_path):
    run(local_dir=str(tmp_path / "ray"), name="simple")
    assert (tmp_path / "ray" / "simple" / "experiment.json").exists()


@pytest.mark.parametrize(
    ("given", "bundles"),
    [
        ({"cpu": 2}, [{"CPU": 2}]),
        ({"cpu": 1, "extra_cpu": 1}, [{"CPU": 1}, {"CPU": 1}]),
        (tune.PlacementGroupFactory([{"CPU": 0.5}]), [{"CPU": 0.5}]),
    ],
)
def test_resources_per_trial(run, given, bundles):
    analysis = run(resources_per_trial=given, executor=tune.LocalExecutor(num_cpus=2))
    assert analysis.trials[0].bundles == bundles


def test_a_registered_name_keeps_its_name_whatever_is_said_beside_it(run):
    tune.register_trainable("my_function", train)
    trials = [
        run("my_function").trials[0],
        run("my_function", resources_per_trial={"cpu": 1}).trials[0],
    ]
    assert {trial.trainable_name for trial in trials} == {"my_function"}


def test_names_of_trials_and_their_folders(run):
    analysis = run(
        trial_name_creator=str,
        trial_dirname_creator=lambda trial: f"folder_of_{trial}",
    )
    (trial,) = analysis.trials
    assert trial.trial_name == f"train_{trial.trial_id}"
    assert os.path.basename(trial.path) == f"folder_of_{trial}"


def test_checkpoints(run):
    (trial,) = run(
        Counter,
        stop={"training_iteration": 5},
        checkpoint_freq=2,
        checkpoint_at_end=True,
        keep_checkpoints_num=1,
        checkpoint_score_attr="min-count",
    ).trials
    # the one with the lowest score, and the last one, from which a trial would go on
    assert [each.score for each in trial.checkpoints] == [2, 5]


def test_without_a_word_there_are_no_checkpoints(run):
    assert run(Counter, stop={"training_iteration": 5}).trials[0].checkpoints == []


def test_failed_trials_are_tried_again(run, tmp_path):
    def fail_once(config):
        mark = tmp_path / "failed_once"
        if not mark.exists():
            mark.touch()
            raise OSError("no room")
        return {"ok": 1}

    assert run(fail_once, max_failures=1).trials[0].last_result["ok"] == 1


def fail_at_two(config):
    if config["x"] == 2:
        raise OSError("no room")
    return {"x": config["x"]}


def test_failed_trials_raise_when_all_others_have_ended(run, tmp_path):
    with pytest.raises(TuneError, match=r"1 of the trials failed: fail_at_two_\w+_00001"):
        run(fail_at_two, config={"x": tune.grid_search([1, 2, 3])}, name="exp")
    trials = tune.ExperimentAnalysis(tmp_path / "exp").trials
    assert [trial.status for trial in trials] == ["TERMINATED", "ERROR", "TERMINATED"]


def test_failed_trials_are_an_error_in_the_log_if_they_are_not_to_raise(run, caplog):
    space = {"x": tune.grid_search([1, 2])}
    analysis = run(fail_at_two, config=space, raise_on_failed_trial=False)
    assert [trial.status for trial in analysis.trials] == ["TERMINATED", "ERROR"]
    assert "1 of the trials failed" in caplog.text


def test_fail_fast_raises_the_error_itself(run):
    with pytest.raises(OSError, match="no room"):
        run(fail_at_two, config={"x": 2}, fail_fast="raise")


def test_output_goes_to_files(run):
    def talk(config):
        print("hello")
        return {"x": 1}

    (trial,) = run(talk, log_to_file=True).trials
    with open(os.path.join(trial.path, "stdout")) as file:
        assert file.read() == "hello\n"


def test_callbacks_scheduler_searcher_and_limits(run):
    class Seen(tune.Callback):
        most = 0
        ended = 0

        def on_trial_start(self, iteration, trials, trial, **info):
            self.most = max(self.most, sum(each.status == "RUNNING" for each in trials))

        def on_experiment_end(self, trials, **info):
            self.ended += 1

    seen = Seen()
    analysis = run(
        config={"x": tune.uniform(0, 4)},
        num_samples=4,
        metric="loss",
        mode="min",
        scheduler="asha",
        search_alg="random",
        callbacks=[seen],
        max_concurrent_trials=1,
        time_budget_s=600,
        seed=7,
    )
    assert (seen.most, seen.ended) == (1, 1)
    again = run(config={"x": tune.uniform(0, 4)}, num_samples=4, seed=7)
    assert [t.config for t in again.trials] == [t.config for t in analysis.trials]


def test_the_metric_of_the_scheduler_is_that_of_the_analysis(run):
    scheduler = ASHAScheduler(metric="loss", mode="min")
    analysis = run(config={"x": tune.grid_search([1, 2])}, scheduler=scheduler)
    assert analysis.best_config == {"x": 2}


def test_an_experiment_says_it_all(tmp_path):
    experiment = tune.Experiment("exp", train, config={"x": 1}, repeat=2, local_dir=str(tmp_path))
    assert len(tune.run(experiment, verbose=0).trials) == 2
    assert (tmp_path / "exp").is_dir()


def test_a_list_holds_one_experiment(run, tmp_path):
    experiments = [tune.Experiment(name, train, local_dir=str(tmp_path)) for name in "ab"]
    assert tune.run(experiments[:1], verbose=0).experiment_path == str(tmp_path / "a")
    with pytest.raises(ConfigError, match=r"2 experiments .*give run_experiments the list"):
        tune.run(experiments)


def test_inline_runs_in_this_process(run):
    analysis = run(lambda config: {"process": os.getpid()}, executor="inline")
    assert analysis.trials[0].last_result["process"] == os.getpid()


def test_an_upload_dir_is_remote_storage(run, s3_server):
    analysis = run(upload_dir=s3_server.url, name="exp")
    assert analysis.experiment_path.endswith("/exp")
    assert "s3" in analysis.filesystem.protocol
    assert tune.Tuner.can_restore(f"{s3_server.url}/exp")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"nmae": "exp"}, r"tune.run\(nmae='exp'\): no such argument; did you mean 'name'\?"),
        ({"storage_path": "/a", "local_dir": "/b"}, "local_dir='/b'.*give storage_path=… alone"),
        ({"checkpoint_config": tune.CheckpointConfig(), "checkpoint_freq": 1}, "checkpoint_config"),
        ({"resume": True, "restore": "/a"}, r"give one of resume=….*and restore=…"),
        ({"resume": "LOCL", "name": "a"}, r"resume='LOCL'.*did you mean 'LOCAL'\?"),
        ({"resume_config": tune.ResumeConfig()}, "also say resume=True"),
        ({"trial_executor": "local", "executor": "ray"}, "give executor=… alone"),
        ({"fail_fast": True, "max_failures": 2}, "max_failures=2"),
        ({"sync_to_driver": "rsync {source}"}, "sync_to_driver=.*{target} is missing"),
        ({"sync_function": "cp {source} {target}", "sync_to_cloud": "x"}, "sync_function"),
        ({"export_formats": ["h5"]}, "write the model in save_checkpoint"),
        ({"restore": "/no/such/checkpoint"}, "restore='/no/such/checkpoint'.*no such checkpoint"),
        ({"loggers": 3}, "use a tuple of classes"),
        ({"raise_on_failed_trial": "no"}, "use True or False"),
        ({"metric": "loss"}, "also say mode"),
        ({"resume": "REMOTE", "name": "a"}, "there is no upload_dir"),
        ({"callbacks": tune.Callback()}, r"^tune.run\(callbacks=.*also for a single callback"),
        ({"with_server": "no"}, r"^tune.run\(with_server='no'\): use True or False"),
        ({"queue_trials": "x"}, r"^tune.run\(queue_trials='x'\): use True or False"),
        ({"server_port": 5}, r"^tune.run\(server_port=5\): also say with_server=True"),
        ({"with_server": True, "server_port": "a"}, r"^tune.run\(server_port='a'\)"),
        ({"checkpoint_freq": "a"}, r"^tune.run\(checkpoint_freq='a'\)"),
        ({"keep_checkpoints_num": 0}, r"^tune.run\(keep_checkpoints_num=0\)"),
        ({"verbose": 7}, r"^tune.run\(verbose=7\): use 0, 1, 2 or 3"),
        ({"max_failures": "a"}, r"^tune.run\(max_failures='a'\)"),
        ({"num_samples": 0}, r"^tune.run\(num_samples=0\)"),
    ],
)
def test_what_cannot_work_is_named(run, arguments, message):
    with pytest.raises(ConfigError, match=message):
        run(**arguments)


def test_metric_given_twice_is_an_error(run):
    with pytest.raises(ConfigError, match="give them once"):
        run(scheduler=ASHAScheduler(metric="loss", mode="min"), metric="loss", mode="min")


def test_what_an_experiment_says_is_not_said_beside_it():
    with pytest.raises(ConfigError, match=r"num_samples=3\): give it to the Experiment"):
        tune.run(tune.Experiment("exp", train), num_samples=3)


def test_only_what_is_old_warns_and_only_once(run, tmp_path, nothing_was_said):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            run(local_dir=str(tmp_path), queue_trials=True)
        run(name="today")
    caught = [each for each in caught if each.category is FutureWarning]
    messages = [str(each.message) for each in caught]
    assert len(messages) == 2
    assert any("tune.run(local_dir=…)" in each and "storage_path" in each for each in messages)
    assert any("tune.run(queue_trials=True)" in each for each in messages)
    assert {each.filename for each in caught} == {__file__}


def test_ctrl_c_returns_what_there_is(tmp_path):
    script = """
import os, signal
import tuner as tune

def train(config):
    for i in range(1000000):
        tune.report({"i": i})

class Interrupt(tune.Callback):
    def on_trial_result(self, iteration, trials, trial, result, **info):
        if result["i"] == 3:
            os.kill(os.getpid(), signal.SIGINT)

if __name__ == "__main__":
    analysis = tune.run(train, name="exp", callbacks=[Interrupt()])
    print("reports:", analysis.trials[0].last_result["i"] >= 3)
"""
    output = run_script(script, tmp_path)
    assert "reports: True" in output
    assert "goes on from here" in output
