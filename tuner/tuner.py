"""`Tuner`: runs an experiment for the user's configs, and hands out its results."""

from __future__ import annotations

import logging
import os
import time
from typing import Any

from tuner.assignments import AssignmentFactory, log_files
from tuner.callbacks.dispatch import CallbackDispatch
from tuner.config import RunConfig, TuneConfig
from tuner.console.console import Console
from tuner.controller import Controller, Parts
from tuner.errors import ConfigError, StorageError, TunerError
from tuner.execution.loading import is_loading
from tuner.execution.process import open_standard_descriptors
from tuner.experiment.folder import ExperimentFolder, default_storage_path, new_folder
from tuner.experiment.journal import JournalWriter
from tuner.experiment.state import ExperimentState
from tuner.experiment.trial_table import TrialTable
from tuner.gathering import gather
from tuner.plan import Plan, make_plan
from tuner.policies import build_stopper
from tuner.recording.defaults import split_callbacks
from tuner.recording.process import RecorderProcess
from tuner.result_grid import ResultGrid
from tuner.search_space.variants import SearchSpace
from tuner.trainable.registry import get_trainable
from tuner.trainable.trainable import is_trainable_class
from tuner.trainable.wrappers import trainable_name
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
        open_standard_descriptors()
        plan = make_plan(
            self._trainable, trainable_label, self._space, self._tune_config, self._run_config
        )
        folder = self._folder(trainable_label)
        try:
            self._results = _run(plan, folder)
        finally:
            folder.release()
        if self._run_config.failure_config.fail_fast == "raise" and self._results.errors:
            raise self._results.errors[0]
        return self._results

    def get_results(self) -> ResultGrid:
        """The results of the last `fit()`.

        Raises:
            TunerError: `fit()` was not called.
        """
        if self._results is None:
            raise TunerError("Tuner: get_results() has nothing to return yet; call fit() first")
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


def _run(plan: Plan, folder: ExperimentFolder) -> ResultGrid:
    """Runs an experiment to its end, and waits for its files to be complete."""
    config, name = plan.run_config, os.path.basename(folder.path)
    started = time.time()
    table = TrialTable(folder.path, plan.retention)
    spec = plan.spec(folder.path, folder.entries())
    state = ExperimentState(spec, table, plan.searcher, plan.scheduler, plan.stopper)
    moved = folder.begin(plan.description(name), plan.content)
    callbacks, loggers = split_callbacks(config.callbacks or [])
    for callback in callbacks:
        callback.setup(
            stop=config.stop,
            num_samples=plan.tune_config.num_samples,
            total_num_samples=plan.total_trials,
        )
    verbose = 1 if config.verbose is None else config.verbose
    console = Console(verbose, config.progress_reporter, live=plan.executor.max_running != 1)
    journal = JournalWriter(folder.path)
    recorder = RecorderProcess(folder.path, loggers)
    recorder.start()
    controller = Controller(
        Parts(
            state=state,
            executor=plan.executor,
            journal=journal,
            callbacks=CallbackDispatch(callbacks, table),
            console=console,
            assignments=AssignmentFactory(
                experiment_name=name,
                seed=plan.seed,
                checkpoint_config=config.checkpoint_config,
                log_to_file=log_files(config.log_to_file),
                keep_workers=plan.tune_config.reuse_actors,
            ),
            info=plan.info(name, folder.path, started),
        ),
        plan.trainable,
    )
    if moved is not None:
        console.message(f"An earlier run of this name is kept in {moved}")
    try:
        controller.run(__version__)
    finally:
        for message in recorder.finish(RECORDING_TIMEOUT_S):
            logger.error("%s", message)
    return gather(table, plan.tune_config.metric, plan.tune_config.mode)
