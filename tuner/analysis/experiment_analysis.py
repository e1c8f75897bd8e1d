"""`ExperimentAnalysis`: what an experiment found, as scripts for older APIs ask for it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tuner.analysis.best_result import best_result
from tuner.analysis.by_folder import ByFolder
from tuner.analysis.opening import open_experiment
from tuner.checkpoint import Checkpoint
from tuner.errors import ConfigError
from tuner.experiment.trial import ERROR, TERMINATED, Trial
from tuner.flatten import flatten, lookup
from tuner.result import Result, Scope, check_scope
from tuner.result_grid import ResultGrid
from tuner.storage.storage import locate
from tuner.tables import to_frame
from tuner.validation import check_mode, shorten

if TYPE_CHECKING:
    import pandas

    from tuner.filesystems import FileSystem

TRAINING_ITERATION = "training_iteration"
"""What methods use that need a metric where nobody knows one."""

_DEFAULT_MODE = "max"


class ExperimentAnalysis:
    """What an experiment found, read from its folder, also from one that `ray.tune` wrote.

    The experiment may have ended, still run, or have been killed: this is how it was when the
    folder was read. Nothing in the folder is changed.

    Wherever a `metric` can be given, it is the experiment's own if it is not, and `a/b` names a
    nested value. Likewise the `mode`; where nobody knows one, it is `"max"`. A `trial` is a trial
    of `trials`, its id, or its folder.

    Configurations may hold pickled objects, which can run any code when they are loaded: open
    only folders of this library that nobody else can write to. Of a folder of `ray.tune` only
    JSON and CSV files are read.

    Args:
        experiment_checkpoint_path: The experiment's folder, a local path or an fsspec URL; with a
            filesystem, a path on it. The `experiment_state-….json` in it will do as well.
        storage_filesystem: An fsspec or a pyarrow filesystem.
        trials: Trials of the experiment to which all is confined; all of them without it.
        default_metric: What methods use that are given no metric; the experiment's own without it.
        default_mode: `"min"` or `"max"`, likewise.

    Attributes:
        trials: The trials in order of creation, with `config`, `status`, `last_result` and more.
        experiment_path: The experiment's folder, on `filesystem`; so are all paths.

    Raises:
        ConfigError: An argument cannot work.
        StorageError: There is no experiment, or it cannot be read.

    Example:
        >>> import tempfile
        >>> import tuner as tune
        >>> grid = tune.Tuner(
        ...     lambda config: {"score": -((config["x"] - 2) ** 2)},
        ...     param_space={"x": tune.grid_search([1, 2, 3])},
        ...     run_config=tune.RunConfig(storage_path=tempfile.mkdtemp(), verbose=0),
        ... ).fit()
        >>> analysis = ExperimentAnalysis(grid.experiment_path)
        >>> analysis.get_best_config(metric="score")
        {'x': 2}
        >>> analysis.dataframe()[["config/x", "score"]].values.tolist()
        [[1, -1], [2, 0], [3, -1]]
    """

    def __init__(
        self,
        experiment_checkpoint_path: str | os.PathLike[str],
        *,
        storage_filesystem: FileSystem | None = None,
        trials: Sequence[Trial] | None = None,
        default_metric: str | None = None,
        default_mode: str | None = None,
    ) -> None:
        opened = open_experiment(experiment_checkpoint_path, storage_filesystem)
        self.experiment_path = opened.path
        self._filesystem = opened.filesystem
        self._objectives = opened.objectives
        self._stats = opened.stats
        self._description = opened.description
        self._results = {
            trial.trial_id: result
            for trial, result in zip(opened.trials, opened.results, strict=True)
        }
        self.trials = opened.trials
        if trials is not None:
            self._results = {each.trial_id: self._result_of(each) for each in trials}
            self.trials = list(trials)
        self._default_metric = default_metric
        self.default_mode = default_mode

    @property
    def filesystem(self) -> FileSystem:
        """The filesystem of `experiment_path`, fsspec's where it is this machine's own."""
        return self._grid.filesystem

    @property
    def default_metric(self) -> str | None:
        """The metric of methods that are given none; None where there is no or no single one."""
        if self._default_metric is None and len(self._objectives) == 1:
            return next(iter(self._objectives))
        return self._default_metric

    @default_metric.setter
    def default_metric(self, metric: str | None) -> None:
        self._default_metric = metric

    @property
    def default_mode(self) -> str | None:
        """`"min"` or `"max"` where methods are given none; None where that is not known."""
        if self._default_mode is None and len(self._objectives) == 1:
            return next(iter(self._objectives.values()))
        return self._default_mode

    @default_mode.setter
    def default_mode(self, mode: str | None) -> None:
        if mode is not None:
            check_mode("ExperimentAnalysis", "default_mode", mode)
        self._default_mode = mode

    @property
    def best_trial(self) -> Trial:
        """`get_best_trial()`."""
        return self._best("best_trial")

    @property
    def best_config(self) -> dict[str, Any]:
        """`get_best_config()`."""
        return self._result_of(self._best("best_config")).config

    @property
    def best_logdir(self) -> str:
        """`get_best_logdir()`."""
        return self._result_of(self._best("best_logdir")).path

    @property
    def best_result(self) -> dict[str, Any]:
        """`get_best_result()`."""
        return self._result_of(self._best("best_result")).metrics

    @property
    def best_checkpoint(self) -> Checkpoint | None:
        """The best trial's best checkpoint, None if it has none."""
        return self.get_best_checkpoint(self._best("best_checkpoint"))

    @property
    def best_dataframe(self) -> pandas.DataFrame:
        """All results of the best trial, a row per report."""
        return self._result_of(self._best("best_dataframe")).metrics_dataframe

    @property
    def best_result_df(self) -> pandas.DataFrame:
        """The best trial's last result as a frame of one row, whose index is the trial's id."""
        trial = self._best("best_result_df")
        return _frame_by_id({trial.trial_id: self._result_of(trial).metrics})

    @property
    def results(self) -> dict[str, dict[str, Any]]:
        """The last result of each trial by its id, `{}` of one that reported nothing."""
        return {trial_id: result.metrics for trial_id, result in self._results.items()}

    @property
    def results_df(self) -> pandas.DataFrame:
        """The last results as a frame, a row per trial, whose index are the trials' ids."""
        return _frame_by_id(self.results)

    @property
    def trial_dataframes(self) -> dict[str, pandas.DataFrame]:
        """All results of each trial, a row per report, by the trial's folder.

        A trial's id finds its frame as well. A trial that reported nothing has an empty one.

        Raises:
            StorageError: A trial's file is damaged.
        """
        frames = {each.path: each.metrics_dataframe for each in self._results.values()}
        return ByFolder(frames, self._folders)

    def fetch_trial_dataframes(self) -> dict[str, pandas.DataFrame]:
        """`trial_dataframes`."""
        return self.trial_dataframes

    def get_all_configs(self, prefix: bool = False) -> dict[str, dict[str, Any]]:
        """The configuration of each trial by the trial's folder; its id finds it as well.

        Args:
            prefix: Whether they are flat, with names such as `config/net/depth`.
        """
        configs = {each.path: each.config for each in self._results.values()}
        if prefix:
            configs = {path: flatten({"config": config}) for path, config in configs.items()}
        return ByFolder(configs, self._folders)

    def dataframe(self, metric: str | None = None, mode: str | None = None) -> pandas.DataFrame:
        """A row per trial that reported something, with the columns of `ResultGrid.get_dataframe`.

        Args:
            metric: With it and a mode, the row is the result in which this metric was best;
                otherwise the last one.
            mode: `"min"` or `"max"`.

        Raises:
            ConfigError: A mode without a metric, or no such mode.
            StorageError: A trial's file is damaged.
        """
        if mode is None:
            return self._grid.get_dataframe()
        check_mode("dataframe", "mode", mode)
        if metric is None:
            raise ConfigError(f"dataframe(metric=None, mode={mode!r}): pass the metric, too")
        return self._grid.get_dataframe(metric, mode)

    def get_best_trial(
        self,
        metric: str | None = None,
        mode: str | None = None,
        scope: Scope = "last",
        filter_nan_and_inf: bool = True,
    ) -> Trial:
        """The trial with the best value of a metric; of equal ones, the first.

        Args:
            metric: A metric's name.
            mode: `"min"` or `"max"`.
            scope: What of a trial is compared: the `"last"` value, the best of `"all"`, or the
                mean `"avg"`, `"last-5-avg"`, `"last-10-avg"`.
            filter_nan_and_inf: Whether trials with NaN or infinity are left out; otherwise NaN is
                worse than everything else.

        Raises:
            ConfigError: There is no metric, or the mode or the scope is none.
            ResultError: No trial has a value of the metric; says which metrics there are.
        """
        return self._best("get_best_trial", metric, mode, scope, filter_nan_and_inf)

    def get_best_config(
        self,
        metric: str | None = None,
        mode: str | None = None,
        scope: Scope = "last",
        filter_nan_and_inf: bool = True,
    ) -> dict[str, Any]:
        """The configuration of the best trial; see `get_best_trial`."""
        best = self._best("get_best_config", metric, mode, scope, filter_nan_and_inf)
        return self._result_of(best).config

    def get_best_logdir(
        self,
        metric: str | None = None,
        mode: str | None = None,
        scope: Scope = "last",
        filter_nan_and_inf: bool = True,
    ) -> str:
        """The folder of the best trial; see `get_best_trial`."""
        best = self._best("get_best_logdir", metric, mode, scope, filter_nan_and_inf)
        return self._result_of(best).path

    def get_best_result(
        self,
        metric: str | None = None,
        mode: str | None = None,
        scope: Scope = "last",
        filter_nan_and_inf: bool = True,
    ) -> dict[str, Any]:
        """The last result of the best trial; see `get_best_trial`."""
        best = self._best("get_best_result", metric, mode, scope, filter_nan_and_inf)
        return self._result_of(best).metrics

    def get_best_checkpoint(
        self,
        trial: Trial | str | os.PathLike[str],
        metric: str | None = None,
        mode: str | None = None,
    ) -> Checkpoint | None:
        """The checkpoint of a trial whose result has the best value of a metric.

        Args:
            trial: The trial.
            metric: A metric's name; `training_iteration` where nobody knows one.
            mode: `"min"` or `"max"`.

        Returns:
            The checkpoint, None if the trial has none.

        Raises:
            ConfigError: There is no such trial, or the mode is none.
            ResultError: None of the checkpoints has a number for the metric.
        """
        metric = metric or self.default_metric or TRAINING_ITERATION
        metric, mode = self._objective("get_best_checkpoint", metric, mode)
        result = self._result_of(trial)
        return result.get_best_checkpoint(metric, mode) if result.best_checkpoints else None

    def get_last_checkpoint(
        self,
        trial: Trial | str | os.PathLike[str] | None = None,
        metric: str = TRAINING_ITERATION,
        mode: str = "max",
    ) -> Checkpoint | None:
        """The latest checkpoint of a trial, None if it has none.

        Args:
            trial: The trial; without it the one that is best by `metric`, the one that has come
                farthest if nothing is given.
            metric: A metric's name.
            mode: `"min"` or `"max"`.
        """
        chosen = self._best("get_last_checkpoint", metric, mode) if trial is None else trial
        return self._result_of(chosen).checkpoint

    def get_trial_checkpoints_paths(
        self, trial: Trial | str | os.PathLike[str], metric: str | None = None
    ) -> list[tuple[str, Any]]:
        """The folders of a trial's checkpoints, each with the value that a metric had then.

        Args:
            trial: The trial.
            metric: A metric's name; without one `training_iteration`. The value is None where it
                was not reported.
        """
        metric = metric or self.default_metric or TRAINING_ITERATION
        checkpoints = self._result_of(trial).best_checkpoints
        return [(checkpoint.path, lookup(row, metric)) for checkpoint, row in checkpoints]

    def stats(self) -> dict[str, Any]:
        """`start_time` and `timestamp`: Unix times of its begin and of what happened last.

        Of a folder of `ray.tune`, what its `experiment_state-….json` says; where that has no
        `timestamp`, it is the newest result's.
        """
        return dict(self._stats)

    def runner_data(self) -> dict[str, Any]:
        """What `experiment.json` says about the run: versions, seed, configs.

        Of a folder of `ray.tune`, what its `experiment_state-….json` says about its runner.
        """
        return dict(self._description)

    def __getstate__(self) -> dict[str, Any]:
        storages = [trial.storage for trial in self.trials]  # a pickled trial is without it
        return {**self.__dict__, "storages": storages}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for trial, storage in zip(state["trials"], state.pop("storages"), strict=True):
            trial.storage = storage
        self.__dict__.update(state)

    def __repr__(self) -> str:
        statuses = [trial.status for trial in self.trials]
        return (
            f"ExperimentAnalysis({len(statuses)} trials, {statuses.count(TERMINATED)} terminated, "
            f"{statuses.count(ERROR)} errors, experiment_path={self.experiment_path!r})"
        )

    @cached_property
    def _grid(self) -> ResultGrid:
        return ResultGrid(
            self._results.values(),
            experiment_path=self.experiment_path,
            filesystem=self._filesystem,
        )

    @property
    def _folders(self) -> dict[str, str]:
        return {trial_id: result.path for trial_id, result in self._results.items()}

    def _best(
        self,
        caller: str,
        metric: str | None = None,
        mode: str | None = None,
        scope: Scope = "last",
        filter_nan_and_inf: bool = True,
    ) -> Trial:
        """The best trial, for the method or the property that was called."""
        metric, mode = self._objective(caller, metric, mode)
        check_scope(caller, scope)
        results = [*self._results.values()]
        best = best_result(results, metric, mode, scope, filter_nan_and_inf)
        return self.trials[results.index(best)]

    def _objective(self, caller: str, metric: str | None, mode: str | None) -> tuple[str, str]:
        """The metric and the mode that a method is to use."""
        if mode is not None:
            check_mode(caller, "mode", mode)
        metric = metric or self.default_metric
        if metric is None:
            names = ", ".join(map(repr, self._objectives))
            fix = "set default_metric, or pass a metric to a method"
            raise ConfigError(
                f"{caller}: metric=None, and the experiment has {names or 'none'}; {fix}"
            )
        known = self._objectives.get(metric) or self.default_mode
        return metric, mode or self._default_mode or known or _DEFAULT_MODE

    def _result_of(self, trial: Trial | str | os.PathLike[str]) -> Result:
        key = getattr(trial, "trial_id", trial)
        if isinstance(key, str | os.PathLike):
            key = os.fspath(key).rstrip("/")
            if key in self._results:
                return self._results[key]
            paths = {key, locate(key)[1]}
            for result in self._results.values():
                if result.path in paths or os.path.basename(result.path) == key:
                    return result
        raise ConfigError(
            f"trial={shorten(key)}: {self.experiment_path} has no trial of this id or folder; "
            f"give a trial of `trials`, such as {shorten([*self._results][:3])}"
        )


def _frame_by_id(results: dict[str, dict[str, Any]]) -> pandas.DataFrame:
    """A row per result, whose index are the trials' ids."""
    import pandas

    rows = {trial_id: flatten(result) for trial_id, result in results.items()}
    frame = to_frame(rows.values())
    frame.index = pandas.Index([*rows], name="trial_id")
    return frame.drop(columns="trial_id", errors="ignore")
