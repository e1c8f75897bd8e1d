"""What a user configures: frozen, keyword-only values that check themselves when they are built."""

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from enum import StrEnum
from typing import Any, Literal

from tuner.config_class import config_class
from tuner.layout import FILES_OF_A_TRIAL
from tuner.server.config import ServerConfig
from tuner.validation import (
    check_distinct,
    check_flag,
    check_instance,
    check_mode,
    check_number,
    check_text,
    check_whole,
    did_you_mean,
    reject,
)

EXECUTORS = ("auto", "local", "inline", "ray", "simulated")


@config_class
class TuneConfig:
    """How the search is done: what to optimize, with which algorithms, how many trials.

    Attributes:
        metric: Name of the reported value to optimize, `"a/b"` for a nested one; a list of
            names for several objectives.
        mode: `"min"` or `"max"`; a list beside a list of metrics.
        search_alg: Proposes configurations; a searcher or its name. None samples at random.
        scheduler: Decides which trials go on; a scheduler or its name. None lets all run.
        num_samples: How many configurations are drawn; with `grid_search`, how often the grid is
            repeated. -1 goes on until something else ends the experiment.
        max_concurrent_trials: How many trials run at once; None or 0 for no limit but resources.
        time_budget_s: Seconds, or a `timedelta`, after which all trials are stopped; a restored
            experiment goes on with what is left. None or 0 for no limit.
        reuse_actors: Whether a worker process takes trial after trial.
        trial_name_creator: Gives a trial its name.
        trial_dirname_creator: Gives a trial's folder its name.
        seed: Makes searchers, schedulers and trials draw the same numbers in every run.

    Raises:
        ConfigError: A field is unknown or has a value that cannot work.

    Example:
        >>> TuneConfig(metric="loss", mode="min", num_samples=20).num_samples
        20
        >>> TuneConfig(metric="loss", mode="minimize")
        Traceback (most recent call last):
            ...
        tuner.errors.ConfigError: TuneConfig(mode='minimize'): use 'min'
    """

    metric: str | Sequence[str] | None = None
    mode: str | Sequence[str] | None = None
    search_alg: Any = None
    scheduler: Any = None
    num_samples: int = 1
    max_concurrent_trials: int | None = None
    time_budget_s: float | timedelta | None = None
    reuse_actors: bool = False
    trial_name_creator: Callable[[Any], str] | None = None
    trial_dirname_creator: Callable[[Any], str] | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        owner = "TuneConfig"
        _check_objectives(owner, self.metric, self.mode)
        _check_plugin(owner, "search_alg", self.search_alg, "use a searcher or the name of one")
        _check_plugin(owner, "scheduler", self.scheduler, "use a scheduler or the name of one")
        if self.num_samples != -1:
            fix = "use a whole number >= 1, or -1 for no limit"
            check_whole(owner, "num_samples", self.num_samples, fix, least=1)
        if self.max_concurrent_trials is not None:
            fix = "use a whole number >= 1, or None for no limit"
            check_whole(owner, "max_concurrent_trials", self.max_concurrent_trials, fix, least=0)
        if self.time_budget_s is not None:
            fix = "use seconds > 0 or a timedelta, or None for no limit"
            check_number(owner, "time_budget_s", _seconds(self.time_budget_s), fix, least=0)
        check_flag(owner, "reuse_actors", self.reuse_actors)
        _check_function(owner, "trial_name_creator", self.trial_name_creator)
        _check_function(owner, "trial_dirname_creator", self.trial_dirname_creator)
        if self.seed is not None:
            check_whole(owner, "seed", self.seed, "use a whole number >= 0, or None", least=0)

    @property
    def time_budget_seconds(self) -> float | None:
        """`time_budget_s` in seconds, None for no limit."""
        return float(_seconds(self.time_budget_s)) if self.time_budget_s else None


