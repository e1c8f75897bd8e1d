"""What became of one trial."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from tuner.checkpoint import Checkpoint
from tuner.errors import ConfigError, ResultError, TrialError
from tuner.filesystems import join, local_filesystem, resolve
from tuner.flatten import flatten, lookup
from tuner.metrics import as_number
from tuner.result_fields import AUTOFILLED
from tuner.result_fields import SHOULD_CHECKPOINT as SHOULD_CHECKPOINT  # where ray.tune has it
from tuner.tables import to_frame
from tuner.trial_folder import TrialFolder, without_superseded
from tuner.validation import check_mode, did_you_mean, shorten

if TYPE_CHECKING:
    import pandas

    from tuner.filesystems import FileSystem

Scope = Literal["last", "all", "avg", "last-5-avg", "last-10-avg"]


_NOT_SHOWN = (AUTOFILLED | {"config", "experiment_tag"}) - {"training_iteration"}


class Result:
    """What became of one trial: frozen; what lies in files is read when it is asked for.

    Args:
        metrics: The last result, `{}` if the trial reported nothing.
        config: The configuration that the last result was trained with.
        path: The trial's folder, on `filesystem`.
        checkpoint: The latest checkpoint.
        error: What the trial failed with, None if it did not.
        filesystem: The filesystem of `path`, None for this machine's own files.
        status: The trial's status.
        metric_analysis: For each numeric metric its `max, min, avg, last, last-5-avg,
            last-10-avg`; without it they are computed from all results when they are needed.
        checkpoints: The checkpoints that are kept, best last, each with the
            `training_iteration` that it belongs to (None: the result that names its directory).
        history: Gives all results of the trial; asked when its folder holds none.

    Attributes:
        metrics: The last result, with the configuration under `"config"`; `{}` without one.
        config: The configuration that the last result was trained with.
        path: The trial's folder, on `filesystem`; absolute if local.
        checkpoint: The latest checkpoint, None without one.
        error: A `TrialError`, None if the trial did not fail.
        status: The trial's status, such as `"TERMINATED"`.

    Example:
        >>> result = Result(
        ...     metrics={"loss": 0.25, "training_iteration": 3}, config={"lr": 0.1}, path="/exp/t1"
        ... )
        >>> result.metrics["loss"], result.config
        (0.25, {'lr': 0.1})
        >>> result
        Result(metrics={'loss': 0.25, 'training_iteration': 3}, config={'lr': 0.1}, path='/exp/t1')
    """

    metrics: dict[str, Any]
    config: dict[str, Any]
    path: str
    checkpoint: Checkpoint | None
    error: TrialError | None
    status: str
    _filesystem: FileSystem | None
    _metric_analysis: Mapping[str, Mapping[str, float]] | None
    _checkpoints: Sequence[tuple[Checkpoint, dict[str, Any] | None]]
    _load_history: Callable[[], Iterable[dict[str, Any]]] | None

    def __init__(
        self,
        *,
        metrics: dict[str, Any],
        config: dict[str, Any],
        path: str,
        checkpoint: Checkpoint | None = None,
        error: TrialError | None = None,
        filesystem: FileSystem | None = None,
        status: str = "TERMINATED",
        metric_analysis: Mapping[str, Mapping[str, float]] | None = None,
        checkpoints: Sequence[tuple[Checkpoint, dict[str, Any] | None]] = (),
        history: Callable[[], Iterable[dict[str, Any]]] | None = None,
    ) -> None:
        self.__dict__.update(
            metrics={**metrics, "config": metrics.get("config", config)} if metrics else {},
            config=config,
            path=path,
            checkpoint=checkpoint,
            error=error,
            status=status,
            _filesystem=filesystem,
            _metric_analysis=metric_analysis,
            _checkpoints=checkpoints,
            _load_history=history,
        )

    @classmethod
    def from_path(
        cls, path: str | os.PathLike[str], storage_filesystem: FileSystem | None = None
    ) -> Result:
        """Reads a trial's folder, also one that `ray.tune` wrote.

        The configuration is as readable as `params.json`: an object that JSON cannot hold is a
        string. A failure is known from `error.txt`, unless the last result says `done`.

        Args:
            path: A local path or an fsspec URL; with a filesystem, a path on it.
            storage_filesystem: An fsspec or a pyarrow filesystem.

        Raises:
            ResultError: there is no such folder, or it is not a trial's.
            StorageError: a file is damaged.
        """
        filesystem, where = resolve(path, storage_filesystem)
        folder = TrialFolder(where, filesystem)
        if not folder.exists():
            raise ResultError(f"path={os.fspath(path)!r}: there is no such trial folder")
        if not folder.is_trial():
            raise ResultError(
                f"path={os.fspath(path)!r} holds neither result.json nor progress.csv: "
                "pass the folder of a trial, not of its experiment"
            )
        given = storage_filesystem if storage_filesystem is not None else filesystem
        metrics = folder.last_result()
        text = None if metrics.get("done") is True else folder.error()
        name = where.rstrip("/").rpartition("/")[2]
        checkpoints = [Checkpoint(join(where, n), given) for n in folder.checkpoint_names()]
        return cls(
            metrics=metrics,
            config=metrics.get("config") or folder.config(),
            path=where,
            checkpoint=checkpoints[-1] if checkpoints else None,
            error=None if text is None else TrialError(metrics.get("trial_id") or name, text),
            filesystem=given,
            status="TERMINATED" if text is None else "ERROR",
            checkpoints=[(checkpoint, None) for checkpoint in checkpoints],
        )

    @property
    def filesystem(self) -> FileSystem:
        """The filesystem of `path` as it was given, else fsspec's for this machine's own files."""
        return local_filesystem() if self._filesystem is None else self._filesystem

    def history(self) -> list[dict[str, Any]]:
        """All results of the trial, oldest first, nested as they were reported.

        Read from its folder (`result.json`, else `progress.csv`), else from where the experiment
        keeps them, else the last result alone. What an attempt reported after the checkpoint
        from which the next one went on is left out.

        Raises:
            StorageError: a file is damaged.
        """
        filesystem, path = resolve(self.path, self._filesystem)
        rows = TrialFolder(path, filesystem).results()
        if rows is not None:
            return rows
        if self._load_history is not None:
            return without_superseded(self._load_history())
        return [self.metrics] if self.metrics else []

    @cached_property
    def metrics_dataframe(self) -> pandas.DataFrame:
        """All results as a frame: a row per report, nested keys joined by `/`.

        Raises:
            StorageError: a file is damaged.
        """
        return to_frame(flatten(row) for row in self.history())

    @cached_property
    def best_checkpoints(self) -> list[tuple[Checkpoint, dict[str, Any]]]:
        """The checkpoints that are kept, each with the result it belongs to.

        The best is the last one where `CheckpointConfig(checkpoint_score_attribute=)` says what is
        better; otherwise they are in order of age, oldest first.

        Raises:
            StorageError: a file is damaged.
        """
        by_name: dict[str, dict[str, Any]] = {}
        if any(row is None for _, row in self._checkpoints):
            filesystem, path = resolve(self.path, self._filesystem)
            rows = TrialFolder(path, filesystem).rows() or []
            by_name = {row.get("checkpoint_dir_name", ""): row for row in rows}
        return [
            (
                each,
                by_name.get(each.path.rstrip("/").rpartition("/")[2], {}) if row is None else row,
            )
            for each, row in self._checkpoints
        ]

    def get_best_checkpoint(self, metric: str, mode: str) -> Checkpoint:
        """The checkpoint whose result has the best value of a metric; NaN is never the best.

        Args:
            metric: A metric's name, `a/b` for a nested one.
            mode: `"min"` or `"max"`.

        Raises:
            ConfigError: the mode is neither.
            ResultError: there is no checkpoint, or none has a number for the metric.
        """
        check_mode("get_best_checkpoint", "mode", mode)
        if not self.best_checkpoints:
            raise ResultError(
                f"trial folder {self.path!r} has no checkpoint: "
                "report one, as in tune.report(metrics, checkpoint=...)"
            )
        scored = []
        for checkpoint, row in self.best_checkpoints:
            number = as_number(lookup(row, metric))
            if number is not None and not math.isnan(number):
                scored.append((number, checkpoint))
        if not scored:
            names = metric_names([row for _, row in self.best_checkpoints])
            raise ResultError(
                f"metric={metric!r}: no checkpoint in {self.path!r} was reported with a number "
                f"for it, only with {shorten(names, 300)}{did_you_mean(metric, names)}"
            )
        best = min if mode == "min" else max
        return best(scored, key=lambda pair: pair[0])[1]

    def score(self, metric: str, *, mode: str, scope: Scope = "last") -> float | None:
        """What a comparison of trials by `metric` compares.

        Args:
            metric: A metric's name, `a/b` for a nested one.
            mode: `"min"` or `"max"`; with the scope `"all"` the score is the smallest or the
                largest value that was ever reported.
            scope: `"all"`, `"last"`, or the mean of the values: `"avg"` (all), `"last-5-avg"`,
                `"last-10-avg"`.

        Returns:
            The score, None if the trial never reported a number for the metric.
        """
        analysis = self._metric_analysis
        key = mode if scope == "all" else scope
        if analysis is not None and metric in analysis:
            return analysis[metric][key]
        last = as_number(lookup(self.metrics, metric))
        if last is not None and scope == "last":
            return last
        if last is None and analysis is not None:
            return None
        values = [as_number(lookup(row, metric)) for row in self.history()]
        return _summary([value for value in values if value is not None], key)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"Result is frozen: {name!r} cannot be set")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"Result is frozen: {name!r} cannot be deleted")

    def __repr__(self) -> str:
        shown = {name: value for name, value in self.metrics.items() if name not in _NOT_SHOWN}
        parts = [
            f"metrics={shorten(shown, 200)}",
            f"config={shorten(self.config, 200)}",
            f"path={self.path!r}",
        ]
        if self.checkpoint is not None:
            parts.append(f"checkpoint={self.checkpoint.path.rpartition('/')[2]!r}")
        if self.error is not None:
            last_line = self.error.traceback.strip().rpartition("\n")[2]
            parts.append(f"error={shorten(last_line, 120)}")
        return f"Result({', '.join(parts)})"


def metric_names(rows: Iterable[dict[str, Any]]) -> list[str]:
    """The names of the numbers that users reported in `rows`, sorted, nested ones as `a/b`."""
    names = {
        name
        for row in rows
        for name, value in flatten({k: v for k, v in row.items() if k != "config"}).items()
        if name not in AUTOFILLED and as_number(value) is not None
    }
    return sorted(name for name in names if not name.startswith("config/"))


def check_scope(caller: str, scope: str) -> None:
    """Rejects what is not a scope.

    Raises:
        ConfigError: names the scopes.
    """
    scopes = Scope.__args__  # type: ignore[attr-defined]
    if scope not in scopes:
        raise ConfigError(f"{caller}(scope={scope!r}): use one of {', '.join(scopes)}")


def _summary(values: list[float], key: str) -> float | None:
    """One entry of a metric's analysis; NaN counts among the recent values only."""
    if not values:
        return None
    if key == "last":
        return values[-1]
    if key in ("last-5-avg", "last-10-avg"):
        recent = values[-5:] if key == "last-5-avg" else values[-10:]
        return sum(recent) / len(recent)
    numbers = [value for value in values if value == value]
    if not numbers:
        return math.nan
    if key == "avg":
        return sum(numbers) / len(numbers)
    return min(numbers) if key == "min" else max(numbers)
