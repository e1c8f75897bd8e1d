"""`resume=…`: whether an experiment of the same name goes on."""

from __future__ import annotations

import logging
import os
import re
import sys
from dataclasses import dataclass
from typing import Any

from tuner.config import ResumeConfig
from tuner.experiment.folder import default_storage_path
from tuner.layout import DESCRIPTION_FILE
from tuner.legacy.deprecation import warn_once
from tuner.legacy.experiment import Experiment
from tuner.legacy.run_options import RunOptions
from tuner.legacy.trainable import label_of
from tuner.storage.storage import locate
from tuner.tuner import Tuner
from tuner.validation import did_you_mean, reject

logger = logging.getLogger(__name__)

_WHERE = ("LOCAL", "REMOTE", "PROMPT", "AUTO")
_ERRORED = {
    "": ResumeConfig(),
    "ERRORED": ResumeConfig(errored="resume"),
    "ERRORED_ONLY": ResumeConfig(errored="resume", unfinished="skip"),
    "RESTART_ERRORED": ResumeConfig(errored="restart"),
    "RESTART_ERRORED_ONLY": ResumeConfig(errored="restart", unfinished="skip"),
}
_CALLED = {"param_space": "config"}
_DATE = r"_\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d(_\d+)?"


@dataclass(frozen=True)
class _Resumption:
    """What `resume=…` asks for.

    Attributes:
        where: LOCAL, REMOTE, PROMPT or AUTO.
        config: Which trials go on.
    """

    where: str
    config: ResumeConfig


def resumed(experiment: Experiment, options: RunOptions) -> Tuner | None:
    """The tuner that goes on with an experiment, None if a new one is to begin.

    Args:
        experiment: What the user asked for; where there is an experiment to go on with, it goes on
            as it was described when it began, but for the trainable's code.
        options: How it is run; what they leave open is as in the run before.

    Raises:
        ConfigError: There is none although there must be one, or nobody can be asked.
    """
    resumption = _resumption(experiment, options)
    if resumption is None:
        return None
    path = _path(experiment, resumption, options)
    filesystem = experiment.place.storage_filesystem
    if resumption.where == "REMOTE":
        _bring_down(experiment, path)
    if path is None or not Tuner.can_restore(path, filesystem):
        if resumption.where in ("AUTO", "PROMPT"):
            return None
        shown = path or f"{_storage_path(experiment)}, of {label_of(experiment.run)!r}"
        fix = f'there is no experiment in {shown}; give resume="AUTO" to begin one then'
        reject(options.owner, "resume", options.resume, fix)
    if resumption.where == "PROMPT" and not _is_wanted(options.owner, path):
        return None
    tuner = Tuner.restore(
        path,
        experiment.trainable,
        storage_filesystem=filesystem,
        resume_config=resumption.config,
    )
    unheeded = tuner._run_as(experiment.tuner(options))
    if unheeded:
        logger.warning(
            "resume: the experiment goes on as it was described when it began; of now, this has no "
            "effect: %s",
            ", ".join(_CALLED.get(name, name) for name in unheeded),
        )
    return tuner


def _resumption(experiment: Experiment, options: RunOptions) -> _Resumption | None:
    resume, owner = options.resume, options.owner
    if not resume:
        if options.resume_config is not None:
            reject(owner, "resume_config", options.resume_config, "also say resume=True")
        return None
    if experiment.restore is not None:
        fix = "give one of resume=…, which goes on with an experiment, and restore=…"
        reject(owner, "resume", resume, fix)
    where, errored = _parts(owner, "LOCAL" if resume is True else resume)
    if options.resume_config is None:
        return _Resumption(where, _ERRORED[errored])
    if errored:
        reject(owner, "resume", resume, "give resume_config=… alone, with resume=True")
    return _Resumption(where, options.resume_config)


def _parts(owner: str, resume: Any) -> tuple[str, str]:
    """Where from, and what becomes of trials that failed."""
    known = [*_WHERE, "ERRORED_ONLY"]
    fix = f"use True, False, {', '.join(known)}, or one of them with +ERRORED"
    if not isinstance(resume, str):
        reject(owner, "resume", resume, fix)
    where, _, errored = resume.upper().partition("+")
    if where == "ERRORED_ONLY" and not errored:
        where, errored = "LOCAL", "ERRORED_ONLY"
    if where not in _WHERE or errored not in _ERRORED:
        reject(owner, "resume", resume, fix + did_you_mean(resume, known))
    if where in ("REMOTE", "PROMPT"):
        warn_once(f'{owner}(resume="{where}")', 'resume="AUTO" with storage_path=…')
    return where, errored


def _storage_path(experiment: Experiment) -> str:
    return experiment.place.storage_path or default_storage_path()


def _path(experiment: Experiment, resumption: _Resumption, options: RunOptions) -> str | None:
    """The experiment's folder, None if there is no such experiment."""
    if resumption.where == "REMOTE" and experiment.place.is_local:
        fix = "there is no upload_dir=… to restore it from"
        reject(options.owner, "resume", options.resume, fix)
    if experiment.name is not None:
        return experiment.place.folder_of(experiment.name)
    storage, folder = locate(_storage_path(experiment), experiment.place.storage_filesystem)
    if storage is not None:
        fix = "also say name=…: which experiment goes on"
        reject(options.owner, "resume", options.resume, fix)
    return _latest(folder, label_of(experiment.run))


def _latest(folder: str, label: str) -> str | None:
    """The latest experiment with a trainable of this name that was given no name itself."""
    if not os.path.isdir(folder):
        return None
    named = [name for name in os.listdir(folder) if re.fullmatch(re.escape(label) + _DATE, name)]
    paths = [os.path.join(folder, name) for name in named]
    found = [path for path in paths if os.path.exists(os.path.join(path, DESCRIPTION_FILE))]
    if not found:
        return None
    latest = max(found, key=lambda path: os.path.getmtime(os.path.join(path, DESCRIPTION_FILE)))
    logger.warning("resume: no name is given, the latest experiment goes on: %s", latest)
    return latest


def _bring_down(experiment: Experiment, path: str | None) -> None:
    """Copies an experiment back that `sync_to_cloud` has copied away."""
    place = experiment.place
    if place.upload is None or path is None:
        return  # the storage is read directly
    os.makedirs(path, exist_ok=True)
    place.upload(place.copy_of(os.path.basename(path)), path)


def _is_wanted(owner: str, path: str) -> bool:
    if not sys.stdin or not sys.stdin.isatty():
        fix = 'there is no terminal to ask on; use "AUTO" to go on, or False to begin anew'
        reject(owner, "resume", "PROMPT", fix)
    while True:
        answer = input(f"There is an experiment in {path}. Go on with it? [y/n] ").strip().lower()
        if answer in ("y", "yes", "n", "no"):
            return answer.startswith("y")
