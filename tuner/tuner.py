"""`Tuner`: builds an experiment from the user's configs, runs it, and hands out its results."""

from __future__ import annotations

import logging
import os
import random
import secrets
import sys
import time
from typing import Any

from tuner.assignments import AssignmentFactory, log_files
from tuner.callbacks.console import Console
from tuner.callbacks.dispatch import CallbackDispatch
from tuner.callbacks.status import ExperimentInfo
from tuner.config import RunConfig, TuneConfig
from tuner.controller import Controller, Parts
from tuner.description import describe, pickled
from tuner.errors import ConfigError, StorageError, TunerError
from tuner.execution.executor import TrialExecutor
from tuner.execution.loading import is_loading
from tuner.experiment.folder import ExperimentFolder, default_storage_path, new_folder
from tuner.experiment.journal import JournalWriter
from tuner.experiment.retention import Retention
from tuner.experiment.spec import ExperimentSpec
from tuner.experiment.state import ExperimentState
from tuner.experiment.trial_table import TrialTable
from tuner.gathering import gather, trial_error
from tuner.policies import build_scheduler, build_searcher, build_stopper
from tuner.recording.defaults import split_callbacks
from tuner.recording.process import RecorderProcess
from tuner.result_grid import ResultGrid
from tuner.search.searcher import Searcher
from tuner.search_space.variants import SearchSpace
from tuner.trainable.registry import get_trainable
from tuner.trainable.trainable import is_trainable_class
from tuner.trainable.wrappers import resources_for, resources_vary, trainable_name
from tuner.version import __version__

logger = logging.getLogger(__name__)

RECORDING_TIMEOUT_S = 600.0


