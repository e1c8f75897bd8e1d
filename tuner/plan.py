"""What a run is going to do: the user's configs turned into parts, before any file is written."""

from __future__ import annotations

import dataclasses
import random
import secrets
import sys
from dataclasses import dataclass
from typing import Any

from tuner.config import RunConfig, TuneConfig
from tuner.console.status import ExperimentInfo
from tuner.description import describe, pickled
from tuner.errors import ConfigError
from tuner.execution import ray_cluster
from tuner.execution.executor import TrialExecutor
from tuner.experiment.retention import Retention
from tuner.experiment.spec import ExperimentSpec, least_limit
from tuner.objective import Objective
from tuner.policies import build_scheduler, build_searcher
from tuner.schedulers.scheduler import TrialScheduler
from tuner.search.searcher import Searcher
from tuner.search_space.variants import SearchSpace
from tuner.stoppers.limits import Limits
from tuner.trainable.trainable import can_be_saved, is_trainable_class
from tuner.trainable.wrappers import resources_for, resources_vary
from tuner.validation import reject
from tuner.version import __version__


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything about a run that does not depend on where its files go.

    Attributes:
        trainable: What is trained.
        trainable_name: What trials are called after.
        param_space: The search space.
        tune_config: What is searched for, and how.
        run_config: When trials end, what happens on errors, what is recorded.
        seed: From which every random choice derives.
        id_prefix: What every trial id begins with.
        searcher: Proposes configurations.
        scheduler: Decides on results.
        stopper: Ends trials and the experiment.
        executor: Runs trials.
        objective: What is optimized.
        content: The pickled parts of it that a restore needs.
    """

    trainable: Any
    trainable_name: str
    param_space: SearchSpace
    tune_config: TuneConfig
    run_config: RunConfig
    seed: int
    id_prefix: str
    searcher: Searcher
    scheduler: TrialScheduler
    stopper: Limits
    executor: TrialExecutor
    objective: Objective
    content: bytes

    @property
    def total_trials(self) -> int | None:
        """How many trials there will be, None if there is no limit."""
        return self.searcher.total_samples(self.tune_config.num_samples)

    @property
    def retention(self) -> Retention:
        """Which checkpoints are kept."""
        config = self.run_config.checkpoint_config
        return Retention(
            config.num_to_keep, config.checkpoint_score_attribute, config.checkpoint_score_order
        )

    def spec(self, path: str, taken_dirnames: frozenset[str]) -> ExperimentSpec:
        """What the state machine needs to know.

        Args:
            path: The experiment's folder.
            taken_dirnames: What lies in it already.
        """
        failure_config = self.run_config.failure_config
        return ExperimentSpec(
            path=path,
            trainable_name=self.trainable_name,
            param_space=self.param_space,
            id_prefix=self.id_prefix,
            seed=self.seed,
            num_trials=self.total_trials,
            max_running=least_limit(self.tune_config.max_concurrent_trials, self._most_running()),
            most_running=self._most_running(),
            max_failures=failure_config.max_failures,
            fail_fast=bool(failure_config.fail_fast),
            checkpoint_at_end=bool(self.run_config.checkpoint_config.checkpoint_at_end),
            saves_when_told=can_be_saved(self.trainable),
            bundles_for=lambda config: resources_for(self.trainable, config).bundles,
            strategy_for=lambda config: resources_for(self.trainable, config).strategy,
            bundles_vary=resources_vary(self.trainable),
            name_creator=self.tune_config.trial_name_creator,
            dirname_creator=self.tune_config.trial_dirname_creator,
            taken_dirnames=taken_dirnames,
        )

    def info(
        self,
        name: str,
        path: str,
        start_time: float,
        total_trials: int | None,
        finished_before: int = 0,
    ) -> ExperimentInfo:
        """What the console shows of the experiment.

        Args:
            name: The experiment's name.
            path: Its folder.
            start_time: Unix time in seconds.
            total_trials: How many trials there will be, None if there is no limit.
            finished_before: How many had ended before a restore.
        """
        metric, mode = self.objective.metric, self.objective.mode
        return ExperimentInfo(
            name=name,
            path=path,
            metric=metric if isinstance(metric, str) else None,
            mode=mode if isinstance(mode, str) else None,
            total_trials=total_trials,
            scheduler_name=type(self.scheduler).__name__,
            searcher_name=type(self.searcher).__name__,
            start_time=start_time,
            score_attribute=self.run_config.checkpoint_config.checkpoint_score_attribute,
            objectives=() if metric is None or isinstance(metric, str) else tuple(metric),
            finished_before=finished_before,
        )

    def description(self, name: str) -> dict[str, Any]:
        """The readable facts of `experiment.json`."""
        return describe(
            version=__version__,
            name=name,
            trainable=self.trainable_name,
            seed=self.seed,
            id_prefix=self.id_prefix,
            tune_config=self.tune_config,
            run_config=self.run_config,
            objective=self.objective,
        )

    def _most_running(self) -> int | None:
        return least_limit(self.searcher.max_concurrent, self.executor.max_running)


def make_plan(
    trainable: Any,
    trainable_name: str,
    param_space: dict[str, Any],
    tune_config: TuneConfig,
    run_config: RunConfig,
    *,
    seed: int | None = None,
    id_prefix: str | None = None,
) -> Plan:
    """The plan for a run, a new one or, with the seed and the prefix that it had, an old one.

    Raises:
        ConfigError, TrainableError, SearchSpaceError: something in it cannot work.
    """
    content = pickled(trainable, param_space, tune_config, run_config)  # before they are told more
    executor = _executor(run_config.executor, trainable)
    if run_config.server is not None and executor.clock.is_virtual:
        fix = "a simulation is over before anybody could steer it; leave it out"
        reject("RunConfig", "server", run_config.server, fix)
    run_config = _with_final_checkpoint(trainable, run_config)
    if seed is None:
        seed = _fresh_seed() if tune_config.seed is None else tune_config.seed
    searcher = build_searcher(tune_config, param_space, seed)
    scheduler = build_scheduler(tune_config, seed)
    return Plan(
        trainable=trainable,
        trainable_name=trainable_name,
        param_space=SearchSpace(param_space),
        tune_config=tune_config,
        run_config=run_config,
        seed=seed,
        id_prefix=id_prefix or secrets.token_hex(3)[:5],
        searcher=searcher,
        scheduler=scheduler,
        stopper=Limits(run_config.stop, tune_config.time_budget_seconds),
        executor=executor,
        objective=Objective.of(tune_config, scheduler, searcher),
        content=content,
    )


def _with_final_checkpoint(trainable: Any, run_config: RunConfig) -> RunConfig:
    """Has classes that can be saved be saved at their end, unless the user has said otherwise."""
    config = run_config.checkpoint_config
    if config.checkpoint_at_end is not None or not is_trainable_class(trainable):
        return run_config
    config = dataclasses.replace(config, checkpoint_at_end=can_be_saved(trainable))
    return dataclasses.replace(run_config, checkpoint_config=config)


def _fresh_seed() -> int:
    """A seed that is the same again where the user has seeded the global streams."""
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        return int(numpy_random.randint(2**31))
    return random.getrandbits(31)


def _executor(given: Any, trainable: Any) -> TrialExecutor:
    """The executor that `RunConfig(executor=…)` means."""
    if given == "auto":
        needs_ray = getattr(trainable, "uses_ray", False) is True
        given = "ray" if needs_ray or ray_cluster.is_wanted() else "local"
    if given == "ray":
        from tuner.execution.ray import RayExecutor

        return RayExecutor()
    if given == "local":
        from tuner.execution.local import LocalExecutor

        return LocalExecutor()
    if given == "inline":
        from tuner.execution.inline import InlineExecutor

        return InlineExecutor()
    if given == "simulated":
        from tuner.execution.simulated import SimulatedExecutor

        return SimulatedExecutor()
    if not isinstance(given, TrialExecutor):
        raise ConfigError(f"RunConfig: executor={given!r:.100} must be a name or an executor")
    return given
