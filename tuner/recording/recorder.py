"""The recorder: follows the journal and has the loggers write it down, in a process of its own.

Started by `RecorderProcess` with the file descriptor FD of a socket: what to record comes pickled
on the standard input, the end of the experiment shows as the end of the socket `FD`.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import pickle
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import orjson

from tuner import failpoints
from tuner.callbacks.callback import Callback
from tuner.callbacks.logger import LoggerCallback
from tuner.errors import DeliveryError
from tuner.experiment.events import (
    CheckpointSaved,
    ExperimentEnded,
    Fact,
    TrialChanged,
    TrialEnded,
    TrialLaunched,
    TrialResult,
)
from tuner.experiment.folder import RECORDER_LOCK
from tuner.experiment.journal_reader import JournalReader
from tuner.experiment.trial import ERROR, PENDING, TERMINATED, Trial
from tuner.experiment.trial_table import TrialTable
from tuner.failpoints import Failpoint
from tuner.layout import ERROR_FILE, JOURNAL_FOLDER, RESULTS_FILE
from tuner.recording.bookmarks import Bookmarks
from tuner.recording.file_logger import FileLogger
from tuner.recording.files import LogFiles
from tuner.recording.policy_log import PolicyLog
from tuner.recording.results_table import ResultsTable, import_arrow_alone
from tuner.utf8 import encoded, escaped

if TYPE_CHECKING:
    from tuner.experiment.retention import Retention
    from tuner.storage.storage import Storage
    from tuner.storage.upload_plan import UploadPlan
    from tuner.storage.uploader import Uploader

logger = logging.getLogger(__name__)

_BOOKMARK_SHARE = 0.05  # of the time may be spent on bookmarks
_SHORTEST_WAIT_S = 0.02
_LONGEST_WAIT_S = 0.25
_FULL_BATCH = 1000  # so many facts at once mean that more are waiting


class Recorder:
    """Feeds the facts of an experiment's journal to loggers.

    A logger that raises is reported and gets no more calls; the others go on.

    Args:
        experiment_path: The experiment's folder.
        loggers: What to feed.
        bookmark_period_s: Seconds from one bookmark to the next, at least.
        upload_plan: How the experiment is brought to remote storage, None if it stays here.
        retention: Which checkpoints are kept; all, without it.
        on_progress: Loggers call it when their end takes long and gets on.

    Attributes:
        messages: What went wrong so far, for the user.
    """

    def __init__(
        self,
        experiment_path: str,
        loggers: Sequence[LoggerCallback],
        *,
        bookmark_period_s: float = 1.0,
        upload_plan: UploadPlan | None = None,
        retention: Retention | None = None,
        on_progress: Callable[[], None] = lambda: None,
    ) -> None:
        self.messages: list[str] = []
        self._path = os.path.abspath(experiment_path)
        self._upload_plan = upload_plan
        self._retention = retention
        self._on_progress = on_progress
        self._uploader = _uploader(self._path, upload_plan) if upload_plan else None
        self._loggers = list(loggers)
        self._bookmarks = Bookmarks(self._path)
        self._files = LogFiles(self._bookmarks)
        for each in self._loggers:
            if isinstance(each, FileLogger):
                each.keep_bookmarks(self._bookmarks)
        self._bookmark_period_s = bookmark_period_s
        self._next_bookmark = 0.0
        self._may_bookmark = True  # until a file lacks something that a restart is to add
        self._unread: list[Fact] = []
        self._begin()

    def resume(self) -> None:
        """Takes up the work where an earlier recorder left it, if there was one.

        Files that are missing, as the experiment was fetched from remote storage, are written
        anew; other loggers saw those facts on the machine where it ran before.
        """
        if not self._take(self._bookmarks.load(), self._skip):
            logger.warning("%s: the journal ends before its bookmark: recorded anew", self._path)
            self._bookmarks.reset()
            self._begin()
        self._call(
            "setup",
            experiment_path=self._path,
            storage=self._storage,
            retention=self._retention,
            on_progress=self._on_progress,
        )
        with self._only(_writes_files):
            self._start_unfinished()
            if self._uploader is not None:
                self._take(self._uploader.num_facts, self._record)
        with self._only(lambda each: not _writes_files(each)):
            self._start_unfinished()
        if self._uploader is not None:
            self._uploader.start()

    def step(self) -> int:
        """Records what is in the journal by now, about 1 MiB at most.

        Returns:
            The number of facts that were recorded.
        """
        facts, self._unread = self._unread or self._reader.read(), []
        if facts:
            self._record(facts)
        return len(facts)

    def prepare_end(self) -> None:
        """Imports what the end needs and takes a while; calling it again costs nothing."""
        if all(map(_needs_no_arrow, self._loggers)):
            import_arrow_alone()
        else:
            import pyarrow.parquet  # noqa: F401

    def finish(self) -> None:
        """Records what is left in the journal and completes all files."""
        while self.step():
            pass
        self.prepare_end()
        self._record(list(self._reader.read_all()))
        with self._only(_writes_files):
            self._call("close")
        self._files.close()
        if self._may_bookmark:
            self._bookmarks.save(self._facts)
        try:
            self._results.write()
        except Exception:
            self.messages.append(f"{RESULTS_FILE} was not written:\n{traceback.format_exc()}")
        with self._only(lambda each: not _writes_files(each)):
            self._call("close")  # these may take long
        if self._uploader is not None and self._upload_plan is not None:
            self.messages += self._uploader.finish(self._upload_plan.config.sync_timeout)

    @property
    def _storage(self) -> Storage | None:
        return self._upload_plan.storage if self._upload_plan else None

    def _begin(self) -> None:
        self._reader = JournalReader(self._path, unpickle=False)
        self._table = TrialTable(self._path, self._retention, self._storage)
        self._policies = PolicyLog(self._table, self._files)
        self._results = ResultsTable(self._path, import_arrow=self.prepare_end)
        self._unread = []
        self._facts = 0
        self._batches = 0

    def _take(self, num_facts: int, handle: Callable[[list[Fact]], None]) -> bool:
        """Has facts handled until there were so many; whether the journal holds them."""
        while self._facts < num_facts:
            facts = self._unread or self._reader.read()
            if not facts:
                return False
            missing = num_facts - self._facts
            self._unread = facts[missing:]
            handle(facts[:missing])
        return True

    def _skip(self, facts: list[Fact]) -> None:
        """Takes in facts that are recorded already."""
        for fact in facts:
            self._results.take(fact)
            self._policies.skip(fact)
            self._table.apply(fact)
        self._facts += len(facts)
        self._tell_uploader(facts)

    @contextlib.contextmanager
    def _only(self, is_chosen: Callable[[LoggerCallback], bool]) -> Iterator[None]:
        """Has some of the loggers alone be told within the `with` block."""
        all_of_them = self._loggers
        chosen = self._loggers = [each for each in all_of_them if is_chosen(each)]
        try:
            yield
        finally:
            left = [each for each in chosen if each not in self._loggers]
            self._loggers = [each for each in all_of_them if each not in left]

    def _start_unfinished(self) -> None:
        for trial in self._table.trials:
            if trial.attempt and not trial.is_finished():
                self._tell("on_trial_start", trial)

    def _record(self, facts: list[Fact]) -> None:
        self._batches += 1
        for fact in facts:
            self._results.take(fact)
            if type(fact) is TrialResult:
                self._on_result(fact)
            else:
                self._on_other(fact)
        self._facts += len(facts)
        self._call("flush")
        self._files.flush()
        failpoints.reach(Failpoint.RECORDING)
        self._keep_bookmark()
        self._tell_uploader(facts)

    def _tell_uploader(self, facts: list[Fact]) -> None:
        removed = [f"{trial.dirname}/{old.name}" for trial, old in self._table.removed_checkpoints]
        self._table.removed_checkpoints.clear()
        if self._uploader is not None:
            self._uploader.recorded(facts, removed, self._facts, self._reader.position)

    def _on_result(self, fact: TrialResult) -> None:
        trial = self._table.apply(fact)
        assert trial is not None
        for each in self._loggers:
            try:
                each.on_trial_result(self._batches, self._table.trials, trial, fact.result)
            except Exception:
                self._turn_off(each)
        if fact.checkpoint:
            self._on_checkpoint(trial)

    def _on_other(self, fact: Fact) -> None:
        self._policies.record(fact)
        if isinstance(fact, TrialLaunched):
            self._on_launched(fact)
        elif isinstance(fact, TrialEnded):
            self._on_ended(fact)
        else:
            trial = self._table.apply(fact)
            if isinstance(fact, CheckpointSaved) and trial is not None:
                self._on_checkpoint(trial)
            elif isinstance(fact, TrialChanged) and fact.is_visible and trial is not None:
                self._tell("on_trial_change", trial)
            elif isinstance(fact, ExperimentEnded):
                self._call("on_experiment_end", self._table.trials)

    def _on_launched(self, fact: TrialLaunched) -> None:
        trial = self._table[fact.trial_id]
        reached = trial.num_results
        self._table.apply(fact)
        self._tell("on_trial_start", trial)
        if reached > fact.num_results:
            self._call("on_trial_rewound", trial, fact.num_results)
        if fact.checkpoint:
            self._tell("on_trial_restore", trial)

    def _on_ended(self, fact: TrialEnded) -> None:
        trial = self._table[fact.trial_id]
        had_error = trial.error is not None
        self._table.apply(fact)
        if fact.error is not None:
            self._write_error(fact, trial, fresh=not had_error)
        if fact.status == TERMINATED:
            self._tell("on_trial_complete", trial)
        elif fact.status == ERROR:
            self._tell("on_trial_error", trial)
        elif fact.status == PENDING:
            self._tell("on_trial_recover", trial)

    def _on_checkpoint(self, trial: Trial) -> None:
        self._tell("on_trial_save", trial)
        if any(type(each).on_checkpoint is not Callback.on_checkpoint for each in self._loggers):
            self._tell("on_checkpoint", trial, checkpoint=trial.checkpoint)

    def _write_error(self, fact: TrialEnded, trial: Trial, *, fresh: bool) -> None:
        when = datetime.fromtimestamp(fact.time).isoformat(" ", "seconds")
        file = self._files.open(os.path.join(trial.path, ERROR_FILE), fresh=fresh)
        text = f"Attempt {fact.attempt} failed at {when}\n{fact.error}\n\n"
        file.append(encoded(text))
        file.close()

    def _tell(self, method: str, trial: Trial, **info: Any) -> None:
        self._call(method, self._batches, self._table.trials, trial, **info)

    def _call(self, method: str, *args: Any, **info: Any) -> None:
        for each in self._loggers:
            try:
                getattr(each, method)(*args, **info)
            except Exception:
                self._turn_off(each)

    def _turn_off(self, failed: LoggerCallback) -> None:
        self._loggers = [each for each in self._loggers if each is not failed]
        then = ""
        if isinstance(failed, FileLogger) and isinstance(sys.exception(), OSError):
            self._may_bookmark = False
            then = f' until Tuner.restore("{self._path}").fit() completes its files'
        error = sys.exception()
        if isinstance(error, DeliveryError):
            self.messages.append(str(error))  # it comes at the end, when all of them are shown
            return
        name = type(failed).__name__
        what = f"{name} raised and logs no more{then}"
        logger.error("%s: %r; the traceback comes at the end", what, error)
        self.messages.append(f"{what}:\n{traceback.format_exc()}")

    def _keep_bookmark(self) -> None:
        began = time.monotonic()
        if began < self._next_bookmark or not self._may_bookmark:
            return
        self._bookmarks.save(self._facts)
        now = time.monotonic()
        self._next_bookmark = now + max(self._bookmark_period_s, (now - began) / _BOOKMARK_SHARE)


def _uploader(path: str, plan: UploadPlan) -> Uploader:
    from tuner.storage.uploader import Uploader

    return Uploader(path, plan)


def _writes_files(each: LoggerCallback) -> bool:
    return isinstance(each, FileLogger)


def _needs_no_arrow(each: LoggerCallback) -> bool:
    return isinstance(each, FileLogger) and type(each).__module__.startswith("tuner.")


def main() -> None:
    """Runs the recorder until its controller ends it or is gone, then completes all files."""
    control = socket.socket(fileno=int(sys.argv[1]))
    task = pickle.load(sys.stdin.buffer)
    messages: list[str] = []
    try:
        loggers = [pickle.loads(pickled) for pickled in task["loggers"]]
        with open(
            os.path.join(task["experiment_path"], JOURNAL_FOLDER, RECORDER_LOCK), "a+"
        ) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # the recorder of a dead controller finishes first
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            plan = pickle.loads(task["upload_plan"])
            recorder = Recorder(
                task["experiment_path"],
                loggers,
                upload_plan=plan,
                retention=task["retention"],
                on_progress=partial(_say_that_it_gets_on, control),
            )
            messages = recorder.messages
            recorder.resume()
            _follow(recorder, control, controller=task["controller"])
            recorder.finish()
            if plan is not None and os.getppid() != task["controller"]:
                plan.lease.release()
    except Exception as error:
        path = task["experiment_path"]
        fix = f'; Tuner.restore("{path}").fit() completes its files' * isinstance(error, OSError)
        messages.append(f"the recorder failed{fix}:\n{traceback.format_exc()}")
        # At once, as the messages of a recorder that is started again are lost.
        logger.error("the recorder failed: %r", error)
    try:
        control.settimeout(None)
        control.sendall(orjson.dumps([escaped(message) for message in messages]))
    except OSError:  # the controller is gone
        for message in messages:
            logger.error("%s", message)


def _say_that_it_gets_on(control: socket.socket) -> None:
    """Sends a space, which means nothing in the JSON that follows."""
    with contextlib.suppress(OSError):  # the controller may be gone
        control.sendall(b" ")


def _follow(recorder: Recorder, control: socket.socket, *, controller: int) -> None:
    """Records until the controller closes its end of `control` or dies."""
    wait = _SHORTEST_WAIT_S
    is_ready = False
    while os.getppid() == controller:
        num_facts = recorder.step()
        if num_facts >= _FULL_BATCH:
            continue
        if not is_ready:  # the first quiet moment: what the end needs takes a while to import
            is_ready = True
            recorder.prepare_end()
            continue
        wait = _SHORTEST_WAIT_S if num_facts else min(1.5 * wait, _LONGEST_WAIT_S)
        control.settimeout(wait)
        try:
            control.recv(1)
        except TimeoutError:
            continue
        except OSError:
            pass
        return
