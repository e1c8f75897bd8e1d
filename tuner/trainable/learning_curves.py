"""Recorded learning curves as a trainable: what was trained once is run again in a simulation."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tuner.errors import TrainableError
from tuner.layout import RESULTS_FILE
from tuner.result_fields import AUTOFILLED
from tuner.search_space.constructors import grid_search

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_TRIAL, _ITERATION, _SECONDS = "trial_id", "training_iteration", "time_this_iter_s"
_CONFIG = "config/"
_NOT_REPORTED = AUTOFILLED - {"timesteps_total", "episodes_total"}


class LearningCurves:
    """The results of an experiment, which its trials yield again, each after the time it took.

    It is a trainable: a trial with `{"trial_id": …}` in its configuration yields the results of
    that recorded trial. In a simulation that takes no time, so that schedulers can be compared on
    real curves.

    Args:
        source: An experiment's `results.parquet` or the folder that it lies in, a pyarrow Table or
            a pandas frame with the same columns: `trial_id`, `training_iteration`,
            `time_this_iter_s` in seconds, metrics, and `config/<parameter>`.

    Raises:
        TrainableError: There is no such file, a column is missing, or a value in it.

    Example:
        >>> import pyarrow
        >>> curves = LearningCurves(pyarrow.table({
        ...     "trial_id": ["a", "a", "b"], "training_iteration": [1, 2, 1],
        ...     "time_this_iter_s": [2.0, 3.0, 1.5], "loss": [0.5, 0.25, 0.75],
        ...     "config/lr": [0.1, 0.1, 0.2]}))
        >>> curves.trial_ids, curves.config("b")
        (['a', 'b'], {'lr': 0.2})
        >>> list(curves({"trial_id": "a"}))
        [({'loss': 0.5}, 2.0), ({'loss': 0.25}, 3.0)]
    """

    def __init__(self, source: str | os.PathLike[str] | pa.Table | pd.DataFrame) -> None:
        self._curves: dict[str, list[tuple[dict[str, Any], float]]] = {}
        self._configs: dict[str, dict[str, Any]] = {}
        rows = _table(source).to_pylist()
        if not rows:
            raise TrainableError("LearningCurves(source=…): the table has no results")
        for row in sorted(rows, key=_iteration):
            self._add(row)
        self.trial_ids = sorted(self._curves)

    def config(self, trial_id: str) -> dict[str, Any]:
        """The configuration that a trial had, nested keys joined by `/`.

        Raises:
            TrainableError: There is no such trial.
        """
        self._check(trial_id)
        return self._configs[trial_id]

    def param_space(self) -> dict[str, Any]:
        """A search space with every recorded trial once."""
        return {_TRIAL: grid_search(self.trial_ids)}

    def __call__(self, config: dict[str, Any]) -> Iterator[tuple[dict[str, Any], float]]:
        """Yields what the trial `config["trial_id"]` reported, as (metrics, seconds)."""
        if _TRIAL not in config:
            raise TrainableError(
                "LearningCurves: the configuration has no 'trial_id'; use its param_space()"
            )
        self._check(config[_TRIAL])
        yield from self._curves[config[_TRIAL]]

    def _check(self, trial_id: str) -> None:
        if trial_id not in self._curves:
            known = ", ".join(self.trial_ids[:3])
            raise TrainableError(
                f"LearningCurves: there is no trial {trial_id!r} among the {len(self.trial_ids)} "
                f"recorded ones ({known}, …)"
            )

    def _add(self, row: dict[str, Any]) -> None:
        trial_id, seconds = row[_TRIAL], row[_SECONDS]
        if not isinstance(seconds, int | float) or not 0 <= seconds < math.inf:
            raise TrainableError(
                f"LearningCurves: {_SECONDS}={seconds!r} of trial {trial_id} must be a number of "
                "seconds >= 0"
            )
        metrics = {
            name: value
            for name, value in row.items()
            if name not in _NOT_REPORTED and not name.startswith(_CONFIG) and value is not None
        }
        self._curves.setdefault(trial_id, []).append((metrics, float(seconds)))
        if trial_id not in self._configs:
            self._configs[trial_id] = {
                name.removeprefix(_CONFIG): value
                for name, value in row.items()
                if name.startswith(_CONFIG) and value is not None
            }


def _iteration(row: dict[str, Any]) -> Any:
    iteration = row[_ITERATION]
    if not isinstance(iteration, int | float):
        raise TrainableError(
            f"LearningCurves: {_ITERATION}={iteration!r} of trial {row[_TRIAL]} must be a number"
        )
    return iteration


def _table(source: Any) -> pa.Table:
    import pyarrow as pa

    table = source
    if isinstance(source, str | os.PathLike):
        table = _read(os.fspath(source))
    elif hasattr(source, "to_parquet"):  # a pandas frame
        table = pa.Table.from_pandas(source, preserve_index=False)
    if not isinstance(table, pa.Table):
        raise TrainableError(
            f"LearningCurves(source={source!r:.100}): use the path of a {RESULTS_FILE} or of its "
            "folder, a pyarrow Table or a pandas frame"
        )
    missing = [n for n in (_TRIAL, _ITERATION, _SECONDS) if n not in table.column_names]
    if missing:
        raise TrainableError(
            f"LearningCurves(source=…): the column {missing[0]!r} is missing; there are "
            f"{json.dumps(table.column_names)}"
        )
    return table


def _read(path: str) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = os.path.expanduser(path)
    file = os.path.join(path, RESULTS_FILE) if os.path.isdir(path) else path
    try:
        return pq.read_table(file)
    except FileNotFoundError:
        raise TrainableError(
            f"LearningCurves(source={path!r}): there is no {RESULTS_FILE}; it is written when an "
            "experiment ends"
        ) from None
    except pa.ArrowInvalid as error:
        raise TrainableError(
            f"LearningCurves(source={path!r}) cannot be read as Parquet: {error}"
        ) from error