@config_class
class CheckpointConfig:
    """Which checkpoints are made and kept.

    Attributes:
        num_to_keep: How many of a trial's checkpoints are kept; None for all.
        checkpoint_score_attribute: The metric whose best checkpoints are kept, `"a/b"` for a
            nested one; None keeps the latest.
        checkpoint_score_order: `"max"` if a higher score is better, else `"min"`.
        checkpoint_frequency: A checkpoint of a class trainable every so many iterations; 0 never.
        checkpoint_at_end: Whether a class trainable is saved when its trial ends; None for yes,
            if it has `save_checkpoint`.

    Raises:
        ConfigError: A field is unknown or has a value that cannot work.

    Example:
        >>> CheckpointConfig(num_to_keep=2, checkpoint_score_attribute="accuracy").num_to_keep
        2
    """

    num_to_keep: int | None = None
    checkpoint_score_attribute: str | None = None
    checkpoint_score_order: str = "max"
    checkpoint_frequency: int = 0
    checkpoint_at_end: bool | None = None

    def __post_init__(self) -> None:
        owner = "CheckpointConfig"
        if self.num_to_keep is not None:
            fix = "use a whole number >= 1, or None to keep all"
            check_whole(owner, "num_to_keep", self.num_to_keep, fix, least=1)
        if self.checkpoint_score_attribute is not None:
            fix = "use the name of a metric, or None to keep the latest"
            attribute = self.checkpoint_score_attribute
            check_text(owner, "checkpoint_score_attribute", attribute, fix)
        check_mode(owner, "checkpoint_score_order", self.checkpoint_score_order)
        fix = "use a whole number of iterations >= 1, or 0 for none"
        check_whole(owner, "checkpoint_frequency", self.checkpoint_frequency, fix, least=0)
        if self.checkpoint_at_end is not None:
            check_flag(owner, "checkpoint_at_end", self.checkpoint_at_end)


@config_class
class FailureConfig:
    """What happens when a trial fails.

    Attributes:
        max_failures: How often a failed trial is tried again, from its last checkpoint; -1
            without end.
        fail_fast: True ends the experiment at the first failure, `"raise"` also raises the
            trial's error from `fit()`. Needs `max_failures=0`.

    Raises:
        ConfigError: A field is unknown or has a value that cannot work.

    Example:
        >>> FailureConfig(max_failures=3).max_failures
        3
    """

    max_failures: int = 0
    fail_fast: bool | Literal["raise"] = False

    def __post_init__(self) -> None:
        owner = "FailureConfig"
        if isinstance(self.fail_fast, str) and self.fail_fast.lower() == "raise":
            object.__setattr__(self, "fail_fast", "raise")
        elif not isinstance(self.fail_fast, bool):
            reject(owner, "fail_fast", self.fail_fast, "use True, False or 'raise'")
        fix = "use a whole number >= 0, or -1 to retry without end"
        check_whole(owner, "max_failures", self.max_failures, fix, least=-1)
        if self.fail_fast and self.max_failures:
            fix = f"use 0, as fail_fast={self.fail_fast!r} ends the experiment at the first failure"
            reject(owner, "max_failures", self.max_failures, fix)


@config_class
class SyncConfig:
    """How the experiment folder is brought to a remote `storage_path`.

    Attributes:
        sync_period: Seconds by which the remote journal may lag behind.
        sync_timeout: Seconds that one upload may take.
        sync_artifacts: Whether other files in the trials' folders are uploaded too.
        sync_artifacts_on_checkpoint: With `sync_artifacts`, whether they are also uploaded with
            every checkpoint.

    Raises:
        ConfigError: A field is unknown or has a value that cannot work.

    Example:
        >>> SyncConfig(sync_artifacts=True).sync_period
        30
    """

    sync_period: float = 30
    sync_timeout: float = 1800
    sync_artifacts: bool = False
    sync_artifacts_on_checkpoint: bool = True

    def __post_init__(self) -> None:
        owner = "SyncConfig"
        check_number(owner, "sync_period", self.sync_period, "use seconds > 0")
        check_number(owner, "sync_timeout", self.sync_timeout, "use seconds > 0")
        check_flag(owner, "sync_artifacts", self.sync_artifacts)
        check_flag(owner, "sync_artifacts_on_checkpoint", self.sync_artifacts_on_checkpoint)


