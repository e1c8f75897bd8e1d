"""Runs an experiment in its folder: a new one, or one that is restored."""

from __future__ import annotations

import logging
import math
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from tuner import failpoints, side_by_side
from tuner.assignments import AssignmentFactory, log_files
from tuner.callbacks.callback import Callback
from tuner.callbacks.dispatch import CallbackDispatch
from tuner.callbacks.logger import LoggerCallback
from tuner.config import ResumeConfig
from tuner.console.console import Console
from tuner.controller import Controller, Parts
from tuner.experiment.commands import Command
from tuner.experiment.events import ExperimentChanged, Fact
from tuner.experiment.journal_segments import Position
from tuner.experiment.journal_writer import JournalWriter
from tuner.experiment.snapshots import (
    Snapshot,
    SnapshotWriter,
    random_state,
    set_random_state,
)
from tuner.experiment.state import ExperimentState
from tuner.experiment.trial_table import TrialTable
from tuner.failpoints import Failpoint
from tuner.garbage import few_collections
from tuner.gathering import gather
from tuner.plan import Plan
from tuner.rebuilding import complete_checkpoints, give_objects, rebuild
from tuner.recording.bookmarks import drop_beyond
from tuner.recording.defaults import split_callbacks
from tuner.recording.process import RecorderProcess
from tuner.result_grid import ResultGrid
from tuner.storage.home import Home
from tuner.storage.staging import lacks
from tuner.storage.storage import Storage
from tuner.stored_run import StoredRun
from tuner.version import __version__

if TYPE_CHECKING:
    from tuner.server.process import ServerProcess

logger = logging.getLogger(__name__)

RECORDING_TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True)
class Changes:
    """Limits that a restore gives to an experiment; None leaves one as it is.

    Attributes:
        num_samples: How often the search space is sampled, all runs together.
        stop: When trials end.
        time_budget_s: Seconds for the experiment, all runs together.
        max_concurrent_trials: How many trials run at once, 0 for no limit but resources.
    """

    num_samples: int | None = None
    stop: Any = None
    time_budget_s: float | None = None
    max_concurrent_trials: int | None = None

    def fact(self, now: float) -> ExperimentChanged | None:
        """The fact that they hold from now on, None if nothing changes."""
        if self == Changes():
            return None
        return ExperimentChanged(
            time=now,
            num_samples=self.num_samples,
            stop=self.stop,
            time_budget_s=self.time_budget_s,
            max_concurrent_trials=self.max_concurrent_trials,
        )


def run_new(plan: Plan, home: Home) -> ResultGrid:
    """Runs a new experiment to its end, and waits for its files to be complete."""
    path = home.path
    _check_mlflow(plan, path)
    spec = plan.spec(path, home.entries())
    table = TrialTable(path, plan.retention, home.storage)
    state = ExperimentState(spec, table, plan.searcher, plan.scheduler, plan.stopper)
    moved = home.begin(plan.content)
    journal = _journal(plan, home)
    moved += home.describe(plan.description(os.path.basename(path)))
    plan.executor.clock.begin(0.0)
    run = _Run(plan, home, state, journal, _listen(plan, state))
    for each in moved:
        run.console.message(f"An earlier run of this name is kept in {each}")
    return run.to_end(lambda now: state.start(now, __version__))


def run_restored(
    plan: Plan,
    home: Home,
    stored: StoredRun,
    resume_config: ResumeConfig,
    changes: Changes,
) -> ResultGrid:
    """Goes on with an experiment to its end, and waits for its files to be complete."""
    _check_mlflow(plan, home.path)
    home.resume(stored.id_prefix)
    taken = home.entries(stored.id_prefix)
    rebuilt = rebuild(
        plan, home.path, home.storage, taken, stored.random_state, partial(_listen, plan)
    )
    state = rebuilt.state
    failpoints.reach(Failpoint.REBUILT)
    launched = [trial.dirname for trial in state.trials if trial.attempt]
    home.remove_strays(stored.id_prefix, launched)
    elsewhere = home.without_files(launched)
    complete_checkpoints(state.table)
    set_random_state(rebuilt.random_state)
    drop_beyond(home.path, rebuilt.position.seq)
    journal = _journal(plan, home, after=rebuilt.position)
    assert rebuilt.callbacks is not None
    plan.executor.clock.begin(rebuilt.time)
    run = _Run(plan, home, state, journal, rebuilt.callbacks, replayed_bytes=rebuilt.replayed_bytes)
    failpoints.reach(Failpoint.RESUMED)

    def opening(now: float) -> tuple[list[Fact], list[Command]]:
        resumed = state.resume(
            now,
            __version__,
            resume_config,
            changes.fact(now),
            can_be_steered=plan.run_config.server is not None,
        )
        give_objects(state.table, plan.param_space)
        going_on = (trial.dirname for trial in state.trials if not trial.is_finished())
        home.fetch_files(dirname for dirname in going_on if dirname in elsewhere)
        return resumed

    return run.to_end(opening)


def stored_results(plan: Plan, stored: StoredRun, path: str, storage: Storage | None) -> ResultGrid:
    """The results in an experiment's folder as they are; nothing is run or changed.

    Args:
        plan: The run as it was planned.
        stored: What is stored of it.
        path: The folder on this machine.
        storage: The folder on remote storage, None without one.
    """
    rebuilt = rebuild(plan, path, storage, frozenset(), stored.random_state)
    if storage is not None and lacks(storage, path, rebuilt.position.seq):
        storage = None
    return _gathered(plan, rebuilt.state, storage)


