"""The columns of the status table: which there are, what they hold, which of them fit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from numbers import Real
from typing import Any

from tuner.console.text import align_points, display_width, format_value, pad, shorten
from tuner.errors import ConfigError
from tuner.experiment.trial import Trial
from tuner.flatten import lookup
from tuner.result_fields import AUTOFILLED

KNOWN_METRICS = {"mean_accuracy": "acc", "mean_loss": "loss", "episode_reward_mean": "reward"}
"""Metrics that are always shown when they are reported, and their short names."""

_NOT_INFERRED = AUTOFILLED | {"timesteps_this_iter", "episodes_this_iter", "should_checkpoint"}
_NAME_LENGTH = 40

# What is given up first where the width does not suffice.
_NEVER, _ASKED_FOR, _FIRST_PARAMETERS, _OTHER_METRIC, _TIME, _PARAMETER, _LOC = range(7)
_NUM_FIRST_PARAMETERS = 2


@dataclass(frozen=True, slots=True)
class Column:
    """One column as text.

    Attributes:
        header: Its title.
        cells: One text per row.
        right: Whether it holds numbers, which stand at the right.
        expendable: How soon it is left out where the width does not suffice; 0 is never.
    """

    header: str
    cells: list[str]
    right: bool = False
    expendable: int = _NEVER

    @property
    def width(self) -> int:
        """Terminal columns that it takes."""
        return max(map(display_width, (self.header, *self.cells)))

    def lines(self) -> list[str]:
        """Title and cells, all filled with blanks to the same width."""
        width = self.width
        return [pad(text, width, right=self.right) for text in (self.header, *self.cells)]


class ColumnChooser:
    """Chooses the columns for a set of trials; metrics once shown stay.

    Args:
        metrics: Names and titles of the metrics to show, None to choose them.
        parameters: Names and titles of the parameters to show, None for all.
        metric: The metric that is tuned, always shown.
        infer_limit: How many other metrics to choose.
        max_length: Longest title or value, in characters.
        digits: Significant digits of numbers with a fraction.
    """

    def __init__(
        self,
        *,
        metrics: Mapping[str, str] | None = None,
        parameters: Mapping[str, str] | None = None,
        metric: str | None = None,
        infer_limit: int = 3,
        max_length: int = 20,
        digits: int = 6,
    ) -> None:
        self.metrics = metrics
        self.parameters = parameters
        self.metric = metric
        self._infer_limit = infer_limit
        self._max_length = max_length
        self._digits = digits
        self._inferred: dict[str, str] = {}
        self._added: dict[str, str] = {}

    def forget(self) -> None:
        """Forgets which metrics were chosen, as another experiment begins."""
        self._inferred = {}

    def add_metric(self, name: str, title: str) -> None:
        """Shows one more metric beside those given or chosen."""
        _refuse_twice("metric", name, self._added, self.metrics)
        if self.metrics is None:
            self._added[name] = title
        else:
            self.metrics = {**self.metrics, name: title}

    def add_parameter(self, name: str, title: str) -> None:
        """Shows a parameter; the others only if they were named too."""
        _refuse_twice("parameter", name, self.parameters)
        self.parameters = {**(self.parameters or {}), name: title}

    def columns(self, trials: Sequence[Trial]) -> list[Column]:
        """Trial name, status, loc, parameters, metrics, total time, iter and ts."""
        columns = [
            Column("Trial name", [shorten_name(trial) for trial in trials]),
            Column("status", [trial.status for trial in trials]),
            Column("loc", [loc(trial) for trial in trials], expendable=_LOC),
            *self._parameter_columns(trials),
        ]
        if self.metrics is not None:
            return columns + [
                self._metric_column(trials, name, title, _ASKED_FOR if i else _NEVER)
                for i, (name, title) in enumerate(self.metrics.items())
            ]
        self._infer(trials)
        chosen = {**self._inferred, **self._added}
        columns += [
            self._metric_column(trials, name, title, _OTHER_METRIC if i else _NEVER)
            for i, (name, title) in enumerate(chosen.items())
        ]
        columns.append(self._metric_column(trials, "time_total_s", "total time (s)", _TIME))
        columns.append(self._metric_column(trials, "training_iteration", "iter", _NEVER))
        if any(trial.last_result.get("timesteps_total") is not None for trial in trials):
            columns.append(self._metric_column(trials, "timesteps_total", "ts", _OTHER_METRIC))
        return columns

    def _parameter_columns(self, trials: Sequence[Trial]) -> list[Column]:
        names = self.parameters
        if names:
            expendable = [_ASKED_FOR] * len(names)
        else:
            names = {name: name for trial in trials for name in trial.evaluated_params}
            expendable = [_FIRST_PARAMETERS] * _NUM_FIRST_PARAMETERS + [_PARAMETER] * len(names)
        return [
            self._column(trials, title, partial(parameter, name=name), how_soon)
            for (name, title), how_soon in zip(names.items(), expendable, strict=False)
        ]

    def _metric_column(
        self, trials: Sequence[Trial], name: str, title: str, expendable: int
    ) -> Column:
        return self._column(trials, title, lambda t: lookup(t.last_result, name), expendable)

    def _column(
        self,
        trials: Sequence[Trial],
        title: str,
        value: Callable[[Trial], Any],
        expendable: int,
    ) -> Column:
        values = [value(trial) for trial in trials]
        header = shorten(format_value(title), self._max_length, keep_end=True)
        cells = [shorten(format_value(v, self._digits), self._max_length) for v in values]
        right = all(value is None or _is_number(value) for value in values)
        return Column(header, align_points(cells) if right else cells, right, expendable)

    def _infer(self, trials: Sequence[Trial]) -> None:
        for trial in trials:
            result = trial.last_result
            if self.metric and self.metric not in self._inferred:
                title = KNOWN_METRICS.get(self.metric, self.metric)
                if lookup(result, self.metric) is not None and self.metric not in AUTOFILLED:
                    self._inferred = {self.metric: title, **self._inferred}
            for name, value in result.items():
                if name not in self._inferred and self._is_shown(name, value):
                    self._inferred[name] = KNOWN_METRICS.get(name, name)

    def _is_shown(self, name: str, value: Any) -> bool:
        if not _is_number(value) or name in _NOT_INFERRED:
            return False
        if name in KNOWN_METRICS:
            return True
        chosen = self._inferred.keys() - KNOWN_METRICS.keys() - {self.metric}
        return len(chosen) < self._infer_limit


def fit(columns: list[Column], width: int | None, gap: int, edge: int = 0) -> list[Column]:
    """The columns that fit into a width, the most expendable and the last left out first.

    Args:
        columns: All columns.
        width: Terminal columns that there are, None for no limit.
        gap: Terminal columns between two columns.
        edge: Terminal columns at both sides together.
    """
    if width is None:
        return columns
    kept = list(columns)
    needed = edge + sum(column.width + gap for column in kept) - gap
    while needed > width:
        last = max(range(len(kept)), key=lambda i: (kept[i].expendable, i))
        if kept[last].expendable == _NEVER:
            break
        needed -= kept.pop(last).width + gap
    return kept


def error_columns(trials: Sequence[Trial]) -> list[Column]:
    """Trial name, number of failures and error file of failed trials."""
    return [
        Column("Trial name", [shorten_name(trial) for trial in trials]),
        Column("# failures", [str(trial.num_failures) for trial in trials], right=True),
        Column("error file", [format_value(trial.error_file) for trial in trials]),
    ]


def titles(field: str, names: Mapping[str, str] | Iterable[str] | None) -> dict[str, str] | None:
    """Names of columns with their titles, from a list or a dictionary.

    Raises:
        ConfigError: it is something else.
    """
    if names is None:
        return None
    if isinstance(names, Mapping):
        return dict(names)
    if isinstance(names, str) or not isinstance(names, Iterable):
        name = names if isinstance(names, str) else "loss"
        raise ConfigError(f"{field}={names!r} must be a list of names, such as [{name!r}]")
    return {name: name for name in names}


def parameter(trial: Trial, name: str) -> Any:
    """The value of a parameter, also of one that the search did not choose."""
    if name in trial.evaluated_params:
        return trial.evaluated_params[name]
    return lookup(trial.config, name)


def loc(trial: Trial) -> str:
    """Where a trial runs or ran last, `ip:pid`; empty before its first result."""
    result = trial.last_result
    place = result.get("node_ip") or result.get("hostname")
    return f"{format_value(place)}:{format_value(result.get('pid'))}" if place else ""


def shorten_name(trial: Trial) -> str:
    """A trial's name, of which the end is what tells trials apart."""
    return shorten(format_value(str(trial)), _NAME_LENGTH, keep_end=True)


def _refuse_twice(kind: str, name: str, *given: Mapping[str, str] | None) -> None:
    if any(names and name in names for names in given):
        raise ConfigError(f"{kind}={name!r} is already a column; give each {kind} once")


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
