"""How experiments of the older APIs are run: what is not of a single experiment."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tuner.config import ResumeConfig
from tuner.legacy.deprecation import warn_once
from tuner.legacy.error_names import named_as
from tuner.legacy.hpo_scheduler import HyperOptScheduler
from tuner.server.config import ServerConfig
from tuner.validation import check_flag, reject


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What `tune.run` and `run_experiments` take beside what an `Experiment` holds.

    Attributes:
        owner: What the user called with them.
        metric: What is optimized.
        mode: `"min"` or `"max"`.
        scheduler: Decides which trials go on; a scheduler or its name.
        search_alg: Proposes configurations; a searcher or its name.
        max_concurrent_trials: How many trials run at once.
        reuse_actors: Whether a worker process takes trial after trial.
        seed: Makes everything draw the same numbers in every run.
        callbacks: Callbacks, called in this order.
        progress_reporter: Shows progress.
        verbose: 0 silent to 3 every result; None for the default.
        fail_fast: Whether the first failure ends the experiment.
        resume: Whether an experiment of this name goes on.
        resume_config: Which of its trials do.
        raise_on_failed_trial: Whether failed trials raise in the end.
        executor: Where trials run.
        server: A `ServerConfig`, None for no server.
    """

    owner: str
    metric: str | Sequence[str] | None = None
    mode: str | Sequence[str] | None = None
    scheduler: Any = None
    search_alg: Any = None
    max_concurrent_trials: int | None = None
    reuse_actors: bool = False
    seed: int | None = None
    callbacks: Sequence[Any] | None = None
    progress_reporter: Any = None
    verbose: int | None = None
    fail_fast: bool | str = False
    resume: bool | str | None = None
    resume_config: ResumeConfig | None = None
    raise_on_failed_trial: bool = True
    executor: Any = "auto"
    server: ServerConfig | None = None

    def __contains__(self, name: str) -> bool:
        """Whether an argument is one of these, and not of an `Experiment`."""
        return name in {field.name for field in dataclasses.fields(self)}

    def for_space(self, config: Any) -> tuple[RunOptions, Any]:
        """The options and the search space of an experiment, where its scheduler is a searcher.

        Args:
            config: The experiment's configuration.

        Raises:
            ConfigError: There is another searcher beside it.
        """
        if not isinstance(self.scheduler, HyperOptScheduler):
            return self, config
        if self.search_alg is not None:
            fix = "give scheduler=HyperOptScheduler(…) alone, which is a searcher"
            reject(self.owner, "search_alg", self.search_alg, fix)
        searcher, param_space = self.scheduler.as_searcher(config or {})
        return dataclasses.replace(self, scheduler=None, search_alg=searcher), param_space


def run_options(
    owner: str,
    *,
    with_server: bool | None = None,
    server_port: int | None = None,
    queue_trials: bool = False,
    trial_executor: Any = None,
    ray_auto_init: bool | None = None,
    server: Any = None,
    executor: Any = "auto",
    raise_on_failed_trial: bool = True,
    callbacks: Any = None,
    **others: Any,
) -> RunOptions:
    """The options that the arguments mean.

    Args:
        owner: What the user called with them.
        with_server: Whether the experiment can be steered over HTTP; None for not.
        server_port: Where, then.
        queue_trials: Trials wait for resources anyway.
        trial_executor: The `executor`.
        ray_auto_init: Ray is started by executors that need it.
        server: Today's form of the first two.
        executor: Where trials run.
        raise_on_failed_trial: Whether failed trials raise in the end.
        callbacks: Callbacks.
        **others: Fields of `RunOptions`.

    Raises:
        ConfigError: One contradicts another.
    """
    check_flag(owner, "raise_on_failed_trial", raise_on_failed_trial)
    check_flag(owner, "queue_trials", queue_trials)
    if not isinstance(callbacks, list | tuple | None):
        fix = "use a list, also for a single callback: [callback]"
        reject(owner, "callbacks", callbacks, fix)
    if queue_trials:
        warn_once(f"{owner}(queue_trials=True)", because="trials wait until they fit")
    if ray_auto_init is not None:
        warn_once(f"{owner}(ray_auto_init=…)", 'executor="ray" or executor="local"')
    if trial_executor is not None:
        warn_once(f"{owner}(trial_executor=…)", "executor=…")
        if executor != "auto":
            reject(owner, "trial_executor", trial_executor, "give executor=… alone")
        executor = trial_executor
    if with_server is None:
        if server_port is not None:
            reject(owner, "server_port", server_port, "also say with_server=True")
        with_server = False
    check_flag(owner, "with_server", with_server)
    if with_server:
        if server is not None:
            reject(owner, "with_server", with_server, "give server=ServerConfig(…) alone")
        server = _server(owner, server_port)
    return RunOptions(
        owner=owner,
        callbacks=callbacks,
        server=server,
        executor=executor,
        raise_on_failed_trial=raise_on_failed_trial,
        **others,
    )


def _server(owner: str, port: int | None) -> ServerConfig:
    warn_once(f"{owner}(with_server=True)", "server=ServerConfig(port=…)")
    with named_as(owner, port="server_port"):
        return ServerConfig() if port is None else ServerConfig(port=port)
