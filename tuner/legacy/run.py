"""`tune.run`: an experiment in one call."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

from tuner.analysis import ExperimentAnalysis
from tuner.config import CheckpointConfig, ResumeConfig, SyncConfig
from tuner.execution import ray_client
from tuner.experiment.trial import Trial
from tuner.legacy.experiment import EXPERIMENT_ARGUMENTS, Experiment
from tuner.legacy.known_arguments import known_arguments_only
from tuner.legacy.place import PathLike
from tuner.legacy.run_options import run_options
from tuner.legacy.running import raise_failed, run_experiment
from tuner.validation import reject

_OWNER = "tune.run"


@known_arguments_only(_OWNER)
def run(
    run_or_experiment: Any,
    *,
    name: str | None = None,
    metric: str | Sequence[str] | None = None,
    mode: str | Sequence[str] | None = None,
    stop: Any = None,
    time_budget_s: float | timedelta | None = None,
    config: Any = None,
    resources_per_trial: Any = None,
    num_samples: int = 1,
    storage_path: PathLike | None = None,
    storage_filesystem: Any = None,
    local_dir: PathLike | None = None,
    upload_dir: PathLike | None = None,
    search_alg: Any = None,
    scheduler: Any = None,
    checkpoint_config: CheckpointConfig | None = None,
    checkpoint_freq: int = 0,
    checkpoint_at_end: bool = False,
    keep_checkpoints_num: int | None = None,
    checkpoint_score_attr: str | None = None,
    verbose: int | None = None,
    progress_reporter: Any = None,
    loggers: Sequence[type] | None = None,
    log_to_file: bool | str | Sequence[str] = False,
    trial_name_creator: Callable[[Trial], str] | None = None,
    trial_dirname_creator: Callable[[Trial], str] | None = None,
    sync_config: SyncConfig | None = None,
    sync_to_cloud: str | Callable[[str, str], Any] | None = None,
    sync_to_driver: str | Callable[[str, str], Any] | None = None,
    sync_function: str | Callable[[str, str], Any] | None = None,
    global_checkpoint_period: float | None = None,
    export_formats: Sequence[str] | None = None,
    max_failures: int = 0,
    fail_fast: bool | str = False,
    restore: PathLike | None = None,
    resume: bool | str | None = None,
    resume_config: ResumeConfig | None = None,
    reuse_actors: bool = False,
    raise_on_failed_trial: bool = True,
    callbacks: Sequence[Any] | None = None,
    max_concurrent_trials: int | None = None,
    executor: Any = "auto",
    trial_executor: Any = None,
    ray_auto_init: bool | None = None,
    queue_trials: bool = False,
    seed: int | None = None,
    server: Any = None,
    with_server: bool | None = None,
    server_port: int | None = None,
) -> ExperimentAnalysis:
    """Runs all trials of an experiment; `Tuner` is the form of today.

    Args:
        run_or_experiment: A function, a `Trainable` class, a registered name, or an `Experiment`,
            also as a list of one, which then says all that `Experiment` takes.
        name: Name of the experiment and its folder; made up without it.
        metric: Name of the reported value to optimize.
        mode: `"min"` or `"max"`.
        stop: When trials end: `{"metric": bound}`, a function `(trial_id, result) -> bool`, a
            `Stopper`, or a list of these.
        time_budget_s: Seconds, or a `timedelta`, after which all trials are stopped.
        config: The search space.
        resources_per_trial: What each trial needs: `{"cpu": 2, "gpu": 1, "extra_cpu": 4}`, or a
            `PlacementGroupFactory`.
        num_samples: How many configurations are drawn, or how often the grid is repeated; -1 for
            no limit.
        storage_path: Where experiment folders lie: a path or any fsspec URL.
        storage_filesystem: A filesystem object to which it belongs.
        local_dir: Before: `storage_path`, a folder on this machine.
        upload_dir: Before: `storage_path`, a folder on remote storage.
        search_alg: Proposes configurations; a searcher or its name.
        scheduler: Decides which trials go on; a scheduler or its name.
        checkpoint_config: Which checkpoints are made and kept.
        checkpoint_freq: Before: iterations of a class trainable between two checkpoints.
        checkpoint_at_end: Before: whether a class trainable is saved when its trial ends.
        keep_checkpoints_num: Before: how many checkpoints are kept.
        checkpoint_score_attr: Before: by which metric; `"min-loss"` where lower is better.
        verbose: 0 silent to 3 every result; None for the default.
        progress_reporter: Shows progress.
        loggers: Before: classes with the `Logger` interface, such as
            `DEFAULT_LOGGERS + (MyLogger,)`.
        log_to_file: Whether a trial's output goes to files in its folder, or their names.
        trial_name_creator: Gives a trial its name.
        trial_dirname_creator: Gives a trial's folder its name.
        sync_config: How files are brought to remote storage.
        sync_to_cloud: Before: copies the experiment from `local_dir` to `upload_dir`, a command
            with `{source}` and `{target}`, or a function of both.
        sync_to_driver: Before: copies trials' folders from other machines to this one, likewise.
        sync_function: Before: both at once.
        global_checkpoint_period: Before: seconds between two copies by these.
        export_formats: None: what is to be exported is written in `save_checkpoint` today.
        max_failures: How often a failed trial is tried again; -1 without end.
        fail_fast: True ends the experiment at the first failure, `"raise"` also raises its error.
        restore: A checkpoint, as a folder, a file in it or a URL, that every trial begins from and
            counts on from.
        resume: True or `"LOCAL"` goes on with the experiment of this name, `"AUTO"` if there is
            one, `"REMOTE"` with its copy in `upload_dir`, `"PROMPT"` asks; `"ERRORED_ONLY"`, and
            `"AUTO+ERRORED"` and its like, say that trials that failed go on as well. It goes on as
            it was described when it began, but for the code of the trainable; how it is run
            (callbacks, loggers, `verbose`, `executor`, …) may be given anew.
        resume_config: Which trials go on, in full.
        reuse_actors: Whether a worker process takes trial after trial.
        raise_on_failed_trial: Whether failed trials raise in the end.
        callbacks: Callbacks, called in this order.
        max_concurrent_trials: How many trials run at once.
        executor: Where trials run; `"inline"` runs them in this process, for debugging.
        trial_executor: Before: `executor`.
        ray_auto_init: Before: whether Ray is started, which executors do that need it.
        queue_trials: Before: whether trials wait for resources, as they always do.
        seed: Makes searchers, schedulers and trials draw the same numbers in every run.
        server: A `ServerConfig`, to steer the experiment over HTTP.
        with_server: Before: whether it can be steered.
        server_port: Before: on which port.

    Returns:
        The results, which are in the experiment's folder as well.

    Raises:
        ConfigError: An argument is unknown, cannot work, or contradicts another.
        TuneError: Trials failed; the results of all others are safe.

    Example:
        >>> import tempfile
        >>> from tuner import grid_search, report
        >>> def train(config):
        ...     report({"loss": (config["x"] - 2) ** 2})
        >>> analysis = run(
        ...     train,
        ...     config={"x": grid_search([1, 2, 3])},
        ...     storage_path=tempfile.mkdtemp(),
        ...     verbose=0,
        ... )
        >>> analysis.get_best_config(metric="loss", mode="min")
        {'x': 2}
    """
    given = dict(locals())
    described = given.pop("run_or_experiment")
    own = {key: given.pop(key) for key in ("name", *EXPERIMENT_ARGUMENTS) if key in given}
    options = run_options(_OWNER, **given)
    experiment = _experiment(described, own)
    if ray_client.is_outside(options.executor):
        inside = partial(run_experiment, experiment, options)
        analysis = ray_client.run_inside(inside, options.executor)
    else:
        analysis = run_experiment(experiment, options)
    raise_failed(analysis.trials, options)
    return analysis


def _experiment(described: Any, own: dict[str, Any]) -> Experiment:
    if isinstance(described, list | tuple):
        if len(described) != 1:
            fix = (
                f"{len(described)} experiments have as many folders; give run_experiments the list"
            )
            reject(_OWNER, "run_or_experiment", described, fix)
        (described,) = described
    if not isinstance(described, Experiment):
        return Experiment(own.pop("name"), described, **own, _owner=_OWNER)
    for key, value in own.items():
        if value is not _DEFAULTS[key].default:
            reject(_OWNER, key, value, "give it to the Experiment")
    return described


_DEFAULTS = inspect.signature(run).parameters