@config_class
class ResumeConfig:
    """What a restored experiment does with the trials it finds.

    Each field takes a `ResumeConfig.ResumeType` or its value: `"resume"` from the last
    checkpoint, `"restart"` from the beginning, `"skip"` to leave as they are.

    Attributes:
        finished: Trials that had ended well.
        unfinished: Trials that were running, paused or waiting.
        errored: Trials that had ended with an error.

    Raises:
        ConfigError: A field is unknown or has a value that cannot work.

    Example:
        >>> ResumeConfig(errored="restart").errored is ResumeConfig.ResumeType.RESTART
        True
    """

    class ResumeType(StrEnum):
        """What to do with a trial."""

        RESUME = "resume"
        RESTART = "restart"
        SKIP = "skip"

    finished: str = ResumeType.SKIP
    unfinished: str = ResumeType.RESUME
    errored: str = ResumeType.SKIP

    def __post_init__(self) -> None:
        for name in ("finished", "unfinished", "errored"):
            value = getattr(self, name)
            if value not in list(self.ResumeType):
                reject("ResumeConfig", name, value, "use 'resume', 'restart' or 'skip'")
            object.__setattr__(self, name, self.ResumeType(value))


@config_class
class RunConfig:
    """How the experiment is run: its name and place, when it stops, what is recorded.

    Attributes:
        name: Name of the experiment and its folder; None makes one up.
        storage_path: Where experiment folders lie: a path or any fsspec URL. None for the default
            place.
        storage_filesystem: A filesystem object (fsspec or pyarrow) to which `storage_path`
            belongs.
        stop: When trials end: `{"metric": bound}`, a function `(trial_id, result) -> bool`, a
            `Stopper`, or a list of these, of which any may stop.
        callbacks: Callbacks, called in this order.
        failure_config: What happens when a trial fails.
        checkpoint_config: Which checkpoints are made and kept.
        sync_config: How files are brought to remote storage.
        progress_reporter: Shows progress; None chooses what suits the console.
        verbose: 0 silent to 3 every result; None for the default.
        log_to_file: Whether a trial's output goes to files in its folder: True for `stdout` and
            `stderr`, one name for both together, or two names.
        executor: Where trials run: `"auto"`, `"local"`, `"inline"`, `"ray"`, `"simulated"`, or an
            executor.
        server: `ServerConfig(...)` for an HTTP server by which the experiment can be watched and
            steered while it runs; None for none.

    Raises:
        ConfigError: A field is unknown or has a value that cannot work.

    Example:
        >>> RunConfig(name="mnist", stop={"training_iteration": 10}).failure_config.max_failures
        0
        >>> RunConfig(nmae="mnist")
        Traceback (most recent call last):
            ...
        tuner.errors.ConfigError: RunConfig(nmae='mnist'): no such field; did you mean 'name'?
    """

    name: str | None = None
    storage_path: str | os.PathLike[str] | None = None
    storage_filesystem: Any = None
    stop: Any = None
    callbacks: Sequence[Any] | None = None
    failure_config: FailureConfig = dataclasses.field(default_factory=FailureConfig)
    checkpoint_config: CheckpointConfig = dataclasses.field(default_factory=CheckpointConfig)
    sync_config: SyncConfig = dataclasses.field(default_factory=SyncConfig)
    progress_reporter: Any = None
    verbose: int | None = None
    log_to_file: bool | str | Sequence[str] = False
    executor: Any = "auto"
    server: ServerConfig | None = None

    def __post_init__(self) -> None:
        owner = "RunConfig"
        _check_name(owner, self.name)
        if isinstance(self.storage_path, os.PathLike):
            object.__setattr__(self, "storage_path", os.fspath(self.storage_path))
        if self.storage_path is not None:
            check_text(owner, "storage_path", self.storage_path, "use a path or a URL")
        _check_object(owner, "storage_filesystem", self.storage_filesystem, "a filesystem object")
        _check_stop(owner, self.stop)
        _check_callbacks(owner, self.callbacks)
        _check_part(owner, "failure_config", self.failure_config, FailureConfig)
        _check_part(owner, "checkpoint_config", self.checkpoint_config, CheckpointConfig)
        _check_part(owner, "sync_config", self.sync_config, SyncConfig)
        _check_object(owner, "progress_reporter", self.progress_reporter, "a progress reporter")
        if self.verbose is not None and self.verbose not in range(4):
            reject(owner, "verbose", self.verbose, "use 0, 1, 2 or 3, or None for the default")
        _check_log_to_file(owner, self.log_to_file)
        _check_executor(owner, self.executor)
        if self.server is not None:
            _check_part(owner, "server", self.server, ServerConfig)


def _seconds(duration: Any) -> Any:
    return duration.total_seconds() if isinstance(duration, timedelta) else duration


