"""`run_experiments`: several experiments at once."""

import os
import threading
import warnings

import pytest
from fit_helpers import run_script, wait_until
from ports import free_port

import tuner as tune
from tuner.errors import ConfigError, ServerError, TuneError
from tuner.legacy.hpo_scheduler import HyperOptScheduler
from tuner.legacy.logger import Logger
from tuner.schedulers import ASHAScheduler
from tuner.server.client import TuneClient

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


def train(config):
    return {"x": config.get("x", 0)}


def meet(config):
    """Ends when its namesakes in `others` run as well."""
    folder, others = config["folder"], config["others"]
    os.makedirs(folder, exist_ok=True)
    open(os.path.join(folder, str(os.getpid())), "w").close()
    number = 0
    while len(os.listdir(folder)) < others:
        number += 1
        tune.report({"x": number})
    return {"x": number, "met": len(os.listdir(folder))}


def run(experiments, **arguments):
    return tune.run_experiments(experiments, **{"verbose": 0, **arguments})


@pytest.fixture
def spec(tmp_path):
    """Specifications of experiments in an empty folder."""

    def spec(trainable=train, **others):
        return {"run": trainable, "local_dir": str(tmp_path), **others}

    return spec


def test_a_dictionary_of_one(spec, tmp_path):
    tune.register_trainable("train_func", train)
    space = {"x": tune.grid_search([0.2, 0.4]), "y": tune.grid_search([1, 2])}
    trials = run({"my_experiment": spec("train_func", config=space, stop={"x": 99})})
    assert [trial.last_result["x"] for trial in trials] == [0.2, 0.4, 0.2, 0.4]
    assert {trial.trainable_name for trial in trials} == {"train_func"}
    assert (tmp_path / "my_experiment").is_dir()


@pytest.mark.parametrize("name", ["repeat", "num_samples"])
def test_how_often(spec, name):
    assert len(run({"exp": spec(**{name: 3})})) == 3


def test_an_experiment_and_a_list_of_them(spec, tmp_path):
    one = tune.Experiment("one", train, config={"x": 1}, local_dir=str(tmp_path))
    assert [trial.last_result["x"] for trial in run(one)] == [1]
    other = {"other": spec(config={"x": 2}), "third": spec(config={"x": 3})}
    assert [trial.last_result["x"] for trial in run([one, other])] == [1, 2, 3]


def test_experiments_run_at_the_same_time_in_folders_of_their_own(spec, tmp_path):
    """Each waits for the other: one after the other, they would never end."""
    config = {"folder": str(tmp_path / "meeting"), "others": 2}
    trials = run({"a": spec(meet, config=config), "b": spec(meet, config=config)})
    assert [trial.last_result["met"] for trial in trials] == [2, 2]
    assert [trial.experiment_path for trial in trials] == [str(tmp_path / each) for each in "ab"]


def test_they_never_use_more_than_there_is(spec, tmp_path):
    """Each trial takes all CPUs, and looks whether another one runs."""

    def alone(config):
        mark = os.path.join(config["folder"], "running")
        os.mkdir(mark)  # fails if another one is there
        tune.report({"x": 1})
        os.rmdir(mark)

    config = {"folder": str(tmp_path)}
    resources = {"cpu": tune.LocalExecutor().total["CPU"]}
    described = spec(alone, config=config, trial_resources=resources, repeat=4)
    trials = run({"a": described, "b": described, "c": described})
    assert [trial.status for trial in trials] == ["TERMINATED"] * 12


@pytest.mark.parametrize("executor", ["inline", tune.LocalExecutor(num_cpus=1)])
def test_they_run_one_after_the_other_where_they_cannot_share(spec, executor):
    class Threads(tune.Callback):
        def on_trial_start(self, iteration, trials, trial, **info):
            threads.append(threading.current_thread())

    threads = []
    described = {"a": spec(config={"x": 1}), "b": spec(config={"x": 2})}
    trials = run(described, executor=executor, callbacks=[Threads()])
    assert [trial.last_result["x"] for trial in trials] == [1, 2]
    assert threads == [threading.main_thread()] * 2


def test_or_where_that_is_asked_for(spec, tmp_path):
    begun = []

    class Noting(tune.Callback):
        def on_trial_start(self, iteration, trials, trial, **info):
            begun.append(trial.experiment_path)

    run({"a": spec(repeat=2), "b": spec()}, concurrent=False, callbacks=[Noting()])
    assert [os.path.basename(path) for path in begun] == ["a", "a", "b"]


def test_each_has_a_scheduler_and_a_searcher_of_its_own(spec):
    scheduler = ASHAScheduler(metric="x", mode="max", max_t=4)
    config = {"x": tune.uniform(0, 1)}
    described = {name: spec(config=config, repeat=2) for name in "ab"}
    searcher = tune.create_searcher("random")
    assert len(run(described, scheduler=scheduler, search_alg=searcher)) == 4
    fresh = ASHAScheduler(metric="x", mode="max", max_t=4)
    assert scheduler.debug_string() == fresh.debug_string()


def fail(config):
    raise OSError("no room")


def test_an_experiment_whose_trials_fail_lets_the_others_end(spec, tmp_path):
    with pytest.raises(TuneError, match=r"1 of the trials failed: fail_"):
        run({"a": spec(fail), "b": spec()})
    assert tune.ExperimentAnalysis(tmp_path / "b").trials[0].status == "TERMINATED"


def test_an_experiment_that_breaks_lets_the_others_end(spec, tmp_path):
    class Broken(Logger):
        def on_result(self, result):
            raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        run({"a": spec(loggers=[Broken]), "b": spec()})
    assert tune.ExperimentAnalysis(tmp_path / "b").trials[0].status == "TERMINATED"


