"""`tune.run(resume=…)`: experiments that go on."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

import tuner as tune
from tuner.errors import ConfigError, TuneError
from tuner.legacy.logger import Logger
from tuner.schedulers import ASHAScheduler

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


class Interrupting(tune.Callback):
    """Ends the experiment in the midst of a trial."""

    def __init__(self, at):
        self.at = at

    def on_trial_save(self, iteration, trials, trial, **info):
        if trial.last_result["count"] == self.at:
            raise InterruptedError("as if killed")

    def __getstate__(self):
        return {"at": None}  # not again


class Counter(tune.Trainable):
    def setup(self, config):
        self.count = 0
        with open(config["began"], "a") as file:
            file.write("once\n")

    def step(self):
        self.count += 1
        return {"count": self.count}

    def save_checkpoint(self, checkpoint_dir):
        return {"count": self.count}

    def load_checkpoint(self, checkpoint):
        self.count = checkpoint["count"]


def fail_unless_repaired(config):
    if not Path(config["repaired"]).exists():
        raise OSError("no room")
    return {"ok": 1}


def run(trainable, **arguments):
    return tune.run(trainable, **{"verbose": 0, **arguments})


@pytest.fixture
def count(tmp_path):
    """Runs the counter to five, with its number of beginnings."""

    def count(**arguments):
        return run(
            Counter,
            stop={"training_iteration": 5},
            checkpoint_freq=1,
            **{
                "config": {"began": str(tmp_path / "began")},
                "local_dir": str(tmp_path),
                "name": "exp",
                **arguments,
            },
        )

    return count


def interrupted(count, **arguments):
    with pytest.raises(InterruptedError):
        count(callbacks=[Interrupting(3)], **arguments)


def num_begun(tmp_path):
    return len((tmp_path / "began").read_text().split())


@pytest.mark.parametrize("resume", [True, "LOCAL", "AUTO", "local"])
def test_it_goes_on_from_the_last_checkpoint(count, tmp_path, resume):
    interrupted(count)
    (trial,) = count(resume=resume).trials
    assert (trial.status, trial.num_results) == ("TERMINATED", 5)
    assert num_begun(tmp_path) == 2
    assert not (tmp_path / "exp" / "previous").exists()


def test_auto_begins_where_there_is_nothing(count):
    assert count(resume="AUTO").trials[0].num_results == 5


@pytest.mark.parametrize("resume", [False, None])
def test_otherwise_a_new_one_begins_and_the_old_one_is_kept(count, tmp_path, resume):
    interrupted(count)
    (trial,) = count(resume=resume).trials
    assert trial.num_results == 5
    assert len([*(tmp_path / "exp" / "previous").iterdir()]) == 1


class Noting(tune.Callback):
    """Knows which results it was told of, in all runs together."""

    def __init__(self):
        self.told = []

    def on_trial_result(self, iteration, trials, trial, result, **info):
        self.told.append(result["count"])

    def get_state(self):
        return {"told": self.told}

    def set_state(self, state):
        self.told = state["told"]


class Writing(Logger):
    def on_result(self, result):
        with open(f"{self.logdir}/written", "a") as file:
            file.write(f"{result['count']} ")


def test_how_it_is_run_may_be_said_anew(count, tmp_path, capsys):
    interrupted(count)
    noting = Noting()
    analysis = count(resume=True, verbose=2, callbacks=[noting], loggers=[Writing], log_to_file="o")
    assert noting.told[-2:] == [4, 5]
    folder = Path(analysis.trials[0].path)
    assert (folder / "written").read_text().split()[-2:] == ["4", "5"]
    assert (folder / "o").exists()
    assert "Counter" in capsys.readouterr().out


def test_what_is_not_said_anew_is_as_in_the_run_before(count, tmp_path):
    with pytest.raises(InterruptedError):
        count(callbacks=[Interrupting(3)], loggers=[Writing])
    (trial,) = count(resume=True).trials
    assert (Path(trial.path) / "written").read_text().split()[-2:] == ["4", "5"]


def test_a_callback_gets_the_state_of_the_one_in_its_place(count):
    with pytest.raises(InterruptedError):
        count(callbacks=[Noting(), Interrupting(3)])
    noting = Noting()
    count(resume=True, callbacks=[noting])
    assert noting.told == [1, 2, 3, 4, 5]


def test_limits_on_trials_may_be_said_anew(tmp_path):
    most = []

    class Running(tune.Callback):
        def on_trial_start(self, iteration, trials, trial, **info):
            most.append(sum(each.status == "RUNNING" for each in trials))

    arguments = {"config": {"repaired": str(tmp_path / "repaired")}, "num_samples": 3}
    arguments.update(storage_path=tmp_path, name="exp", raise_on_failed_trial=False)
    run(fail_unless_repaired, **arguments)
    analysis = run(
        fail_unless_repaired,
        resume="AUTO+RESTART_ERRORED",
        max_concurrent_trials=1,
        max_failures=2,
        callbacks=[Running()],
        **arguments,
    )
    assert {trial.num_failures for trial in analysis.trials} == {3}
    assert set(most) == {1}


def test_a_new_executor_runs_it(tmp_path):
    repaired = tmp_path / "repaired"
    arguments = {"config": {"repaired": str(repaired)}, "storage_path": tmp_path, "name": "exp"}
    run(fail_unless_repaired, raise_on_failed_trial=False, **arguments)
    repaired.touch()
    analysis = run(fail_unless_repaired, resume="ERRORED_ONLY", executor="inline", **arguments)
    assert analysis.trials[0].last_result["pid"] == os.getpid()


def test_what_has_no_effect_is_named(count, caplog):
    count(scheduler=ASHAScheduler(metric="count", mode="max"), num_samples=2)
    same = {"scheduler": ASHAScheduler(metric="count", mode="max"), "num_samples": 2}
    count(resume=True, callbacks=[Noting()], **same)
    assert "no effect" not in caplog.text
    count(resume=True, **{**same, "num_samples": 3, "config": {"began": "?"}, "scheduler": "fifo"})
    assert "has no effect: config, scheduler, num_samples\n" in caplog.text


def test_changes_to_the_experiment_have_no_effect(count, tmp_path):
    count()
    analysis = run(
        Counter,
        config={"began": "another"},
        num_samples=3,
        stop={"training_iteration": 100},
        local_dir=str(tmp_path),
        name="exp",
        resume=True,
    )
    assert [trial.num_results for trial in analysis.trials] == [5]
    assert num_begun(tmp_path) == 1


@pytest.mark.parametrize("resume", [True, "LOCAL", "ERRORED_ONLY"])
def test_there_must_be_one(count, tmp_path, resume):
    with pytest.raises(ConfigError, match=rf"no experiment in {tmp_path}/exp; give .*AUTO"):
        count(resume=resume)


def test_without_a_name_the_latest_of_the_trainable_goes_on(count, tmp_path, caplog):
    interrupted(count, name=None)
    run(lambda config: {"count": 1}, local_dir=str(tmp_path))
    (trial,) = count(name=None, resume=True).trials
    assert (trial.trainable_name, trial.num_results) == ("Counter", 5)
    assert "the latest experiment goes on" in caplog.text


def test_without_a_name_there_must_be_one_as_well(count, tmp_path):
    with pytest.raises(ConfigError, match=r"there is no experiment in .*, of 'Counter'"):
        count(name=None, resume=True)


@pytest.mark.parametrize(
    ("resume", "status"),
    [
        (True, "ERROR"),
        ("ERRORED_ONLY", "TERMINATED"),
        ("AUTO+ERRORED", "TERMINATED"),
        ("LOCAL+RESTART_ERRORED_ONLY", "TERMINATED"),
    ],
)
def test_what_becomes_of_trials_that_had_failed(tmp_path, resume, status):
    repaired = tmp_path / "repaired"
    arguments = {"config": {"repaired": str(repaired)}, "storage_path": tmp_path, "name": "exp"}
    with pytest.raises(TuneError):
        run(fail_unless_repaired, **arguments)
    repaired.touch()
    analysis = run(fail_unless_repaired, resume=resume, raise_on_failed_trial=False, **arguments)
    assert [trial.status for trial in analysis.trials] == [status]


def test_resume_config_says_it_in_full(tmp_path):
    repaired = tmp_path / "repaired"
    arguments = {"config": {"repaired": str(repaired)}, "storage_path": tmp_path, "name": "exp"}
    with pytest.raises(TuneError):
        run(fail_unless_repaired, **arguments)
    repaired.touch()
    resume_config = tune.ResumeConfig(errored="restart")
    analysis = run(fail_unless_repaired, resume=True, resume_config=resume_config, **arguments)
    assert [trial.status for trial in analysis.trials] == ["TERMINATED"]


def test_remote_goes_on_from_the_storage(count, tmp_path, s3_server):
    arguments = {"local_dir": None, "upload_dir": s3_server.url}
    interrupted(count, **arguments)
    (trial,) = count(resume="REMOTE", **arguments).trials
    assert trial.num_results == 5


def test_remote_brings_back_what_a_command_has_copied_away(count, tmp_path):
    copy = "mkdir -p {target} && cp -r {source}/. {target}"
    there = {"upload_dir": str(tmp_path / "up"), "sync_to_cloud": copy}
    count(local_dir=str(tmp_path / "one"), **there)
    (trial,) = count(local_dir=str(tmp_path / "other"), resume="REMOTE", **there).trials
    assert trial.num_results == 5
    assert num_begun(tmp_path) == 1


SCRIPT = """
import sys
import tuner as tune

def train(config):
    return {"x": 1}

if __name__ == "__main__":
    first = tune.run(train, name="exp", storage_path=sys.argv[1], verbose=0).trials
    again = tune.run(train, name="exp", storage_path=sys.argv[1], verbose=0, resume="PROMPT").trials
    print("same" if first[0].trial_id == again[0].trial_id else "new")
"""


@pytest.mark.parametrize(("answers", "outcome"), [(b"y\n", "same"), (b"what?\nno\n", "new")])
def test_prompt_asks_on_the_terminal(tmp_path, answers, outcome):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    ours, theirs = pty.openpty()
    os.write(ours, answers)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(script), str(tmp_path)],
        stdin=theirs,
        capture_output=True,
        text=True,
        timeout=120,
    )
    os.close(ours)
    os.close(theirs)
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().endswith(outcome)
    assert f"There is an experiment in {tmp_path}/exp." in done.stdout


def test_prompt_needs_a_terminal(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(script), str(tmp_path)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "resume='PROMPT'): there is no terminal to ask on" in done.stderr


def test_prompt_begins_where_there_is_nothing_to_ask_about(count):
    assert count(resume="PROMPT").trials[0].num_results == 5
