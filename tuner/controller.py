"""The one loop that joins experiment, execution and recording."""

from __future__ import annotations

import glob
import logging
import math
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tuner import failpoints
from tuner.assignments import AssignmentFactory
from tuner.bundles import sum_bundles
from tuner.callbacks.dispatch import CallbackDispatch
from tuner.console.console import Console
from tuner.console.status import ExperimentInfo, ExperimentStatus
from tuner.errors import TunerError
from tuner.execution.executor import Job, TrialExecutor
from tuner.experiment.best import find_best
from tuner.experiment.commands import (
    Answer,
    Command,
    CommitCheckpoint,
    DeleteCheckpoint,
    DiscardStaged,
    EndAttempt,
    Launch,
    Respond,
)
from tuner.experiment.events import (
    Asked,
    Fact,
    Stimulus,
    StopRequested,
    Tick,
    TrialEnded,
    TrialResult,
)
from tuner.experiment.journal_writer import JournalWriter
from tuner.experiment.snapshots import SnapshotWriter
from tuner.experiment.state import ExperimentState
from tuner.experiment.trial import PAUSED, TERMINATED, Trial
from tuner.failpoints import Failpoint
from tuner.flatten import flatten, lookup
from tuner.interruption import Interruption
from tuner.layout import staged_path
from tuner.metrics import as_number
from tuner.recording.process import RecorderProcess
from tuner.validation import did_you_mean

if TYPE_CHECKING:
    from tuner.server.process import ServerProcess

logger = logging.getLogger(__name__)

_IDLE_TICK_S = 1.0
_STUCK_WARNING_S = 30.0


@dataclass(frozen=True, slots=True)
class Parts:
    """What a controller joins.

    Attributes:
        state: Decides.
        executor: Runs trials.
        journal: Keeps what happened.
        callbacks: Tells the user's callbacks.
        console: Shows what happens.
        assignments: Turns launches into assignments.
        info: What the console shows of the experiment.
        snapshots: Writes down the whole state now and then.
        recorder: Writes the files.
        modules: Names of modules that workers will need.
        server: Lets others watch and steer the experiment, None if nobody may.
    """

    state: ExperimentState
    executor: TrialExecutor
    journal: JournalWriter
    callbacks: CallbackDispatch
    console: Console
    assignments: AssignmentFactory
    info: ExperimentInfo
    snapshots: SnapshotWriter
    recorder: RecorderProcess
    modules: tuple[str, ...]
    server: ServerProcess | None