def test_failed_trials_are_returned_if_they_are_not_to_raise(spec):
    (trial,) = run({"a": spec(fail)}, raise_on_failed_trial=False)
    assert trial.status == "ERROR"


def test_they_go_on_together(spec, tmp_path):
    described = {name: spec(config={"x": 1}) for name in "ab"}
    first = run(described)
    again = run(described, resume=True)
    assert [trial.trial_id for trial in again] == [trial.trial_id for trial in first]


@pytest.mark.parametrize(
    ("experiments", "message"),
    [
        ({"a": {"run": train, "repat": 3}}, "experiment 'a'.*repat=3.*did you mean 'repeat'"),
        ({"a": {"repeat": 3}}, "experiment 'a': 'run' is missing"),
        ({"a": train}, "experiment 'a'.*must be a dictionary"),
        (
            {"a": {"run": train, "repeat": 3, "num_samples": 2}},
            "experiment 'a': .*repeat=3.*num_samples=2 alone",
        ),
        ({}, "give at least one"),
        (train, "use a dictionary from names to specifications"),
        ([{"a": {"run": train}}, {"a": {"run": train}}], "two experiments are called 'a'"),
    ],
)
def test_what_cannot_work_is_named(experiments, message):
    with pytest.raises(ConfigError, match=message):
        run(experiments)


def test_an_old_argument_warns_once_however_many_experiments_have_it(spec, nothing_was_said):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run({name: spec(repeat=1) for name in "abc"})
    messages = sorted(str(each.message) for each in caught if each.category is FutureWarning)
    assert [each.partition(" is of")[0] for each in messages] == [
        "Experiment(local_dir=…)",
        "Experiment(repeat=…)",
    ]


@pytest.mark.parametrize(
    ("described", "options", "message"),
    [
        ({}, {"resume": True}, r"^run_experiments\(resume=True\): there is no experiment"),
        ({}, {"resume": "LOCL"}, r"^run_experiments\(resume='LOCL'\)"),
        ({}, {"verbose": 7}, r"^run_experiments\(verbose=7\)"),
        ({"max_failures": "a"}, {}, r"^Experiment\(max_failures='a'\)"),
        ({"stop": 3}, {}, r"^Experiment\(stop=3\)"),
    ],
)
def test_an_error_names_what_the_user_has_called(spec, described, options, message):
    with pytest.raises(ConfigError, match=message):
        run({"a": spec(**described)}, **options)


def test_a_port_says_nothing_where_no_server_is_wanted(spec):
    run({"a": spec()}, with_server=False, server_port=4321)


def test_an_unknown_argument_is_named(spec):
    with pytest.raises(ConfigError, match=r"run_experiments\(schduler=.*did you mean 'scheduler'"):
        run({"a": spec()}, schduler=None)


def test_a_scheduler_that_is_a_searcher(spec):
    """HyperOptScheduler of 0.5, with the space where it expects it."""
    hp = pytest.importorskip("hyperopt").hp
    described = spec(
        lambda config: {"episode_reward_mean": -((config["param"] - 3) ** 2)},
        config={"space": {"param": hp.uniform("param", 0, 20)}},
        repeat=5,
    )
    trials = run(dict.fromkeys("ab", described), scheduler=HyperOptScheduler())
    assert len({trial.config["param"] for trial in trials}) == 10
    assert all(0 <= trial.config["param"] <= 20 for trial in trials)
    with pytest.raises(ConfigError, match="which is a searcher"):
        run({"a": described}, scheduler=HyperOptScheduler(), search_alg="random")


def stop_by_client(port, names):
    """Ends the experiment that listens at a port, and notes its name."""

    def is_asked():
        try:
            with TuneClient(f"127.0.0.1:{port}") as client:
                names.append(client.get_experiment()["name"])
                client.stop_experiment()
        except (ConfigError, ServerError):  # it does not listen yet
            return False
        return True

    wait_until(is_asked)


def train_for_ever(config):
    number = 0
    while True:
        number += 1
        tune.report({"x": number})


def test_each_is_steered_at_a_port_of_its_own(spec):
    pytest.importorskip("uvicorn")
    port, names = free_port(2), []
    clients = [
        threading.Thread(target=stop_by_client, args=[each, names]) for each in (port, port + 1)
    ]
    for client in clients:
        client.start()
    described = {name: spec(train_for_ever) for name in "ab"}
    trials = run(described, with_server=True, server_port=port)
    for client in clients:
        client.join()
    assert sorted(names) == ["a", "b"]
    assert [trial.status for trial in trials] == ["TERMINATED"] * 2


SCRIPT = """
import os, signal
import tuner as tune

def train(config):
    number = 0
    while True:
        number += 1
        tune.report({"x": number})

class Interrupt(tune.Callback):
    began, signals = set(), iter([signal.SIGINT])

    def on_trial_result(self, iteration, trials, trial, result, **info):
        self.began.add(trial.experiment_path)
        if len(self.began) == 2:
            for signum in self.signals:  # once, whichever thread is the first
                os.kill(os.getpid(), signum)

if __name__ == "__main__":
    trials = tune.run_experiments(
        {"a": {"run": train}, "b": {"run": train}}, callbacks=[Interrupt()]
    )
    print(len(trials), "trials,", {trial.status for trial in trials})
"""


def test_ctrl_c_ends_all_of_them(tmp_path):
    output = run_script(SCRIPT, tmp_path)
    assert output.count("interrupted by Ctrl-C: ending the trials") == 2
    assert output.count("goes on from here") == 2
    assert "2 trials," in output
    for name in "ab":
        assert tune.Tuner.can_restore(str(tmp_path / name))
