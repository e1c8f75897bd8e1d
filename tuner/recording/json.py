"""`params.json`, `params.pkl` and `result.json`: a trial's configuration and its results."""

from __future__ import annotations

import json
import os
import pickle
from typing import TYPE_CHECKING, Any

import orjson

from tuner.codec import StandIn
from tuner.layout import PARAMS_FILE, PARAMS_PICKLE, RESULT_FILE
from tuner.recording.file_logger import FileLogger
from tuner.recording.files import LogFile, write_file
from tuner.result_fields import without_config

if TYPE_CHECKING:
    from tuner.experiment.trial import Trial


_EXACT_SCALARS = frozenset((str, bytes, bool, int, float, type(None)))
_EXACT_COLLECTIONS = frozenset((list, tuple, set, frozenset))


class JsonLoggerCallback(FileLogger):
    """Writes `params.json`, `params.pkl` and `result.json` into each trial's folder.

    `result.json` has one line per result, the trial's configuration then under `config`; NaN and
    infinities are written as Python's `json` and pandas read them. `params.pkl` holds the
    configuration as it is, but for numpy scalars, which are Python numbers there.

    Example:
        >>> import json, tempfile
        >>> from tuner.experiment.trial import Trial
        >>> folder = tempfile.TemporaryDirectory()
        >>> trial = Trial(trial_id="a1", config={"lr": 1}, trainable_name="f", path=folder.name)
        >>> logger = JsonLoggerCallback()
        >>> logger.on_trial_result(0, [trial], trial, {"loss": float("nan")})
        >>> logger.flush()
        >>> json.load(open(f"{folder.name}/result.json"))
        {'loss': nan, 'config': {'lr': 1}}
    """

    def __init__(self) -> None:
        super().__init__()
        self._trials: dict[str, tuple[LogFile, bytes]] = {}

    def log_trial_start(self, trial: Trial) -> None:
        file = self.files.open(os.path.join(trial.path, RESULT_FILE), fresh=not trial.last_result)
        self._write_config(trial, file)

    def log_trial_change(self, trial: Trial) -> None:
        file, _ = self._trials[trial.trial_id]
        self._write_config(trial, file)

    def _write_config(self, trial: Trial, file: LogFile) -> None:
        readable = json.dumps(plain(trial.config), indent=2, sort_keys=True)
        write_file(os.path.join(trial.path, PARAMS_FILE), readable.encode())
        if _is_exact(trial.config):
            write_file(os.path.join(trial.path, PARAMS_PICKLE), pickle.dumps(trial.config))
        self._trials[trial.trial_id] = file, b'"config":' + _encode(trial.config) + b"}\n"

    def log_trial_result(self, iteration: int, trial: Trial, result: dict[str, Any]) -> None:
        file, tail = self._trials[trial.trial_id]
        result = without_config(result)
        head = _encode(result)[:-1]
        file.append(b"%b,%b" % (head, tail) if result else b"{" + tail)

    def on_trial_rewound(self, trial: Trial, num_results: int) -> None:
        file, _ = self._trials[trial.trial_id]
        lines = file.read().splitlines(keepends=True)
        if num_results < len(lines):
            file.replace(b"".join(lines[:num_results]))

    def log_trial_end(self, trial: Trial, failed: bool = False) -> None:
        file, _ = self._trials.pop(trial.trial_id)
        file.close()


def _encode(value: dict[str, Any]) -> bytes:
    try:
        encoded = orjson.dumps(value)
        # orjson turns NaN and infinities into null: more nulls than None tell of them.
        if encoded.count(b"null") == list(value.values()).count(None):
            return encoded
    except (TypeError, ValueError):  # integers beyond 64 bits, other keys than strings, arrays
        pass
    return json.dumps(plain(value), separators=(",", ":")).encode()


def plain(value: Any) -> Any:
    """The nearest that Python's `json` can write; for other objects, how they are printed."""
    kind = type(value)
    if kind in (str, bool, int, float, type(None)):
        return value
    if kind is dict:
        return {str(key): plain(item) for key, item in value.items()}
    if kind in _EXACT_COLLECTIONS:
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    return str(value) if isinstance(value, str) else repr(value)


def _is_exact(value: Any) -> bool:
    """Whether all of a configuration would come back from a pickle as the user gave it."""
    kind = type(value)
    if kind in _EXACT_SCALARS:
        return True
    if kind is StandIn:
        return value.pickled is not None
    if kind is dict:
        return all(_is_exact(key) and _is_exact(item) for key, item in value.items())
    return kind in _EXACT_COLLECTIONS and all(map(_is_exact, value))
