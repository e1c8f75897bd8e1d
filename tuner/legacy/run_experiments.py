"""`run_experiments`: several experiments at once."""

from __future__ import annotations

import copy
import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from tuner.config import ResumeConfig
from tuner.errors import ConfigError
from tuner.execution import ray_client, ray_cluster
from tuner.execution.shared_machine import SharingExecutor
from tuner.experiment.trial import Trial
from tuner.legacy.experiment import Experiment
from tuner.legacy.known_arguments import known_arguments_only
from tuner.legacy.run_options import RunOptions, run_options
from tuner.legacy.running import raise_failed, run_experiment
from tuner.side_by_side import Group
from tuner.trainable.registry import get_trainable
from tuner.validation import reject

_OWNER = "run_experiments"


@known_arguments_only(_OWNER)
def run_experiments(
    experiments: Experiment | Mapping[str, Any] | Sequence[Experiment | Mapping[str, Any]],
    scheduler: Any = None,
    with_server: bool | None = None,
    server_port: int | None = None,
    verbose: int | None = None,
    queue_trials: bool = False,
    *,
    metric: str | Sequence[str] | None = None,
    mode: str | Sequence[str] | None = None,
    search_alg: Any = None,
    progress_reporter: Any = None,
    resume: bool | str | None = None,
    resume_config: ResumeConfig | None = None,
    reuse_actors: bool = False,
    max_concurrent_trials: int | None = None,
    fail_fast: bool | str = False,
    raise_on_failed_trial: bool = True,
    callbacks: Sequence[Any] | None = None,
    concurrent: bool = True,
    executor: Any = "auto",
    trial_executor: Any = None,
    ray_auto_init: bool | None = None,
    seed: int | None = None,
    server: Any = None,
) -> list[Trial]:
    """Runs experiments at the same time; `Tuner` is today's form for each of them.

    They share the machine or the cluster: a trial waits until it fits, whichever experiment it is
    of. They run one after the other where that is asked for, in a single process
    (`executor="inline"`), with an executor object, and when they are resumed.

    Args:
        experiments: A dictionary from names to specifications, which are arguments of
            `Experiment`; an `Experiment`; or a list of these.
        scheduler: Decides which trials go on; each experiment gets its own copy.
        with_server: Before: whether the experiments can be steered, at `server_port` and the ports
            after it.
        server_port: Before: on which port.
        verbose: 0 silent to 3 every result; None for the default.
        queue_trials: Before: whether trials wait for resources, as they always do.
        metric: Name of the reported value to optimize.
        mode: `"min"` or `"max"`.
        search_alg: Proposes configurations; each experiment gets its own copy.
        progress_reporter: Shows progress; each experiment gets its own copy.
        resume: Whether experiments of these names go on, as for `tune.run`.
        resume_config: Which trials go on, in full.
        reuse_actors: Whether a worker process takes trial after trial.
        max_concurrent_trials: How many trials of each experiment run at once.
        fail_fast: Whether the first failure ends its experiment.
        raise_on_failed_trial: Whether failed trials raise in the end.
        callbacks: Callbacks, which all experiments share and call from threads of their own.
        concurrent: Whether they run at the same time.
        executor: Where trials run.
        trial_executor: Before: `executor`.
        ray_auto_init: Before: whether Ray is started.
        seed: Makes searchers, schedulers and trials draw the same numbers in every run.
        server: A `ServerConfig`: the first experiment listens on its port, the next on the one
            after it.

    Returns:
        The trials of all experiments, with their `last_result`.

    Raises:
        ConfigError: An argument or a specification cannot work.
        TuneError: Trials failed; the results of all others are safe.

    Example:
        >>> import tempfile
        >>> from tuner import grid_search
        >>> trials = run_experiments(
        ...     {
        ...         "my_experiment": {
        ...             "run": lambda config: {"loss": config["lr"]},
        ...             "config": {"lr": grid_search([0.2, 0.4])},
        ...             "storage_path": tempfile.mkdtemp(),
        ...         }
        ...     },
        ...     verbose=0,
        ... )
        >>> [trial.last_result["loss"] for trial in trials]
        [0.2, 0.4]
    """
    given = dict(locals())
    del given["experiments"], given["concurrent"]
    options = run_options(_OWNER, **given)
    listed = _listed(experiments)
    if ray_client.is_outside(options.executor):
        inside = partial(_run_all, listed, options, concurrent)
        trials = ray_client.run_inside(inside, options.executor)
    else:
        trials = _run_all(listed, options, concurrent)
    raise_failed(trials, options)
    return trials


def _listed(experiments: Any) -> list[Experiment]:
    """The experiments, which must have names that differ."""
    listed = list(itertools.chain(*map(_experiments, _as_list(experiments))))
    if not listed:
        raise ConfigError(f"{_OWNER}(experiments={experiments!r}): give at least one")
    names = [each.name for each in listed]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(
                f"{_OWNER}: two experiments are called {name!r}: give each a name of its own"
            )
    return listed


def _as_list(experiments: Any) -> list[Any]:
    return list(experiments) if isinstance(experiments, list | tuple) else [experiments]


def _experiments(given: Any) -> list[Experiment]:
    if isinstance(given, Experiment):
        return [given]
    if isinstance(given, Mapping):
        return [Experiment.from_json(name, spec) for name, spec in given.items()]
    raise ConfigError(
        f"{_OWNER}(experiments={given!r:.80}): use a dictionary from names to specifications, "
        "an Experiment, or a list of these"
    )


def _run_all(experiments: list[Experiment], options: RunOptions, concurrent: bool) -> list[Trial]:
    if len(experiments) == 1:
        return list(run_experiment(experiments[0], options).trials)
    each = [_options_of(number, options) for number, _ in enumerate(experiments)]
    at_once = concurrent and not options.resume and options.executor in ("auto", "local", "ray")
    if at_once:
        executors = _executors(experiments, options.executor)
        each = [
            dataclasses.replace(own, executor=executor)
            for own, executor in zip(each, executors, strict=True)
        ]
    calls = [
        partial(run_experiment, experiment, own)
        for experiment, own in zip(experiments, each, strict=True)
    ]
    analyses = Group(at_once=at_once).run(calls)
    return [trial for analysis in analyses for trial in analysis.trials]


def _options_of(number: int, options: RunOptions) -> RunOptions:
    """How one of several experiments is run: with what it cannot share as its own."""
    server = options.server
    if server is not None and server.port:
        server = dataclasses.replace(server, port=server.port + number)
    return dataclasses.replace(
        options,
        scheduler=_copied("scheduler", options.scheduler),
        search_alg=_copied("search_alg", options.search_alg),
        progress_reporter=_copied("progress_reporter", options.progress_reporter),
        server=server,
    )


def _copied(field: str, value: Any) -> Any:
    try:
        return copy.deepcopy(value)
    except Exception as error:
        fix = f"each experiment needs a copy of it, which cannot be made ({error}); give its name"
        reject(_OWNER, field, value, fix)


def _executors(experiments: list[Experiment], given: str) -> list[Any]:
    """Where each of the experiments runs that are run at the same time."""
    on_ray = [
        given == "ray" or (given == "auto" and (ray_cluster.is_wanted() or _needs_ray(experiment)))
        for experiment in experiments
    ]
    if any(on_ray):
        ray_cluster.connect(None)  # once, and not in several threads
    first = SharingExecutor()
    return ["ray" if ray else SharingExecutor(first.machine) for ray in on_ray]


def _needs_ray(experiment: Experiment) -> bool:
    return getattr(get_trainable(experiment.trainable), "uses_ray", False) is True