def _check_objectives(owner: str, metric: object, mode: object) -> None:
    if metric is None and mode is None:
        return
    if metric is None:  # the value that a trainable returns has no name
        check_mode(owner, "mode", mode)
        return
    if mode is None:
        reject(owner, "metric", metric, "also say mode='min' or mode='max'")
    if isinstance(metric, list | tuple):
        _check_several_objectives(owner, metric, mode)
        return
    check_text(owner, "metric", metric, "use the name of a reported value")
    check_mode(owner, "mode", mode)


def _check_several_objectives(owner: str, metric: Sequence[object], mode: object) -> None:
    for name in metric:
        check_text(owner, "metric", name, "use names of reported values")
    if not metric or len(set(metric)) < len(metric):
        reject(owner, "metric", metric, "name at least one value and each once")
    if not isinstance(mode, list | tuple) or len(mode) != len(metric):
        fix = f"use a list of {len(metric)} modes, one for each metric"
        reject(owner, "mode", mode, fix)
    for each in mode:
        check_mode(owner, "mode", each)


def _check_plugin(owner: str, field: str, value: object, fix: str) -> None:
    if isinstance(value, str):
        check_text(owner, field, value, fix)
    elif value is not None:
        check_instance(owner, field, value, fix)


def _check_function(owner: str, field: str, value: object) -> None:
    if value is not None and not callable(value):
        reject(owner, field, value, "use a function that takes the trial and returns a string")


def _check_object(owner: str, field: str, value: object, what: str) -> None:
    if isinstance(value, str):
        reject(owner, field, value, f"use {what}")
    if value is not None:
        check_instance(owner, field, value, f"use {what}")


def _check_name(owner: str, name: object) -> None:
    if name is None:
        return
    check_text(owner, "name", name, "use a name for the experiment's folder, or None")
    text = str(name)
    if "/" in text or "\\" in text or text in (".", ".."):
        reject(owner, "name", name, "use one folder name; what is above it goes into storage_path")


def _check_stop(owner: str, stop: object) -> None:
    fix = "use {'metric': bound}, a function (trial_id, result) -> bool, a Stopper, or a list"
    if stop is None or isinstance(stop, Mapping):
        return
    if isinstance(stop, list | tuple):
        for each in stop:
            _check_stop(owner, each)
    elif isinstance(stop, type):
        check_instance(owner, "stop", stop, fix)
    elif not callable(stop):
        reject(owner, "stop", stop, fix)


def _check_callbacks(owner: str, callbacks: object) -> None:
    if callbacks is None:
        return
    if not isinstance(callbacks, list | tuple):
        reject(owner, "callbacks", callbacks, "use a list, also for a single callback: [callback]")
    for callback in callbacks:
        if callback is None:
            reject(owner, "callbacks", callbacks, "take the None out of the list")
        _check_object(owner, "callbacks", callback, "callback objects")
    targets = (getattr(callback, "writes_to", None) for callback in callbacks)
    check_distinct(owner, callbacks, [each for each in targets if isinstance(each, str)])


def _check_part(owner: str, field: str, value: object, kind: type) -> None:
    if not isinstance(value, kind):
        reject(owner, field, value, f"use {kind.__name__}(...)")


def _check_log_to_file(owner: str, value: object) -> None:
    if isinstance(value, bool):
        return
    names = list(value) if isinstance(value, list | tuple) else [value]
    texts = all(isinstance(name, str) and name.strip() for name in names)
    if not texts or (len(names) != 2 and not isinstance(value, str)):
        fix = "use True, False, one file name, or two: (for stdout, for stderr)"
        reject(owner, "log_to_file", value, fix)
    for name in map(str, names):
        if os.path.basename(name) != name or name in ("..", ".", *FILES_OF_A_TRIAL):
            fix = "use plain file names that no other file of a trial has"
            reject(owner, "log_to_file", value, fix)


def _check_executor(owner: str, executor: object) -> None:
    fix = f"use one of {', '.join(EXECUTORS)}, or an executor object"
    if isinstance(executor, str):
        if executor not in EXECUTORS:
            reject(owner, "executor", executor, fix + did_you_mean(executor, EXECUTORS))
    elif executor is None:
        reject(owner, "executor", executor, fix)
    else:
        check_instance(owner, "executor", executor, fix)
