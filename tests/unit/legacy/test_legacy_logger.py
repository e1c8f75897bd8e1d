import json
import pickle

import pytest

from tuner.errors import ConfigError
from tuner.experiment.trial import Trial
from tuner.integrations.tensorboard import TBXLoggerCallback
from tuner.legacy.logger import (
    DEFAULT_LOGGERS,
    CSVLogger,
    JsonLogger,
    Logger,
    NoopLogger,
    TBXLogger,
    TFLogger,
    UnifiedLogger,
)
from tuner.legacy.loggers_argument import LoggersCallback, callbacks_for
from tuner.recording.csv import CSVLoggerCallback
from tuner.recording.defaults import split_callbacks
from tuner.recording.json import JsonLoggerCallback

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")
calls = []


class Noting(Logger):
    def _init(self):
        self.note("init", self.config, self.logdir, self.trial and self.trial.trial_id)

    def note(self, *call):
        calls.append((type(self).__name__, *call))

    def on_result(self, result):
        self.note("result", result["loss"])

    def update_config(self, config):
        self.note("config", config)

    def flush(self):
        self.note("flush")

    def close(self):
        self.note("close")


class Second(Noting):
    pass


class Oldest(Noting):
    def __init__(self, config, logdir, upload_uri=None):
        self.note("init", config, logdir, upload_uri)


class Failing(Noting):
    def close(self):
        super().close()
        raise OSError("no room")


@pytest.fixture
def noted():
    calls.clear()
    return calls


def make_trial(folder, trial_id="a"):
    return Trial(trial_id=trial_id, config={"lr": 1}, trainable_name="f", path=str(folder))


def test_a_trial_has_loggers_of_its_own_for_its_life(noted, tmp_path):
    callback, trial = LoggersCallback([Noting]), make_trial(tmp_path)
    callback.on_trial_start(0, [trial], trial)
    callback.on_trial_result(0, [trial], trial, {"loss": 2})
    callback.on_trial_save(0, [trial], trial)
    trial.config = {"lr": 3}
    callback.on_trial_change(0, [trial], trial)
    callback.on_trial_complete(0, [trial], trial)
    assert [call[1:] for call in noted] == [
        ("init", {"lr": 1}, str(tmp_path), "a"),
        ("result", 2),
        ("flush",),
        ("config", {"lr": 3}),
        ("flush",),
        ("close",),
    ]


def test_what_is_open_at_the_end_is_closed_whatever_fails(noted, tmp_path):
    callback = LoggersCallback([Failing, Second])
    for each in (make_trial(tmp_path, "a"), make_trial(tmp_path, "b")):
        callback.on_trial_start(0, [each], each)
    with pytest.raises(OSError, match="no room"):
        callback.close()
    assert [call[0] for call in noted if call[1] == "close"].count("Failing") == 2
    assert [call[0] for call in noted if call[1] == "close"].count("Second") == 2


def test_loggers_of_the_oldest_form_get_no_trial(noted, tmp_path):
    trial = make_trial(tmp_path)
    LoggersCallback([Oldest]).on_trial_start(0, [trial], trial)
    assert noted == [("Oldest", "init", {"lr": 1}, str(tmp_path), None)]


def test_open_loggers_do_not_travel(noted, tmp_path):
    callback, trial = LoggersCallback([Noting]), make_trial(tmp_path)
    callback.on_trial_start(0, [trial], trial)
    pickle.loads(pickle.dumps(callback)).close()
    assert [call[1] for call in noted] == ["init"]


def test_file_loggers_write_by_themselves(tmp_path):
    loggers = UnifiedLogger({"lr": 1}, str(tmp_path))
    loggers.on_result({"loss": 0.5, "training_iteration": 1})
    loggers.update_config({"lr": 2})
    loggers.on_result({"loss": 0.4, "training_iteration": 2})
    loggers.flush()
    loggers.close()
    rows = [json.loads(line) for line in (tmp_path / "result.json").read_text().splitlines()]
    assert [(row["loss"], row["config"]["lr"]) for row in rows] == [(0.5, 1), (0.4, 2)]
    assert (tmp_path / "progress.csv").read_text().splitlines() == [
        "loss,training_iteration",
        "0.5,1",
        "0.4,2",
    ]
    assert [*tmp_path.glob("events.out.tfevents.*")]


def test_a_logger_without_on_result_says_so():
    with pytest.raises(NotImplementedError, match=r"Logger.on_result\(\) is missing"):
        Logger({}, "/a").on_result({})


def test_noop_writes_nothing(tmp_path):
    NoopLogger({}, str(tmp_path)).on_result({"loss": 1})
    assert not [*tmp_path.iterdir()]


def test_old_names_are_the_same_loggers():
    assert TFLogger is TBXLogger
    assert (JsonLogger, CSVLogger, TBXLogger) == DEFAULT_LOGGERS


def recorded_kinds(loggers):
    """The classes that run in the recorder's process, and the callbacks of this one."""
    here, recorded = split_callbacks(callbacks_for("tune.run", loggers))
    return {type(each) for each in recorded}, here


def test_the_default_loggers_are_those_of_the_recorder():
    kinds, here = recorded_kinds(DEFAULT_LOGGERS)
    assert kinds == {JsonLoggerCallback, CSVLoggerCallback, TBXLoggerCallback}
    assert here == []


def test_those_that_are_left_out_write_nothing(tmp_path):
    for callback in callbacks_for("tune.run", [Noting]):
        if isinstance(callback, LoggersCallback):
            continue
        trial = make_trial(tmp_path)
        callback.on_trial_result(0, [trial], trial, {"loss": 2})
        callback.on_trial_rewound(trial, 0)
        callback.on_trial_change(0, [trial], trial)
        callback.flush()
        callback.on_trial_complete(0, [trial], trial)
        callback.close()
    assert not [*tmp_path.iterdir()]
    kinds, here = recorded_kinds([Noting])
    assert kinds.isdisjoint({JsonLoggerCallback, CSVLoggerCallback, TBXLoggerCallback})
    assert len(kinds) == 3
    assert len(here) == 1


@pytest.mark.parametrize(
    ("loggers", "message"),
    [
        (JsonLogger, r"use a tuple of classes: DEFAULT_LOGGERS"),
        ((3,), "3 is no class with the Logger interface"),
        ((CSVLoggerCallback(),), r"give it in callbacks=\[…\]"),
    ],
)
def test_something_else_is_refused(loggers, message):
    with pytest.raises(ConfigError, match=message):
        callbacks_for("tune.run", loggers)
