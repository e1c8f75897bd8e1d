"""`Experiment`: one experiment as the older APIs describe it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from tuner.config import CheckpointConfig, FailureConfig, RunConfig, SyncConfig, TuneConfig
from tuner.errors import ConfigError
from tuner.experiment.trial import Trial
from tuner.legacy.checkpoint_arguments import CheckpointArguments
from tuner.legacy.deprecation import warn_once
from tuner.legacy.error_names import named_as
from tuner.legacy.known_arguments import known_arguments_only, reject_unknown
from tuner.legacy.loggers_argument import callbacks_for
from tuner.legacy.place import PathLike, place_of
from tuner.legacy.protected_function import warn_of_functions
from tuner.legacy.run_options import RunOptions
from tuner.legacy.sync import copies
from tuner.legacy.trainable import as_trained
from tuner.tuner import Tuner
from tuner.validation import reject


class Experiment:
    """What is trained, over which search space, until when, and where results go.

    Args:
        name: Name of the experiment and its folder.
        run: A function, a `Trainable` class or a registered name.
        stop: When trials end: `{"metric": bound}`, a function `(trial_id, result) -> bool`, a
            `Stopper`, or a list of these.
        config: The search space.
        resources_per_trial: What each trial needs: `{"cpu": 2, "gpu": 1, "extra_cpu": 4}`, or a
            `PlacementGroupFactory`.
        trial_resources: The same, as it was called before.
        num_samples: How many configurations are drawn, or how often the grid is repeated.
        repeat: The same, as it was called before.
        time_budget_s: Seconds, or a `timedelta`, after which all trials are stopped.
        storage_path: Where experiment folders lie: a path or any fsspec URL.
        storage_filesystem: A filesystem object to which it belongs.
        local_dir: `storage_path`, as it was called before for a folder on this machine.
        upload_dir: `storage_path`, as it was called before for one on remote storage.
        sync_config: How files are brought to remote storage.
        sync_to_cloud: Copies the experiment from `local_dir` to `upload_dir`: a command with
            `{source}` and `{target}`, or a function of both. Without it `upload_dir` is written to
            directly.
        sync_to_driver: Copies trials' folders from other machines to this one, likewise.
        sync_function: Both at once.
        global_checkpoint_period: Seconds between two copies by these, 300 by default.
        loggers: Classes with the `Logger` interface, in place of `DEFAULT_LOGGERS`.
        log_to_file: Whether a trial's output goes to files in its folder, or their names.
        checkpoint_config: Which checkpoints are made and kept.
        checkpoint_freq: Iterations of a class trainable between two checkpoints.
        checkpoint_at_end: Whether a class trainable is saved when its trial ends.
        keep_checkpoints_num: How many checkpoints are kept.
        checkpoint_score_attr: By which metric; `"min-loss"` where lower is better.
        trial_name_creator: Gives a trial its name.
        trial_dirname_creator: Gives a trial's folder its name.
        export_formats: None: what is to be exported is written in `save_checkpoint` today.
        max_failures: How often a failed trial is tried again; -1 without end.
        restore: A checkpoint that every trial begins from.

    Raises:
        ConfigError: An argument is unknown, cannot work, or contradicts another.

    Example:
        >>> Experiment("mnist", lambda config: {"loss": 0.1}, repeats=3)
        Traceback (most recent call last):
            ...
        tuner.errors.ConfigError: Experiment(repeats=3): no such argument; did you mean 'repeat'?
    """

    @known_arguments_only("Experiment")
    def __init__(
        self,
        name: str | None,
        run: Any,
        stop: Any = None,
        *,
        config: Any = None,
        resources_per_trial: Any = None,
        trial_resources: Any = None,
        num_samples: int | None = None,
        repeat: int | None = None,
        time_budget_s: float | timedelta | None = None,
        storage_path: PathLike | None = None,
        storage_filesystem: Any = None,
        local_dir: PathLike | None = None,
        upload_dir: PathLike | None = None,
        sync_config: SyncConfig | dict[str, Any] | None = None,
        sync_to_cloud: str | Callable[[str, str], Any] | None = None,
        sync_to_driver: str | Callable[[str, str], Any] | None = None,
        sync_function: str | Callable[[str, str], Any] | None = None,
        global_checkpoint_period: float | None = None,
        loggers: Sequence[type] | None = None,
        log_to_file: bool | str | Sequence[str] = False,
        checkpoint_config: CheckpointConfig | dict[str, Any] | None = None,
        checkpoint_freq: int = 0,
        checkpoint_at_end: bool = False,
        keep_checkpoints_num: int | None = None,
        checkpoint_score_attr: str | None = None,
        trial_name_creator: Callable[[Trial], str] | None = None,
        trial_dirname_creator: Callable[[Trial], str] | None = None,
        export_formats: Sequence[str] | None = None,
        max_failures: int = 0,
        restore: PathLike | None = None,
        _owner: str = "Experiment",
    ) -> None:
        owner = _owner
        if export_formats:
            fix = "write the model in save_checkpoint, with checkpoint_at_end=True"
            reject(owner, "export_formats", export_formats, fix)
        if sync_function is not None:
            if sync_to_cloud is not None or sync_to_driver is not None:
                fix = "give it as sync_to_cloud or sync_to_driver alone"
                reject(owner, "sync_function", sync_function, fix)
            sync_to_cloud = sync_to_driver = sync_function
        self.name = name
        self.stop = stop
        self.num_samples = _one_of(owner, num_samples=num_samples, repeat=repeat, default=1)
        self.time_budget_s = time_budget_s
        self.place = place_of(
            owner,
            storage_path=storage_path,
            storage_filesystem=storage_filesystem,
            local_dir=local_dir,
            upload_dir=upload_dir,
            sync_to_cloud=sync_to_cloud,
        )
        self.run = run
        if owner == "Experiment":  # for tune.run, which 0.5 had not, they are values
            warn_of_functions(config)
        self.config = config
        self.restore = restore
        self._resources = _one_of(
            owner, resources_per_trial=resources_per_trial, trial_resources=trial_resources
        )
        self.checkpoint_config = CheckpointArguments(
            checkpoint_config=checkpoint_config,
            checkpoint_freq=checkpoint_freq,
            checkpoint_at_end=checkpoint_at_end,
            keep_checkpoints_num=keep_checkpoints_num,
            checkpoint_score_attr=checkpoint_score_attr,
        ).as_config(owner)
        self.max_failures = max_failures
        self.owner = owner
        self._sync_config = _as_sync_config(owner, sync_config)
        self._sync_to_driver = sync_to_driver
        self._copy_period_s = global_checkpoint_period
        self._loggers = loggers
        self._log_to_file = log_to_file
        self._name_creators = (trial_name_creator, trial_dirname_creator)

    @classmethod
    def from_json(cls, name: str, spec: Mapping[str, Any]) -> Experiment:
        """The experiment that a specification describes.

        Args:
            name: Name of the experiment and its folder.
            spec: Arguments of `Experiment` by name; `"run"` must be among them.

        Raises:
            ConfigError: A key is unknown, or a value cannot work.

        Example:
            >>> spec = {"run": lambda config: {"loss": 0.1}, "repeat": 3}
            >>> Experiment.from_json("mnist", spec).num_samples
            3
        """
        owner = f"experiment {name!r}"
        if not isinstance(spec, Mapping):
            raise ConfigError(f"{owner}: {spec!r:.100} must be a dictionary with 'run'")
        if "run" not in spec:
            raise ConfigError(f"{owner}: 'run' is missing: name what is to be trained")
        for key, value in spec.items():
            if key not in EXPERIMENT_ARGUMENTS and key != "run":
                reject_unknown(owner, key, value, ["run", *EXPERIMENT_ARGUMENTS])
        try:
            return cls(name, **spec)
        except ConfigError as error:
            raise ConfigError(f"{owner}: {error}") from None

    @property
    def trainable(self) -> Any:
        """What is trained, with the resources that it needs and the checkpoint it begins from.

        Raises:
            TrainableError: It cannot be trained.
            ConfigError: The resources or the checkpoint cannot work.
        """
        return as_trained(self.run, resources=self._resources, restore=self.restore)

    def tuner(self, options: RunOptions) -> Tuner:
        """The tuner that runs it.

        Args:
            options: How it is run.

        Raises:
            ConfigError: Something cannot work.
        """
        options, param_space = options.for_space(self.config)
        with named_as(lambda name: options.owner if name in options else self.owner):
            tune_config, run_config = self._tune_config(options), self._run_config(options)
        return Tuner(
            self.trainable, param_space=param_space, tune_config=tune_config, run_config=run_config
        )

    def _tune_config(self, options: RunOptions) -> TuneConfig:
        name_creator, dirname_creator = self._name_creators
        return TuneConfig(
            metric=options.metric,
            mode=options.mode,
            search_alg=options.search_alg,
            scheduler=options.scheduler,
            num_samples=self.num_samples,
            max_concurrent_trials=options.max_concurrent_trials,
            time_budget_s=self.time_budget_s,
            reuse_actors=options.reuse_actors,
            trial_name_creator=name_creator,
            trial_dirname_creator=dirname_creator,
            seed=options.seed,
        )

    def _run_config(self, options: RunOptions) -> RunConfig:
        return RunConfig(
            name=self.name,
            storage_path=self.place.storage_path,
            storage_filesystem=self.place.storage_filesystem,
            stop=self.stop,
            callbacks=self._callbacks(options),
            failure_config=FailureConfig(
                max_failures=self.max_failures,
                fail_fast=options.fail_fast,  # type: ignore[arg-type]
            ),
            checkpoint_config=self.checkpoint_config,
            sync_config=self._sync_config or SyncConfig(),
            progress_reporter=options.progress_reporter,
            verbose=options.verbose,
            log_to_file=self._log_to_file,
            executor=options.executor,
            server=options.server,
        )

    def _callbacks(self, options: RunOptions) -> list[Any] | None:
        own = [
            *callbacks_for(self.owner, self._loggers),
            *copies(self.owner, self.place, self._sync_to_driver, self._copy_period_s),
        ]
        if options.callbacks is None:
            return own or None
        return [*options.callbacks, *own]


EXPERIMENT_ARGUMENTS = tuple(
    name
    for name in inspect.signature(Experiment.__init__).parameters
    if name not in ("self", "name", "run", "_owner")
)
"""What describes an experiment, beside its name and what is trained."""


def _one_of(owner: str, *, default: Any = None, **given: Any) -> Any:
    """The value of the argument, of which the second is the older name."""
    (today, value), (before, older) = given.items()
    if older is None:
        return default if value is None else value
    if value is not None:
        reject(owner, before, older, f"give {today}={value!r:.50} alone, which is today's name")
    warn_once(f"{owner}({before}=…)", f"{today}=…")
    return older


def _as_sync_config(owner: str, given: Any) -> SyncConfig | None:
    if given is None or isinstance(given, SyncConfig):
        return given
    if not isinstance(given, dict):
        reject(owner, "sync_config", given, "use SyncConfig(...)")
    return SyncConfig(**given)
