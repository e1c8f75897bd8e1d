"""TensorBoard: one event file per trial, with scalars, histograms, images, text and HParams."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import re
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

from tuner.errors import MissingDependencyError
from tuner.flatten import flatten
from tuner.layout import EVENTS_PREFIX
from tuner.recording.file_logger import FileLogger
from tuner.recording.files import LogFile
from tuner.recording.steps import step_of, time_of
from tuner.result_fields import without_config
from tuner.search_space.checks import same
from tuner.utf8 import encoded, escaped

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tuner.experiment.trial import Trial

logger = logging.getLogger(__name__)

PREFIX = "ray/tune/"
"""What tags begin with: the field's own, so that dashboards made for it keep working."""

_NOT_SHOWN = frozenset(
    {"pid", "timestamp", "time_total_s", "training_iteration"}
    | {"date", "hostname", "node_ip", "trial_id", "checkpoint_dir_name"}
)
_INVALID = re.compile(r"[^-/\w.]")
_CHANNELS = {3: 0, 4: 1, 5: 2}  # number of dimensions → which of them is the channels
_TEXT_SUFFIX = "/text_summary"
_VIDEO_FPS = 20
_BINS = 64


class TBXLoggerCallback(FileLogger):
    """Writes a TensorBoard event file into each trial's folder.

    Each result becomes one event that holds all of it: numbers as scalars, strings as text, lists
    as histograms, arrays as images (CHW, NCHW) or videos (NTCHW) where the number of channels is
    1 or 3. Tags are `ray/tune/<metric>`, nested keys joined by `/`; the step is `timesteps_total`
    if that is reported, else `training_iteration`. The chosen parameters of all trials appear
    under TensorBoard's HPARAMS, which keeps those that a trial began with. Once a scheduler changes
    a parameter in any trial, all trials show it as `ray/tune/config/<parameter>` too, from their
    first step on: a number as a scalar, anything else as text where it changes.

    Example:
        >>> import tempfile
        >>> from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
        >>> from tuner.experiment.trial import Trial
        >>> folder = tempfile.TemporaryDirectory()
        >>> trial = Trial(trial_id="a1", config={}, trainable_name="f", path=folder.name)
        >>> callback = TBXLoggerCallback()
        >>> callback.on_trial_result(0, [trial], trial, {"training_iteration": 1, "loss": 0.5})
        >>> callback.flush()
        >>> EventAccumulator(folder.name).Reload().Scalars("ray/tune/loss")[0].value
        0.5
    """

    def __init__(self) -> None:
        super().__init__()
        self._runs: dict[str, _Run] = {}
        self._changing: set[str] = set()

    def log_trial_start(self, trial: Trial) -> None:
        began = trial.start_time or 0.0
        name = f"{EVENTS_PREFIX}{began:.0f}.{trial.trial_id}"
        file = self.files.open(os.path.join(trial.path, name), fresh=not trial.last_result)
        self._runs[trial.trial_id] = _Run(file, trial, self._changing)

    def log_trial_result(self, iteration: int, trial: Trial, result: dict[str, Any]) -> None:
        self._runs[trial.trial_id].add(result)

    def log_trial_change(self, trial: Trial) -> None:
        self._runs[trial.trial_id].change(trial)

    def on_trial_rewound(self, trial: Trial, num_results: int) -> None:
        self._runs[trial.trial_id].purge_after(step_of(trial.last_result))

    def log_trial_end(self, trial: Trial, failed: bool = False) -> None:
        self._runs.pop(trial.trial_id).end(trial, failed=failed)