class Controller:
    """Runs an experiment: waits for news, has them decided upon, journals, then acts.

    Args:
        parts: What it joins.
        trainable: What is trained.
    """

    def __init__(self, parts: Parts, trainable: Any) -> None:
        self._state = parts.state
        self._executor = parts.executor
        self._clock = parts.executor.clock
        self._journal = parts.journal
        self._callbacks = parts.callbacks
        self._console = parts.console
        self._assignments = parts.assignments
        self._info = parts.info
        self._snapshots = parts.snapshots
        self._recorder = parts.recorder
        self._modules = parts.modules
        self._server = parts.server
        self._trainable = trainable
        self._stuck_since = math.inf
        self._reported_unseen = False
        self._interruption = Interruption(parts.executor.wake)

    def run(self, opening: Callable[[float], tuple[list[Fact], list[Command]]]) -> None:
        """Runs the experiment to its end; nothing is left running, however it ends.

        Args:
            opening: Begins the experiment, or goes on with it, at a time.

        Raises:
            Whatever a policy, a callback or the executor raises; the journal is complete then.
        """
        state = self._state
        self._console.start(self._info)
        try:
            with self._interruption:
                self._carry_out(*opening(self._clock.now()))
                self._start_server()
                self._executor.start(
                    Job(
                        trainable=self._trainable,
                        name=self._info.name,
                        on_output=self._on_output,
                        step=self._step,
                        path=self._state.spec.path,
                        modules=self._modules,
                        param_space=self._state.spec.param_space.space,
                    )
                )
                try:
                    while not state.is_over:
                        self._turn()
                finally:
                    self._executor.shutdown()
            self._callbacks.end_experiment()
            self._snapshots.finish(self._journal.num_bytes)
            self._console.finish(self._status())
            if not self._state.is_complete:
                self._console.message(f'Tuner.restore("{self._info.path}").fit() goes on from here')
        finally:
            if self._server is not None:
                self._server.stop(is_orderly=sys.exception() is None)
            self._callbacks.close()
            self._console.close()
            self._journal.close()

    def _start_server(self) -> None:
        if self._server is not None:
            self._server.start()
            server = self._server
            token = "the token that you gave" if server.has_given_token else f"token {server.token}"
            self._console.message(
                f"Watch and steer it at {server.address}, {token} (also in {server.token_file})"
            )

    def _turn(self) -> None:
        self._callbacks.begin_step()
        self._step(self._executor.wait(self._timeout()) or [Tick(time=self._clock.now())])
        self._callbacks.end_step()
        if time.monotonic() >= self._console.due():
            self._console.refresh(self._status())
        self._journal.step()
        self._snapshots.step(self._journal.num_bytes)
        self._recorder.revive()
        self._check_progress()

    def _step(self, stimuli: list[Stimulus]) -> None:
        reason = self._interruption.take()
        if reason is not None:
            stimuli.append(StopRequested(time=self._clock.now(), reason=reason, resumable=True))
            self._console.message(f"{reason}: ending the trials; once more ends at once")
        if self._server is not None:
            now = self._clock.now()
            stimuli += [Asked(now, request_id, asked) for request_id, asked in self._server.take()]
        self._carry_out(*self._state.handle(stimuli))

    def _carry_out(self, facts: Sequence[Fact], commands: Iterable[Command]) -> None:
        """Nothing is done, and nobody is told, before it is in the journal."""
        self._journal.append(facts)
        failpoints.reach(Failpoint.JOURNALED)
        self._callbacks.dispatch(facts)
        self._show(facts)
        for command in commands:
            self._do(command)

    def _do(self, command: Command) -> None:
        if isinstance(command, Answer):
            self._executor.answer(command.trial_id, command.attempt, command.decision)
        elif isinstance(command, Launch):
            self._executor.launch(self._assignments.make(command))
        elif isinstance(command, EndAttempt):
            self._executor.end(command.trial_id, command.attempt)
        elif isinstance(command, CommitCheckpoint):
            _commit(command.trial, command.name, command.attempt)
        elif isinstance(command, DeleteCheckpoint):
            path = os.path.join(command.trial.path, command.name)
            if command.trial.storage is None or os.path.exists(path):
                _remove(path)
        elif isinstance(command, DiscardStaged) and os.path.isdir(command.trial.path):
            staged = staged_path(glob.escape(command.trial.path), "*", command.attempt)
            for path in glob.glob(staged):
                _remove(path)
        elif isinstance(command, Respond) and self._server is not None:
            self._server.respond(command.request_id, command.outcome)

    def _show(self, facts: Iterable[Fact]) -> None:
        for fact in facts:
            if isinstance(fact, TrialResult):
                if self._console.wants_results:
                    self._console.on_result(self._state.table[fact.trial_id], fact.result)
            elif isinstance(fact, TrialEnded):
                trial = self._state.table[fact.trial_id]
                if trial.last_result and not self._reported_unseen:
                    self._report_unseen(trial)
                if fact.error is not None:
                    self._console.on_trial_error(trial)
                elif fact.status in (TERMINATED, PAUSED):
                    self._console.on_trial_end(trial)

    def _report_unseen(self, trial: Trial) -> None:
        """Names what was asked for and not found in any result, once, when a trial has ended."""
        self._reported_unseen = True
        missing = {f"stop={{{key!r}: …}}": key for key in self._state.stopper.unseen_keys()}
        metrics = self._info.objectives or [self._info.metric]
        for metric in metrics:
            if metric is not None and self._is_missing(metric, trial):
                missing[f"metric={metric!r}"] = metric
        score = self._info.score_attribute
        if score is not None and trial.checkpoints and trial.checkpoints[-1].score is None:
            missing[f"CheckpointConfig(checkpoint_score_attribute={score!r})"] = score
        for what, key in missing.items():
            near = did_you_mean(key, flatten(trial.last_result))
            logger.warning("%s: no result has had a number %r so far%s", what, key, near)

    def _is_missing(self, metric: str, trial: Trial) -> bool:
        return self._best() is None and as_number(lookup(trial.last_result, metric)) is None

    def _on_output(self, trial_id: str, data: bytes) -> None:
        self._console.trial_output(self._state.table[trial_id], data)

    def _timeout(self) -> float:
        """Seconds, by the executor's clock, until something is due by time alone."""
        if self._state.is_filling:
            return 0.0
        waits = [math.inf if self._clock.is_virtual else self._housekeeping_timeout()]
        deadline = self._state.deadline
        if deadline is not None:
            waits.append(deadline - self._clock.now())
        if self._state.is_stuck:
            waits.append(_IDLE_TICK_S)
        return max(0.0, min(waits))

    def _housekeeping_timeout(self) -> float:
        """Seconds until recorder, console or journal want something, whatever the trials do."""
        due = min(self._console.due(), self._journal.due)
        return min(self._recorder.CHECK_PERIOD_S, due - time.monotonic())

    def _check_progress(self) -> None:
        """Says so when nothing runs for long: a searcher may wait for what never comes."""
        if not self._state.is_stuck:
            self._stuck_since = math.inf
            return
        now = self._clock.monotonic()
        self._stuck_since = min(self._stuck_since, now)
        if now - self._stuck_since > _STUCK_WARNING_S:
            self._stuck_since = now
            if self._state.decisions.paused_by_request and self._server is not None:
                logger.warning(
                    "nothing runs: %d paused trials wait to be resumed at %s",
                    len(self._state.decisions.paused_by_request),
                    self._server.address,
                )
                return
            if any(self._state.paused_trials):
                raise TunerError(
                    f"{type(self._state.scheduler).__name__} resumes none of the paused trials "
                    "although nothing else is left to run"
                )
            logger.warning(
                "nothing runs, and %s proposes no configuration",
                type(self._state.searcher).__name__,
            )

    def _best(self) -> Trial | None:
        metric, mode = self._info.metric, self._info.mode
        return find_best(self._state.trials, metric, mode) if metric and mode else None

    def _status(self) -> ExperimentStatus:
        state, executor = self._state, self._executor
        waiting = executor.waiting()
        wanted = sum_bundles([bundle for each in waiting for bundle in each.bundles])
        return ExperimentStatus(
            trials=state.trials,
            total_trials=state.num_trials,
            counts=state.table.counts,
            num_waiting=len(waiting),
            used=_less(state.capacity.used, wanted),
            total=_less(state.capacity.total, executor.absent),
            elapsed_s=self._clock.now() - self._info.start_time,
            best=self._best(),
            running=[*state.running_trials],
            scheduler_debug=state.scheduler.debug_string(),
        )


def _less(resources: Mapping[str, float], others: Mapping[str, float]) -> dict[str, float]:
    return {name: amount - others.get(name, 0.0) for name, amount in resources.items()}


def _commit(trial: Trial, name: str, attempt: int) -> None:
    """Gives a staged checkpoint its name, unless the worker has brought it to remote storage."""
    staged = staged_path(trial.path, name, attempt)
    failpoints.reach(Failpoint.CHECKPOINT_RENAME)
    if trial.storage is None or os.path.exists(staged):
        committed = os.path.join(trial.path, name)
        if os.path.lexists(committed):  # of a journal that lost its end
            _remove(committed)
        os.rename(staged, committed)


def _remove(path: str) -> None:
    """Removes a checkpoint; what stays is no harm but for its size."""
    try:
        shutil.rmtree(path)
    except OSError as error:
        logger.warning("%s was not removed: %s", path, error)