class _Run:
    """What is around an experiment's state while it runs."""

    def __init__(
        self,
        plan: Plan,
        home: Home,
        state: ExperimentState,
        journal: JournalWriter,
        callbacks: CallbackDispatch,
        *,
        replayed_bytes: int = 0,
    ) -> None:
        config, path = plan.run_config, home.path
        name = os.path.basename(path)
        outputs = log_files(config.log_to_file)
        verbose = 1 if config.verbose is None else config.verbose
        self.callbacks = callbacks
        group = side_by_side.group()
        is_alone = group is None or not group.at_once
        self.console = Console(
            verbose,
            config.progress_reporter,
            live=is_alone and plan.executor.max_running != 1,
        )
        self._plan = plan
        self._home = home
        self._uploads = home.upload_plan(config.sync_config, outputs or ())
        self._state = state
        self._journal = journal
        _, loggers = _callbacks(plan)
        environ = _mlflow_variables(config.callbacks or [])
        self._recorder = RecorderProcess(path, loggers, self._uploads, plan.retention, environ)
        snapshots = SnapshotWriter(
            path,
            self._snapshot,
            replayed_bytes=replayed_bytes,
            always=self.callbacks.keeps_state,
        )
        self._controller = Controller(
            Parts(
                state=state,
                executor=plan.executor,
                journal=journal,
                callbacks=self.callbacks,
                console=self.console,
                assignments=AssignmentFactory(
                    experiment_name=name,
                    seed=plan.seed,
                    checkpoint_config=config.checkpoint_config,
                    log_to_file=outputs,
                    keep_workers=plan.tune_config.reuse_actors,
                    upload_timeout_s=config.sync_config.sync_timeout,
                    lease=self._uploads.lease if self._uploads else None,
                    environ=environ,
                ),
                info=plan.info(
                    name,
                    home.url,
                    plan.executor.clock.now(),
                    state.num_trials,
                    finished_before=sum(trial.is_finished() for trial in state.trials),
                ),
                snapshots=snapshots,
                recorder=self._recorder,
                modules=home.modules,
                server=_server(plan, path, name),
            ),
            plan.trainable,
        )

    def to_end(self, opening: Callable[[float], tuple[list[Fact], list[Command]]]) -> ResultGrid:
        timeout_s = RECORDING_TIMEOUT_S
        if self._uploads is not None:
            timeout_s += 2 * self._uploads.config.sync_timeout
        is_virtual = self._plan.executor.clock.is_virtual
        with few_collections() if is_virtual else nullcontext():
            self._recorder.start()
            try:
                self._controller.run(opening)
            finally:
                for message in self._recorder.finish(timeout_s):
                    logger.error("%s", message)
                num_facts, dirnames = self._journal.position.seq, self._state.table.dirnames
                storage = self._home.complete(self._uploads, num_facts, dirnames)
            return _gathered(self._plan, self._state, storage)

    def _snapshot(self) -> Snapshot:
        self._journal.sync()  # what a snapshot builds upon must be on the disk no later than it
        return Snapshot(
            position=self._journal.position,
            state=self._state,
            random_state=random_state(),
            callbacks=self.callbacks.get_states(),
            time=self._plan.executor.clock.now(),
        )


def _listen(plan: Plan, state: ExperimentState) -> CallbackDispatch:
    """Sets up the callbacks that run in this process."""
    config = plan.run_config
    here, _ = _callbacks(plan)
    for callback in here:
        callback.setup(
            stop=config.stop,
            num_samples=plan.tune_config.num_samples,
            total_num_samples=state.num_trials,
        )
    return CallbackDispatch(here, state.table)


def _callbacks(plan: Plan) -> tuple[list[Callback], list[LoggerCallback]]:
    """The callbacks for this process and the loggers for the recorder's."""
    given = plan.run_config.callbacks or []
    return split_callbacks(given, add_defaults=plan.executor.logs_by_default)


def _mlflow_variables(callbacks: Sequence[Callback]) -> dict[str, str]:
    """What tells recorder and trials the MLflow run to nest theirs in, where MLflow may be used."""
    if sys.modules.keys().isdisjoint(("mlflow", "tuner.integrations.mlflow")):
        return {}

    from tuner.integrations.mlflow import surrounding_variables

    return surrounding_variables(callbacks)


def _check_mlflow(plan: Plan, path: str) -> None:
    """Refuses callbacks that send to the same MLflow experiment."""
    if "tuner.integrations.mlflow" in sys.modules:
        from tuner.integrations.mlflow_targets import check_targets

        check_targets(plan.run_config.callbacks or [], os.path.basename(path))


def _server(plan: Plan, path: str, name: str) -> ServerProcess | None:
    """What lets others watch and steer the experiment, None if nobody may."""
    if plan.run_config.server is None:
        return None

    from tuner.server.process import ServerProcess

    return ServerProcess(plan.run_config.server, path, name, plan.executor.wake)


def _journal(plan: Plan, home: Home, after: Position | None = None) -> JournalWriter:
    """The writer of the journal, from a position on."""
    sync_period = plan.run_config.sync_config.sync_period
    return JournalWriter(
        home.path,
        after,
        segment_period_s=sync_period / 2 if home.storage else math.inf,  # uploaded when closed
        syncs_checkpoints=not plan.executor.clock.is_virtual,
    )


def _gathered(plan: Plan, state: ExperimentState, storage: Storage | None) -> ResultGrid:
    return gather(state.table, plan.objective.metric, plan.objective.mode, storage)
