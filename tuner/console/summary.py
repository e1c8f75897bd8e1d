"""The lines about the whole experiment that stand around the status table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tuner.console.columns import parameter, shorten_name
from tuner.console.memory import memory_line
from tuner.console.rows import counts_text
from tuner.console.status import ExperimentInfo, ExperimentStatus
from tuner.console.text import clean, exact, format_value, shorten
from tuner.experiment.trial import ERROR, TERMINATED, Trial
from tuner.flatten import lookup

_PARAMETERS_LENGTH = 400


def system_lines(info: ExperimentInfo, status: ExperimentStatus) -> list[str]:
    """Memory, scheduling algorithm and resources."""
    scheduler = f"Using {scheduler_name(info)} scheduling algorithm."
    resources = f"Resources requested: {resources_text(status)}"
    lines = [memory_line(), status.scheduler_debug or scheduler, resources]
    return [line for line in lines if line]


def scheduler_name(info: ExperimentInfo) -> str:
    """The scheduler's name without the word itself."""
    return info.scheduler_name.removesuffix("Scheduler") or info.scheduler_name


def resources_text(status: ExperimentStatus, *, brief: bool = False) -> str:
    """What is used of each resource, such as `"4/8 CPUs, 0/0 GPUs"`; `brief` omits the last."""
    used, total = status.used, status.total
    names = ["CPU", "GPU", *sorted((used.keys() | total.keys()) - {"CPU", "GPU"})]
    text = ", ".join(
        f"{round(used.get(name, 0), 4):g}/{round(total.get(name, 0), 4):g} "
        f"{f'{name}s' if name in ('CPU', 'GPU') else clean(name)}"
        for name in names
        if total.get(name) or not brief
    )
    return f"{text} ({status.num_waiting} wait to begin)" if status.num_waiting else text


def number_line(counts: Mapping[str, int], total: int | None) -> str:
    """How many trials there are, of how many, by status."""
    number = sum(counts.values())
    of = f"/{total}" if total and total >= number else ""
    by_status = f" ({counts_text(counts)})" if number else ""
    return f"Number of trials: {number}{of}{by_status}"


def finished(counts: Mapping[str, int]) -> int:
    """How many trials have ended, well or with an error."""
    return counts.get(TERMINATED, 0) + counts.get(ERROR, 0)


def time_left(info: ExperimentInfo, status: ExperimentStatus) -> float | None:
    """Seconds left if trials go on finishing at the same rate; None while unknown."""
    number = finished(status.counts)
    here = number - info.finished_before
    if status.total_trials is None or here <= 0 or number > status.total_trials:
        return None
    return status.elapsed_s * (status.total_trials - number) / here


def best_values(trial: Trial, metric: str | None) -> str:
    """Name, metric and parameters of the best trial, in few digits."""
    pairs = [(metric, lookup(trial.last_result, metric))] if metric else []
    pairs += trial.evaluated_params.items()
    values = ", ".join(f"{clean(name)}={format_value(value, 4)}" for name, value in pairs)
    return f"{shorten_name(trial)}: {shorten(values, _PARAMETERS_LENGTH)}"


def best_line(
    trial: Trial, metric: str | None, parameter_names: Iterable[str] | None = None
) -> str:
    """Name, metric and parameters of the best trial."""
    names = list(parameter_names or trial.evaluated_params)
    inside = ", ".join(f"{name!r}: {exact(parameter(trial, name))}" for name in names)
    parameters = f"parameters={{{shorten(clean(inside), _PARAMETERS_LENGTH)}}}"
    value = f"{clean(metric)}={exact(lookup(trial.last_result, metric))} and " if metric else ""
    return f"{shorten_name(trial)} with {value}{parameters}"