class _Run:
    """The event file of one trial.

    Args:
        file: The file, to which an earlier recorder may have written.
        trial: The trial.
        changing: Parameters that changed in any trial so far; all runs share and extend it.
    """

    __slots__ = ("_changing", "_file", "_first", "_params", "_protos", "_shown", "_tags")

    def __init__(self, file: LogFile, trial: Trial, changing: set[str]) -> None:
        self._file = file
        self._protos = _protos()
        self._tags: dict[str, str] = {}
        self._params = trial.evaluated_params
        self._changing = changing
        self._first: tuple[int, float] | None = None
        self._shown: dict[str, str] = {}  # last values of the parameters that have a series
        if file.size:
            self._recall(file.read())
            return
        self._write(self._protos.Event(wall_time=time.time(), file_version="brain.Event:2"))
        self._write_start(0)  # TensorBoard takes the second one for a restart
        if trial.evaluated_params:
            self._write_hparams("session_start_info", self._session_start(trial))

    def add(self, result: dict[str, Any]) -> None:
        step, wall_time = moment = _moment(result)
        event = self._protos.Event(wall_time=wall_time, step=step)
        if self._first is None:
            self._first = moment
        if self._changing:
            self._begin_series({self._first} - {moment})
            self._add_params(event.summary, self._changing)
        add = event.summary.value.add
        tags = self._tags
        for name, value in flatten(without_config(result)).items():
            tag = tags.get(name)
            if tag is None:
                tag = tags[name] = "" if name in _NOT_SHOWN else _INVALID.sub("_", PREFIX + name)
            if not tag:
                continue
            kind = type(value)
            if kind is float or kind is int or kind is bool:
                add(tag=tag, simple_value=value if kind is float else _within_float(value))
            elif value is not None:
                self._add_other(event.summary, tag, value)
        self._write(event)

    def change(self, trial: Trial) -> None:
        """Takes the trial's new parameters; what they were is shown up to its last step."""
        old, new = self._params, trial.evaluated_params
        self._changing.update(
            name for name in new if name not in old or not same(old[name], new[name])
        )
        if self._first is not None:
            self._begin_series({self._first, _moment(trial.last_result)})
        self._params = new

    def purge_after(self, step: int) -> None:
        """Makes TensorBoard drop what it has of later steps."""
        self._write_start(step + 1)
        self._shown = dict.fromkeys(self._shown, "")
        if not step:
            self._forget_series()

    def end(self, trial: Trial, *, failed: bool) -> None:
        if trial.evaluated_params:
            data = self._protos.HParamsPluginData()
            data.session_end_info.status = self._protos.FAILURE if failed else self._protos.SUCCESS
            data.session_end_info.end_time_secs = time.time()
            self._write_hparams("session_end_info", data)
        self._file.close()

    def _write_start(self, step: int) -> None:
        log = self._protos.SessionLog(status=self._protos.SessionLog.START)
        self._write(self._protos.Event(wall_time=time.time(), step=step, session_log=log))

    def _begin_series(self, moments: set[tuple[int, float]]) -> None:
        """Shows parameters that have no series yet at earlier moments."""
        new = (self._changing & self._params.keys()) - self._shown.keys()
        for step, wall_time in sorted(moments if new else ()):
            event = self._protos.Event(wall_time=wall_time, step=step)
            self._add_params(event.summary, new)
            self._write(event)

    def _add_params(self, summary: Any, names: set[str]) -> None:
        for name in sorted(names & self._params.keys()):
            value, tag = self._params[name], _param_tag(name)
            if isinstance(value, (int, float)):
                summary.value.add(tag=tag, simple_value=_within_float(value))
            elif self._shown.get(name) != str(value):
                _add_text(summary, tag, str(value))
            self._shown[name] = str(value)

    def _forget_series(self) -> None:
        self._first = None
        self._shown = {}

    def _recall(self, content: bytes) -> None:
        """Takes in which series an earlier recorder has begun."""
        names = {_param_tag(name): name for name in self._params}
        for event in _events(self._protos.Event, content):
            if event.session_log.status and event.step <= 1:
                self._forget_series()
            if event.step and event.summary.value and self._first is None:
                self._first = event.step, event.wall_time
            tags = (value.tag.removesuffix(_TEXT_SUFFIX) for value in event.summary.value)
            self._shown.update((names[tag], "") for tag in tags if tag in names)
        self._changing.update(self._shown)

    def _add_other(self, summary: Any, tag: str, value: Any) -> None:
        if type(value) is str:
            _add_text(summary, tag, value)
            return
        try:
            _add_array(summary, tag, value)
        except Exception:  # a value that is odd in a new way costs no more than itself
            if tag not in _reported:
                _reported.add(tag)
                logger.debug("TensorBoard cannot show %s = %.80r: left out", tag, value)

    def _session_start(self, trial: Trial) -> Any:
        data = self._protos.HParamsPluginData()
        data.session_start_info.start_time_secs = trial.start_time or 0.0
        for name, value in trial.evaluated_params.items():
            hparam = data.session_start_info.hparams[escaped(name)]
            kind = type(value)
            if kind is bool:
                hparam.bool_value = value
            elif kind is int or kind is float:
                hparam.number_value = _within_float(value)
            else:
                hparam.string_value = escaped(str(value))
        return data

    def _write_hparams(self, tag: str, data: Any) -> None:
        event = self._protos.Event(wall_time=time.time())
        value = event.summary.value.add(tag=f"_hparams_/{tag}")
        value.metadata.plugin_data.plugin_name = "hparams"
        value.metadata.plugin_data.content = data.SerializeToString()
        self._write(event)

    def _write(self, event: Any) -> None:
        data = event.SerializeToString()
        length = struct.pack("<Q", len(data))
        crc = self._protos.crc32c
        self._file.append(b"%b%b%b%b" % (length, _masked(crc(length)), data, _masked(crc(data))))


