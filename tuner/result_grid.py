"""What became of all trials of an experiment."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload

from tuner.errors import ConfigError, ResultError, TrialError
from tuner.filesystems import join, local_filesystem, read_bytes, resolve
from tuner.flatten import flatten, lookup
from tuner.layout import RESULTS_FILE
from tuner.metrics import as_number
from tuner.result import Result, Scope, check_scope, metric_names
from tuner.result_fields import ANONYMOUS_METRIC
from tuner.tables import to_frame, to_table
from tuner.validation import check_mode, did_you_mean, shorten

if TYPE_CHECKING:
    import pandas
    import pyarrow

    from tuner.filesystems import FileSystem

_EXAMINED_FOR_NAMES = 100


class ResultGrid(Sequence[Result]):
    """The results of an experiment's trials, in the order in which the trials were created.

    Args:
        results: One per trial, of any status.
        experiment_path: The experiment's folder, on `filesystem`.
        filesystem: The filesystem of the folder, None for this machine's own files.
        metric: What `get_best_result` compares if it is not told otherwise; a list of several
            objectives.
        mode: `"min"` or `"max"`, likewise; a list for several.

    Attributes:
        experiment_path: The experiment's folder, on `filesystem`.

    Example:
        >>> grid = ResultGrid(
        ...     [
        ...         Result(metrics={"loss": 0.5}, config={"lr": 1.0}, path="/exp/a"),
        ...         Result(metrics={"loss": 0.2}, config={"lr": 0.1}, path="/exp/b"),
        ...     ],
        ...     experiment_path="/exp",
        ...     metric="loss",
        ...     mode="min",
        ... )
        >>> grid.get_best_result().config
        {'lr': 0.1}
        >>> grid.get_dataframe()[["loss", "config/lr"]].values.tolist()
        [[0.5, 1.0], [0.2, 0.1]]
    """

    def __init__(
        self,
        results: Iterable[Result],
        *,
        experiment_path: str,
        filesystem: FileSystem | None = None,
        metric: str | Sequence[str] | None = None,
        mode: str | Sequence[str] | None = None,
    ) -> None:
        self._results = list(results)
        self.experiment_path = experiment_path
        self._filesystem = filesystem
        metrics = [metric] if isinstance(metric, str) else list(metric or ())
        modes = [mode] if isinstance(mode, str) else list(mode or ())
        if modes and not metrics:
            metrics = [ANONYMOUS_METRIC]
        self._modes: dict[str, str | None] = dict(itertools.zip_longest(metrics, modes))

    @property
    def filesystem(self) -> FileSystem:
        """The filesystem of `experiment_path`, fsspec's where it is this machine's own."""
        return local_filesystem() if self._filesystem is None else self._filesystem

    @property
    def errors(self) -> list[TrialError]:
        """What trials failed with."""
        return [result.error for result in self._results if result.error is not None]

    @property
    def num_errors(self) -> int:
        """How many trials failed."""
        return sum(result.status == "ERROR" for result in self._results)

    @property
    def num_terminated(self) -> int:
        """How many trials ended without an error."""
        return sum(result.status == "TERMINATED" for result in self._results)

    def get_best_result(
        self,
        metric: str | None = None,
        mode: str | None = None,
        scope: Scope = "last",
        filter_nan_and_inf: bool = True,
    ) -> Result:
        """The result of the trial with the best value of a metric; of equal ones, the first.

        Of an experiment with a single trial it is that trial's, whatever it reported.

        Args:
            metric: A metric's name, `a/b` for a nested one; the experiment's without it.
            mode: `"min"` or `"max"`; the experiment's without it.
            scope: What of a trial is compared: `"last"` value, best value of `"all"`, or the mean
                `"avg"`, `"last-5-avg"`, `"last-10-avg"`.
            filter_nan_and_inf: Whether trials with NaN or infinity are left out; otherwise NaN
                is worse than everything else.

        Raises:
            ConfigError: neither here nor in the `TuneConfig` there is a metric or a mode, or the
                mode or the scope is none.
            ResultError: no trial has a value of the metric.
        """
        if len(self._results) == 1:
            return self._results[0]
        if metric is None and len(self._modes) > 1:
            raise ConfigError(
                f"get_best_result(metric=None): the experiment has the objectives "
                f"{', '.join(map(repr, self._modes))}; name one of them, or take get_pareto_front()"
            )
        if metric is None:
            metric = next(iter(self._modes), None)
        mode = mode or self._mode_of(metric)
        if metric is None or mode is None:
            missing = "metric" if metric is None else "mode"
            raise ConfigError(
                f"get_best_result({missing}=None): pass a {missing} here or in the TuneConfig"
            )
        check_mode("get_best_result", "mode", mode)
        check_scope("get_best_result", scope)
        sign = 1.0 if mode == "max" else -1.0
        best: Result | None = None
        best_score = -math.inf
        for result in self._results:
            score = result.score(metric, mode=mode, scope=scope)
            if score is None or (filter_nan_and_inf and not math.isfinite(score)):
                continue
            score = -math.inf if score != score else sign * score
            if best is None or score > best_score:
                best, best_score = result, score
        if best is None:
            raise self._no_best(metric, mode, scope)
        return best

    def get_pareto_front(
        self, metrics: Sequence[str] | None = None, modes: Sequence[str] | None = None
    ) -> list[Result]:
        """The results that no other one beats in all objectives, in the order of their trials.

        Trials' last results are compared; one that lacks a finite number for an objective is left
        out.

        Args:
            metrics: Names of the objectives; the experiment's without it.
            modes: `"min"` or `"max"` for each; the experiment's without it.

        Raises:
            ConfigError: Neither here nor in the `TuneConfig` there are several, or a mode is
                missing.

        Example:
            >>> values = [{"error": 0.1, "size": 9}, {"error": 0.3, "size": 2}]
            >>> values += [{"error": 0.2, "size": 9}]
            >>> grid = ResultGrid(
            ...     [Result(metrics=each, config={}, path="/exp") for each in values],
            ...     experiment_path="/exp",
            ...     metric=["error", "size"],
            ...     mode=["min", "min"],
            ... )
            >>> [result.metrics["error"] for result in grid.get_pareto_front()]
            [0.1, 0.3]
        """
        from tuner.pareto import pareto_front

        metrics = [metrics] if isinstance(metrics, str) else metrics
        names = [*self._modes] if metrics is None else list(metrics)
        wanted = [*map(self._mode_of, names)] if modes is None else list(modes)
        if len(names) < 2 or len(names) != len(wanted) or None in wanted:
            raise ConfigError(
                f"get_pareto_front(metrics={names}, modes={wanted}): name several metrics and a "
                "mode for each, here or in the TuneConfig"
            )
        for mode in wanted:
            check_mode("get_pareto_front", "modes", mode)
        compared: list[Result] = []
        losses: list[list[float]] = []
        for result in self._results:
            values = [as_number(lookup(result.metrics or {}, name)) for name in names]
            if all(value is not None and math.isfinite(value) for value in values):
                compared.append(result)
                pairs = zip(values, wanted, strict=True)
                losses.append([float(v or 0) * (-1 if mode == "max" else 1) for v, mode in pairs])
        return [compared[index] for index in pareto_front(losses)]

    def get_dataframe(
        self, filter_metric: str | None = None, filter_mode: str | None = None
    ) -> pandas.DataFrame:
        """A row per trial that reported something: its last result, or its best.

        The columns are the keys of the results, nested ones as `a/b`, the configuration's as
        `config/<name>`, and `logdir`, the trial's folder.

        Args:
            filter_metric: With it, the row is the result in which this metric was best; the last
                one where the trial never reported a number for it.
            filter_mode: `"min"` or `"max"`; the experiment's without it.

        Raises:
            ConfigError: a metric without a mode, a mode without a metric, or no such mode.
            StorageError: a trial's file is damaged.
        """
        if filter_metric is None and filter_mode is not None:
            raise ConfigError(
                f"get_dataframe(filter_mode={filter_mode!r}): pass the filter_metric, too"
            )
        if filter_metric is None:
            rows = ((result, result.metrics) for result in self._results)
        else:
            mode = filter_mode or self._mode_of(filter_metric)
            if mode is None:
                raise ConfigError(
                    f"get_dataframe(filter_metric={filter_metric!r}): "
                    "pass filter_mode='min' or filter_mode='max', too"
                )
            check_mode("get_dataframe", "filter_mode", mode)
            rows = ((result, _best_row(result, filter_metric, mode)) for result in self._results)
        return to_frame(
            {**_flat_row(result, row), "logdir": result.path} for result, row in rows if row
        )

    def to_arrow(self) -> pyarrow.Table:
        """All results of all trials as one table: a row per report.

        The columns are the keys of the results, nested ones as `a/b`, and the configuration's as
        `config/<name>`. It is read from the experiment's `results.parquet`; without that file it
        is built from the files of the trials.

        Raises:
            StorageError: a trial's file is damaged.
        """
        import pyarrow
        import pyarrow.parquet

        filesystem, folder = resolve(self.experiment_path, self._filesystem)
        content = read_bytes(filesystem, join(folder, RESULTS_FILE))
        if content is not None:
            return pyarrow.parquet.read_table(pyarrow.BufferReader(content))
        return to_table(
            _flat_row(result, row) for result in self._results for row in result.history()
        )

    def __len__(self) -> int:
        return len(self._results)

    @overload
    def __getitem__(self, index: int) -> Result: ...

    @overload
    def __getitem__(self, index: slice) -> list[Result]: ...

    def __getitem__(self, index: int | slice) -> Result | list[Result]:
        return self._results[index]

    def __iter__(self) -> Iterator[Result]:
        return iter(self._results)

    def __repr__(self) -> str:
        return (
            f"ResultGrid({len(self)} trials, {self.num_terminated} terminated, "
            f"{self.num_errors} errors, experiment_path={self.experiment_path!r})"
        )

    def _mode_of(self, metric: str | None) -> str | None:
        """The mode of an objective; of another metric that of the only objective."""
        if metric in self._modes:
            return self._modes[metric]
        return next(iter(self._modes.values())) if len(self._modes) == 1 else None

    def _no_best(self, metric: str, mode: str, scope: Scope) -> ResultError:
        if not self._results:
            return ResultError(f"metric={metric!r}: the experiment has no trials to compare")
        scores = (result.score(metric, mode=mode, scope=scope) for result in self._results)
        if any(score is not None for score in scores):
            return ResultError(
                f"metric={metric!r}: it is NaN or infinite in all trials that reported it; "
                "pass filter_nan_and_inf=False to compare them nevertheless"
            )
        reported = (result.metrics for result in self._results if result.metrics)
        names = metric_names(itertools.islice(reported, _EXAMINED_FOR_NAMES))
        return ResultError(
            f"metric={metric!r}: no trial reported a number for it, only for "
            f"{shorten(names, 300)}; name one of these{did_you_mean(metric, names)}"
        )


def _best_row(result: Result, metric: str, mode: str) -> dict[str, Any]:
    """The trial's result in which the metric was best, else the last one, `{}` without any."""
    rows = result.history()
    scored = []
    for row in rows:
        number = as_number(lookup(row, metric))
        if number is not None and not math.isnan(number):
            scored.append((number, row))
    if not scored:
        return rows[-1] if rows else {}
    best = min if mode == "min" else max
    return best(scored, key=lambda pair: pair[0])[1]


def _flat_row(result: Result, row: dict[str, Any]) -> dict[str, Any]:
    flat = dict(flatten(row))
    if result.config:
        flat.update(flatten({"config": result.config}))
    else:
        flat.pop("config", None)
    return flat
