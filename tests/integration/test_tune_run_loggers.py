"""`tune.run(loggers=…)`: what is written, where, and when it is closed."""

import os
import traceback
from pathlib import Path

import pytest

import tuner as tune
from tuner.legacy.logger import DEFAULT_LOGGERS, CSVLogger, JsonLogger, Logger

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


class Lines(Logger):
    """Writes a line for all that happens."""

    def _init(self):
        path = os.path.join(self.logdir, f"{type(self).__name__}.txt")
        self.file = open(path, "w")  # noqa: SIM115
        self.note("process", os.getpid())

    def note(self, *words):
        print(*words, file=self.file)

    def on_result(self, result):
        self.note("result", result["x"], self.trial.trial_id == result["trial_id"])

    def update_config(self, config):
        self.note("config", config["x"])

    def flush(self):
        self.file.flush()

    def close(self):
        self.note("close")
        self.file.close()


class Others(Lines):
    pass


def train(config):
    for i in range(2):
        tune.report({"x": i})


def run(folder, trainable=train, **arguments):
    return tune.run(trainable, storage_path=folder, name="exp", verbose=0, **arguments)


def files(trial):
    names = {path.name.split(".out")[0] for path in Path(trial.path).iterdir()}
    return names - {"params.pkl"}


DEFAULT_FILES = {"params.json", "result.json", "progress.csv", "events"}


def test_own_loggers_beside_the_default_ones(tmp_path):
    (trial,) = run(tmp_path, loggers=(*DEFAULT_LOGGERS, Lines, Others)).trials
    assert files(trial) == DEFAULT_FILES | {"Lines.txt", "Others.txt"}
    assert Path(trial.path, "Lines.txt").read_text().splitlines() == [
        f"process {os.getpid()}",
        "result 0 True",
        "result 1 True",
        "close",
    ]


@pytest.mark.parametrize(
    ("loggers", "expected"),
    [
        ((), set()),
        ((Lines,), {"Lines.txt"}),
        ((JsonLogger, CSVLogger), DEFAULT_FILES - {"events"}),
        (None, DEFAULT_FILES),
    ],
)
def test_what_is_left_out_is_not_written(tmp_path, loggers, expected):
    (trial,) = run(tmp_path, loggers=loggers).trials
    assert files(trial) == expected
    assert tune.ExperimentAnalysis(tmp_path / "exp").trials[0].last_result["x"] == 1


def test_loggers_are_closed_when_a_trial_fails(tmp_path):
    def fail(config):
        tune.report({"x": 0})
        raise OSError("no room")

    (trial,) = run(tmp_path, fail, loggers=[Lines], raise_on_failed_trial=False).trials
    assert Path(trial.path, "Lines.txt").read_text().splitlines()[1:] == ["result 0 True", "close"]


def test_loggers_are_closed_when_the_experiment_fails(tmp_path):
    class Failing(tune.Callback):
        def on_trial_result(self, iteration, trials, trial, result, **info):
            raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        run(tmp_path, loggers=[Lines], callbacks=[Failing()])
    (written,) = (tmp_path / "exp").glob("*/Lines.txt")
    assert written.read_text().endswith("close\n")


def test_the_error_of_a_logger_shows_the_logger(tmp_path):
    class Broken(Logger):
        def on_result(self, result):
            raise RuntimeError("the logger broke")

    with pytest.raises(RuntimeError, match="the logger broke") as caught:
        run(tmp_path, loggers=(Broken,))
    (note,) = caught.value.__notes__
    assert "Broken.on_result has raised this, for the callback LoggersCallback." in note
    names = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert names[-2:] == ["run_experiment", "on_result"]


def test_a_logger_sees_a_configuration_that_a_scheduler_changes(tmp_path):
    class Tuned(tune.Trainable):
        def setup(self, config):
            self.value = 0.0

        def step(self):
            self.value += self.config["x"]
            return {"x": self.config["x"], "score": self.value}

        def save_checkpoint(self, checkpoint_dir):
            return {"value": self.value}

        def load_checkpoint(self, checkpoint):
            self.value = checkpoint["value"]

    scheduler = tune.create_scheduler(
        "pbt",
        metric="score",
        mode="max",
        time_attr="training_iteration",
        perturbation_interval=2,
        quantile_fraction=0.5,
        synch=True,
        hyperparam_mutations={"x": [1, 2, 3]},
    )
    analysis = run(
        tmp_path,
        Tuned,
        config={"x": tune.grid_search([1, 3])},
        scheduler=scheduler,
        stop={"training_iteration": 12},
        loggers=[Lines],
        seed=1,
    )
    lines = [Path(trial.path, "Lines.txt").read_text() for trial in analysis.trials]
    assert any("\nconfig " in each for each in lines)