_reported: set[str] = set()


def _moment(result: dict[str, Any]) -> tuple[int, float]:
    """The step and the time of a result."""
    return step_of(result), time_of(result)


def _param_tag(name: str) -> str:
    return _INVALID.sub("_", f"{PREFIX}config/{name}")


def _events(make: Any, content: bytes) -> Iterator[Any]:
    """The events in the content of an event file; one that is cut off at the end is left out."""
    begin = 0
    while begin + 8 <= len(content):
        (length,) = struct.unpack_from("<Q", content, begin)
        end = begin + length + 16  # a length, its checksum, the event, its checksum
        if end > len(content):
            return
        yield make.FromString(content[begin + 12 : end - 4])
        begin = end


def _within_float(value: float) -> float:
    """The number as a float; infinite where it is beyond all of them."""
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def _masked(crc: int) -> bytes:
    """A checksum as TensorFlow's record format has it."""
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


def _add_text(summary: Any, tag: str, text: str) -> None:
    value = summary.value.add(tag=tag + _TEXT_SUFFIX)
    value.metadata.plugin_data.plugin_name = "text"
    value.tensor.dtype = 7  # DT_STRING
    value.tensor.string_val.append(encoded(text))
    value.tensor.tensor_shape.dim.add(size=1)


def _add_array(summary: Any, tag: str, value: Any) -> None:
    """Adds nested lists of numbers; raises ValueError or TypeError if they are something else."""
    import numpy as np

    array = np.asarray(value, dtype=float)
    with np.errstate(all="ignore"):  # sums beyond all floats, pixels that are no number
        picture = _picture(tag, array) or _histogram(tag, array)
    if picture is not None:
        summary.MergeFrom(picture)


def _picture(tag: str, array: NDArray[np.float64]) -> Any:
    """An image or a video, None if the array is not one or the library for it is missing."""
    axis = _CHANNELS.get(array.ndim)
    if axis is None or array.shape[axis] not in (1, 3) or not array.size:
        return None
    if importlib.util.find_spec("moviepy" if array.ndim == 5 else "PIL") is None:
        return None
    make = _summaries()
    if array.ndim == 5:
        return make.video(tag, array, fps=_VIDEO_FPS)
    return make.image(tag, array, dataformats="CHW" if array.ndim == 3 else "NCHW")


def _histogram(tag: str, array: NDArray[np.float64]) -> Any:
    """A histogram of the finite values, None without any."""
    import numpy as np

    finite = array[np.isfinite(array)]
    return _summaries().histogram(tag, finite, bins=_BINS) if finite.size else None


@cache
def _protos() -> SimpleNamespace:
    with _bare_tensorboardx():
        from tensorboardX.proto import event_pb2, plugin_hparams_pb2
        from tensorboardX.proto.api_pb2 import Status
    from crc32c import crc32c

    return SimpleNamespace(
        Event=event_pb2.Event,
        SessionLog=event_pb2.SessionLog,
        HParamsPluginData=plugin_hparams_pb2.HParamsPluginData,
        SUCCESS=Status.Value("STATUS_SUCCESS"),
        FAILURE=Status.Value("STATUS_FAILURE"),
        crc32c=crc32c,
    )


@cache
def _summaries() -> ModuleType:
    with _bare_tensorboardx():
        return importlib.import_module("tensorboardX.summary")


@contextmanager
def _bare_tensorboardx() -> Iterator[None]:
    """Lets submodules of tensorboardX be imported without the package's own `__init__`.

    That imports torch where it is installed, which takes more than a second; the submodules that
    are used here do not need it.
    """
    if "tensorboardX" in sys.modules:
        yield
        return
    spec = importlib.util.find_spec("tensorboardX")
    if spec is None or spec.submodule_search_locations is None:
        raise MissingDependencyError(
            "TBXLoggerCallback needs tensorboardX: pip install tensorboardX"
        )
    package = ModuleType("tensorboardX")
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules["tensorboardX"] = package
    try:
        yield
    finally:
        del sys.modules["tensorboardX"]
