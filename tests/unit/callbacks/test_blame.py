import os
import traceback

import pytest

from tuner.callbacks.blame import begin_at_callback
from tuner.callbacks.callback import Callback
from tuner.callbacks.dispatch import CallbackDispatch
from tuner.errors import ConfigError
from tuner.experiment.retention import Retention
from tuner.experiment.trial_table import TrialTable


class Broken(Callback):
    def on_step_end(self, iteration, trials, **info):
        self.write()

    def write(self):
        raise OSError("no room")


class Misused(Callback):
    def on_step_end(self, iteration, trials, **info):
        os.makedirs(__file__)


def error_of(callback, tmp_path):
    dispatch = CallbackDispatch([Callback(), callback], TrialTable(str(tmp_path), Retention()))
    with pytest.raises(OSError) as caught:  # noqa: PT011
        dispatch.end_step()
    return caught.value


def test_a_note_names_the_callback_and_its_hook(tmp_path):
    error = error_of(Broken(), tmp_path)
    assert error.__notes__ == ["Broken.on_step_end has raised this, for the callback Broken."]


def test_the_traceback_begins_at_the_callback(tmp_path):
    error = error_of(Misused(), tmp_path)
    error.__traceback__ = error.__traceback__.tb_next  # that of this test
    begin_at_callback(error)
    names = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
    assert names == ["on_step_end", "makedirs"]


def test_another_error_keeps_its_traceback():
    with pytest.raises(ConfigError) as caught:
        raise ConfigError("not of a callback")
    before = caught.value.__traceback__
    begin_at_callback(caught.value)
    assert caught.value.__traceback__ is before
