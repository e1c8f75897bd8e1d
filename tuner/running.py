"""Runs an experiment in its folder: a new one, or one that is restored."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tuner import failpoints
from tuner.assignments import AssignmentFactory, log_files
from tuner.callbacks.dispatch import CallbackDispatch
from tuner.config import ResumeConfig
from tuner.console.console import Console
from tuner.controller import Controller, Parts
from tuner.experiment.commands import Command
from tuner.experiment.events import ExperimentChanged, Fact
from tuner.experiment.folder import ExperimentFolder
from tuner.experiment.journal import JournalWriter
from tuner.experiment.snapshots import (
    Snapshot,
    SnapshotWriter,
    random_state,
    set_random_state,
)
from tuner.experiment.state import ExperimentState
from tuner.experiment.trial_table import TrialTable
from tuner.gathering import gather
from tuner.plan import Plan
from tuner.rebuilding import complete_checkpoints, rebuild
from tuner.recording.defaults import split_callbacks
from tuner.recording.process import RecorderProcess
from tuner.result_grid import ResultGrid
from tuner.stored_run import StoredRun
from tuner.version import __version__

logger = logging.getLogger(__name__)

RECORDING_TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True)
class Changes:
    """Limits that a restore gives to an experiment; None leaves one as it is.

    Attributes:
        num_samples: How often the search space is sampled, all runs together.
        stop: When trials end.
        time_budget_s: Seconds for the experiment, all runs together.
    """

    num_samples: int | None = None
    stop: Any = None
    time_budget_s: float | None = None

    def fact(self, now: float) -> ExperimentChanged | None:
        """The fact that they hold from now on, None if nothing changes."""
        if self == Changes():
            return None
        return ExperimentChanged(
            time=now,
            num_samples=self.num_samples,
            stop=self.stop,
            time_budget_s=self.time_budget_s,
        )


def run_new(plan: Plan, folder: ExperimentFolder) -> ResultGrid:
    """Runs a new experiment to its end, and waits for its files to be complete."""
    spec = plan.spec(folder.path, folder.entries())
    table = TrialTable(folder.path, plan.retention)
    state = ExperimentState(spec, table, plan.searcher, plan.scheduler, plan.stopper)
    moved = folder.begin(plan.description(os.path.basename(folder.path)), plan.content)
    run = _Run(plan, folder.path, state, JournalWriter(folder.path))
    if moved is not None:
        run.console.message(f"An earlier run of this name is kept in {moved}")
    return run.to_end(lambda now: state.start(now, __version__))


def run_restored(
    plan: Plan,
    folder: ExperimentFolder,
    stored: StoredRun,
    resume_config: ResumeConfig,
    changes: Changes,
) -> ResultGrid:
    """Goes on with an experiment to its end, and waits for its files to be complete."""
    folder.resume()
    rebuilt = rebuild(plan, folder.path, folder.entries(), stored.random_state)
    state = rebuilt.state
    failpoints.reach(failpoints.REBUILT)
    complete_checkpoints(state.table)
    set_random_state(rebuilt.random_state)
    journal = JournalWriter(folder.path, rebuilt.position)
    run = _Run(plan, folder.path, state, journal, replayed_bytes=rebuilt.replayed_bytes)
    run.callbacks.set_states(rebuilt.callbacks or [])
    failpoints.reach(failpoints.RESUMED)
    return run.to_end(lambda now: state.resume(now, __version__, resume_config, changes.fact(now)))


def stored_results(plan: Plan, stored: StoredRun) -> ResultGrid:
    """The results in an experiment's folder as they are; nothing is run or changed."""
    rebuilt = rebuild(plan, stored.path, frozenset(), stored.random_state)
    return _gathered(plan, rebuilt.state)


class _Run:
    """What is around an experiment's state while it runs."""

    def __init__(
        self,
        plan: Plan,
        path: str,
        state: ExperimentState,
        journal: JournalWriter,
        *,
        replayed_bytes: int = 0,
    ) -> None:
        config, name = plan.run_config, os.path.basename(path)
        here, loggers = split_callbacks(config.callbacks or [])
        for callback in here:
            callback.setup(
                stop=config.stop,
                num_samples=plan.tune_config.num_samples,
                total_num_samples=state.num_trials,
            )
        verbose = 1 if config.verbose is None else config.verbose
        self.callbacks = CallbackDispatch(here, state.table)
        self.console = Console(
            verbose, config.progress_reporter, live=plan.executor.max_running != 1
        )
        self._plan = plan
        self._state = state
        self._journal = journal
        self._recorder = RecorderProcess(path, loggers)
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
                    log_to_file=log_files(config.log_to_file),
                    keep_workers=plan.tune_config.reuse_actors,
                ),
                info=plan.info(name, path, time.time(), state.num_trials),
                snapshots=snapshots,
            ),
            plan.trainable,
        )

    def to_end(self, opening: Callable[[float], tuple[list[Fact], list[Command]]]) -> ResultGrid:
        self._recorder.start()
        try:
            self._controller.run(opening)
        finally:
            for message in self._recorder.finish(RECORDING_TIMEOUT_S):
                logger.error("%s", message)
        return _gathered(self._plan, self._state)

    def _snapshot(self) -> Snapshot:
        return Snapshot(
            position=self._journal.position,
            state=self._state,
            random_state=random_state(),
            callbacks=self.callbacks.get_states(),
        )


def _gathered(plan: Plan, state: ExperimentState) -> ResultGrid:
    return gather(state.table, plan.tune_config.metric, plan.tune_config.mode)