class Tuner:
    """Tunes the hyperparameters of a trainable.

    Args:
        trainable: A function of the configuration, a `Trainable` class, or a registered name.
        param_space: The search space: constants, domains such as `tuner.uniform(0, 1)`,
            `grid_search`, `sample_from`, in dictionaries and lists nested as you like.
        tune_config: What is searched for, and how.
        run_config: Where results go, when trials end, what happens on errors.

    Raises:
        ConfigError, TrainableError, SearchSpaceError: an argument cannot work.

    Example:
        >>> import tempfile
        >>> from tuner import RunConfig, TuneConfig, grid_search
        >>> grid = Tuner(
        ...     lambda config: {"score": -((config["x"] - 2) ** 2)},
        ...     param_space={"x": grid_search([1, 2, 3])},
        ...     tune_config=TuneConfig(metric="score", mode="max"),
        ...     run_config=RunConfig(storage_path=tempfile.mkdtemp(), verbose=0),
        ... ).fit()
        >>> grid.get_best_result().config
        {'x': 2}
    """

    def __init__(
        self,
        trainable: Any = None,
        *,
        param_space: dict[str, Any] | None = None,
        tune_config: TuneConfig | None = None,
        run_config: RunConfig | None = None,
    ) -> None:
        _check_type("tune_config", tune_config, TuneConfig)
        _check_type("run_config", run_config, RunConfig)
        if not isinstance(param_space, dict | None):
            raise ConfigError(f"Tuner: param_space={param_space!r:.100} must be a dictionary")
        self._name = trainable if isinstance(trainable, str) else None
        self._trainable = get_trainable(trainable)
        self._space = dict(param_space or {})
        self._tune_config = tune_config or TuneConfig()
        self._run_config = run_config or RunConfig()
        self._check_checkpoint_config()
        SearchSpace(self._space)
        build_stopper(self._run_config.stop, None)
        self._results: ResultGrid | None = None

    def fit(self) -> ResultGrid:
        """Runs all trials and returns their results.

        Trials that fail do not make it raise: see `ResultGrid.errors`, and `FailureConfig`.
        Ctrl-C ends it cleanly and returns what there is; a second one ends it at once.

        Raises:
            TunerError: the experiment as a whole cannot go on.
        """
        trainable_label = self._name or trainable_name(self._trainable)
        if is_loading():
            raise TunerError(
                f"fit() was called by the import of a module that {trainable_label!r} needs, in a "
                "worker: put the call below `if __name__ == '__main__':` or into a function"
            )
        folder = self._folder(trainable_label)
        try:
            return self._fit_in(folder, os.path.basename(folder.path), trainable_label)
        finally:
            folder.release()

    def get_results(self) -> ResultGrid:
        """The results of the last `fit()`.

        Raises:
            TunerError: `fit()` was not called.
        """
        if self._results is None:
            raise TunerError("Tuner: get_results() has nothing to return yet; call fit() first")
        return self._results

    def _fit_in(self, folder: ExperimentFolder, name: str, trainable_label: str) -> ResultGrid:
        tune_config, run_config = self._tune_config, self._run_config
        started = time.time()
        seed = _fresh_seed() if tune_config.seed is None else tune_config.seed
        id_prefix = secrets.token_hex(3)[:5]
        content = pickled(self._trainable, self._space, tune_config, run_config)
        searcher = build_searcher(tune_config, self._space, seed)
        scheduler = build_scheduler(tune_config, seed)
        stopper = build_stopper(run_config.stop, tune_config.time_budget_s)
        executor = _executor(run_config.executor)
        total = searcher.total_samples(tune_config.num_samples)
        spec = ExperimentSpec(
            path=folder.path,
            trainable_name=trainable_label,
            param_space=SearchSpace(self._space),
            id_prefix=id_prefix,
            seed=seed,
            num_trials=total,
            max_running=_max_running(tune_config, searcher, executor),
            max_failures=run_config.failure_config.max_failures,
            fail_fast=bool(run_config.failure_config.fail_fast),
            bundles_for=lambda config: resources_for(self._trainable, config).bundles,
            bundles_vary=resources_vary(self._trainable),
            name_creator=tune_config.trial_name_creator,
            dirname_creator=tune_config.trial_dirname_creator,
            taken_dirnames=folder.entries(),
        )
        description = describe(
            version=__version__,
            name=name,
            trainable=trainable_label,
            seed=seed,
            id_prefix=id_prefix,
            tune_config=tune_config,
            run_config=run_config,
        )
        moved = folder.begin(description, content)
        table = TrialTable(folder.path, self._retention())
        state = ExperimentState(spec, table, searcher, scheduler, stopper)
        callbacks, loggers = split_callbacks(run_config.callbacks or [])
        verbose = 1 if run_config.verbose is None else run_config.verbose
        console = Console(verbose, run_config.progress_reporter, live=executor.max_running != 1)
        metric = tune_config.metric or scheduler.metric
        mode = tune_config.mode or scheduler.mode
        for callback in callbacks:
            callback.setup(
                stop=run_config.stop, num_samples=tune_config.num_samples, total_num_samples=total
            )
        journal = JournalWriter(folder.path)
        recorder = RecorderProcess(folder.path, loggers)
        recorder.start()
        controller = Controller(
            Parts(
                state=state,
                executor=executor,
                journal=journal,
                callbacks=CallbackDispatch(callbacks, table),
                console=console,
                assignments=AssignmentFactory(
                    experiment_name=name,
                    seed=seed,
                    checkpoint_config=run_config.checkpoint_config,
                    log_to_file=log_files(run_config.log_to_file),
                    keep_workers=tune_config.reuse_actors,
                ),
                info=ExperimentInfo(
                    name=name,
                    path=folder.path,
                    metric=metric if isinstance(metric, str) else None,
                    mode=mode if isinstance(mode, str) else None,
                    total_trials=total,
                    scheduler_name=type(scheduler).__name__,
                    searcher_name=type(searcher).__name__,
                    start_time=started,
                ),
            ),
            self._trainable,
        )
        if moved is not None:
            console.message(f"An earlier run of this name is kept in {moved}")
        try:
            controller.run(__version__)
        finally:
            for message in recorder.finish(RECORDING_TIMEOUT_S):
                logger.error("%s", message)
        self._results = gather(table, tune_config.metric, tune_config.mode)
        if run_config.failure_config.fail_fast == "raise":
            errors = (trial_error(trial) for trial in table.trials)
            for error in filter(None, errors):
                raise error
        return self._results

    def _folder(self, trainable_label: str) -> ExperimentFolder:
        storage, name = self._storage_path(), self._run_config.name
        if name is not None:
            return ExperimentFolder(os.path.join(storage, name))
        when = time.strftime("%Y-%m-%d_%H-%M-%S")
        return ExperimentFolder(new_folder(storage, f"{trainable_label}_{when}"))

    def _storage_path(self) -> str:
        given = self._run_config.storage_path
        path = default_storage_path() if given is None else os.fspath(given)
        path = path.removeprefix("file://")
        if "://" in path or self._run_config.storage_filesystem is not None:
            raise StorageError(
                f"RunConfig: storage_path={path!r}: this version writes to local folders only; "
                "give a folder"
            )
        return os.path.abspath(os.path.expanduser(path))

    def _retention(self) -> Retention:
        config = self._run_config.checkpoint_config
        return Retention(
            config.num_to_keep, config.checkpoint_score_attribute, config.checkpoint_score_order
        )

    def _check_checkpoint_config(self) -> None:
        config = self._run_config.checkpoint_config
        if is_trainable_class(self._trainable):
            return
        for field in ("checkpoint_frequency", "checkpoint_at_end"):
            value = getattr(config, field)
            if value:
                raise ConfigError(
                    f"CheckpointConfig: {field}={value!r} has no effect on a function trainable; "
                    "give report(…, checkpoint=…) a checkpoint instead"
                )


def _check_type(name: str, value: object, kind: type) -> None:
    if value is not None and not isinstance(value, kind):
        raise ConfigError(f"Tuner: {name}={value!r:.100} must be a {kind.__name__}")


def _fresh_seed() -> int:
    """A seed that is the same again where the user has seeded the global streams."""
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        return int(numpy_random.randint(2**31))
    return random.getrandbits(31)


def _executor(executor: Any) -> TrialExecutor:
    if executor in ("auto", "local"):
        from tuner.execution.local import LocalExecutor

        return LocalExecutor()
    if executor == "inline":
        from tuner.execution.inline import InlineExecutor

        return InlineExecutor()
    if isinstance(executor, str):
        raise ConfigError(
            f"RunConfig: executor={executor!r} is not available in this version; use 'local' or "
            "'inline'"
        )
    if not isinstance(executor, TrialExecutor):
        raise ConfigError(f"RunConfig: executor={executor!r:.100} must be a name or an executor")
    return executor


def _max_running(config: TuneConfig, searcher: Searcher, executor: TrialExecutor) -> int | None:
    limits = [config.max_concurrent_trials, searcher.max_concurrent or None, executor.max_running]
    known = [limit for limit in limits if limit is not None]
    return min(known) if known else None
