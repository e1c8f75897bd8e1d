"""The sender: follows the journal and tells MLflow, in a process of its own beside the recorder.

Started by `SenderProcess` with the file descriptor FD of a socket: what to send comes pickled on
the standard input, the end of the experiment comes as a line through the socket. The journal is the
buffer: while the server does not answer, it is not read on.
"""

from __future__ import annotations

import dataclasses
import fcntl
import logging
import os
import pickle
import queue
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import orjson

from tuner.execution.process import die_with_parent
from tuner.experiment.events import ExperimentStarted, Fact, TrialLaunched, TrialResult
from tuner.experiment.journal_reader import JournalReader
from tuner.experiment.retention import Retention
from tuner.experiment.trial_table import TrialTable
from tuner.integrations.mlflow_delivery import Delivery
from tuner.integrations.mlflow_destination import Address, Destination, Refused, Unavailable
from tuner.integrations.mlflow_patience import (
    RETRIES_VARIABLE,
    TIMEOUT_VARIABLE,
    limit_requests,
    request_timeout_s,
    wait_s,
)
from tuner.integrations.mlflow_runs import Runs
from tuner.layout import JOURNAL_FOLDER
from tuner.storage.storage import Storage

logger = logging.getLogger(__name__)

_PERIOD_S = 1.0
_SHORTEST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 30.0
_LONGEST_PAUSE_AT_END_S = 1.0
_MAX_WAITING = 100_000  # values of metrics that are read ahead
_WARNING_PERIOD_S = 60.0
_NAMED = 5
_SLOWEST_UPLOAD = 1e6  # bytes per second
_END = b"end"


@dataclass(frozen=True, slots=True)
class Task:
    """What is sent where.

    Attributes:
        path: The experiment's folder on this machine.
        storage: The experiment's folder on remote storage, None without one.
        retention: Which checkpoints are kept, None for all.
        address: Where it goes.
        params_at_end: Whether parameters are sent when a trial ends.
        save_artifacts: Whether files of trials are sent.
        name: Of what belongs to this: files in the journal's folder, and runs.
    """

    path: str
    storage: Storage | None
    retention: Retention | None
    address: Address
    params_at_end: bool
    save_artifacts: bool
    name: str

    @property
    def shown_path(self) -> str:
        """The experiment's folder as the user knows it."""
        return self.path if self.storage is None else self.storage.url


class Sender:
    """Brings one experiment to MLflow.

    Args:
        task: What is sent where.
        tell: Is told how it goes, while the experiment's end waits for it.

    Attributes:
        is_awaited: Whether the experiment's end waits for it.
    """

    def __init__(self, task: Task, tell: Callable[[dict[str, Any]], None]) -> None:
        self._task = task
        self._tell = tell
        self._memory = _Memory(task)
        self._reader = JournalReader(task.path, unpickle=False)
        self._unread: list[Fact] = []
        self._last_time = 0.0
        self._destination: Destination | None = None
        self._delivery: Delivery | None = None
        self._complete: set[str] = set()  # trials all of whose files are written
        self._is_ending = False
        self.is_awaited = False
        self._num_bytes = 0  # of the file that was begun last
        self._has_read_all = False
        self._error: str | None = None
        self._has_warned = False
        self._next_warning = 0.0
        self._pause_s = 0.0
        self._next_try = 0.0
        self._last_success = 0.0
        self._lock = threading.Lock()  # of what the threads of a delivery tell

    def await_end(self) -> None:
        """Notes that the experiment's end waits for this from now on; in any thread."""
        self.is_awaited = True
        self._last_success = time.monotonic()
        limit_requests(wait_s())
        self._be_patient(self._num_bytes)

    def note_complete(self, trial_ids: list[str]) -> None:
        """Notes trials all of whose files are written, so that they can be sent."""
        self._complete.update(trial_ids)

    def step(self) -> None:
        """Sends what is in the journal by now, unless the server had better be left alone.

        Raises:
            Refused: The server will never take anything.
        """
        if time.monotonic() < self._next_try:
            return
        try:
            if self._delivery is None:
                self._delivery = self._begin()
            if self._delivery is None:
                self._has_read_all = self._is_ending  # nothing was ever journaled
                return
            self._pass_on(self._delivery)
            while self._is_ending and not self._has_read_all:
                self._pass_on(self._delivery)
        except Unavailable as error:
            self._on_failure(error)

    def finish(self) -> list[str]:
        """Sends what is left, until the server has taken nothing for a while.

        Returns:
            What MLflow does not have, in words.
        """
        self._is_ending = True
        self._next_try = 0.0
        while not self._is_done():
            self.step()
            if time.monotonic() - self._last_success > wait_s():
                break
            time.sleep(max(0.0, self._next_try - time.monotonic()))
        return self._messages()

    def _begin(self) -> Delivery | None:
        """Finds the server and what it has; None as long as there is nothing to tell it."""
        self._unread = self._unread or self._reader.read()
        if not self._unread:
            return None
        first = self._unread[0]
        assert isinstance(first, ExperimentStarted)
        if self._destination is None:
            address, experiments = self._memory.recall()
            self._destination = Destination(address, experiments)
            self._memory.keep(address, self._destination.experiment_id)
        experiment = f"{first.seed:x}-{first.time:.6f}"
        runs = Runs(
            TrialTable(self._task.path, self._task.retention, self._task.storage),
            self._destination.find(experiment, self._task.name),
            params_at_end=self._task.params_at_end,
            save_artifacts=self._task.save_artifacts,
        )
        self._on_success()
        return Delivery(
            self._destination,
            runs,
            experiment,
            self._task.name,
            on_success=self._on_success,
            on_file=self._be_patient,
        )

    def _pass_on(self, delivery: Delivery) -> None:
        """Reads on, and sends what was read."""
        self._read(delivery.runs)
        delivery.send()
        delivery.send_files(None if self._is_ending else self._complete)

    def _read(self, runs: Runs) -> None:
        while runs.num_points < _MAX_WAITING:
            facts, self._unread = self._unread or self._reader.read(), []
            if not facts:
                if self._is_ending and not self._has_read_all:
                    self._has_read_all = True
                    runs.end(self._last_time)
                return
            first = self._reader.position.seq - len(facts) + 1
            for number, fact in enumerate(facts, first):
                runs.take(fact, number)
            self._last_time = facts[-1].time

    def _on_success(self) -> None:
        with self._lock:
            if self._has_warned:
                logger.warning("MLflow answers again: what has waited is sent now")
            self._error, self._has_warned = None, False
            self._pause_s = 0.0
            self._last_success = time.monotonic()
        self._be_patient(0)

    def _be_patient(self, num_bytes: int) -> None:
        """Has the experiment's end wait as long as so many bytes may take."""
        with self._lock:
            self._num_bytes = num_bytes
            if self.is_awaited:
                self._tell({"patience_s": wait_s() + num_bytes / _SLOWEST_UPLOAD})

    def _on_failure(self, error: Unavailable) -> None:
        now = time.monotonic()
        if not self._has_warned and now >= self._next_warning:
            self._has_warned, self._next_warning = True, now + _WARNING_PERIOD_S
            where = self._destination.uri if self._destination else self._task.address.tracking_uri
            logger.warning(
                "MLflow%s %s, which does not hold up the trials; what is for it waits in %s: %s",
                f" at {where}" if where else "",
                error.how,
                self._task.shown_path,
                error,
            )
        self._error = str(error)
        longest = _LONGEST_PAUSE_AT_END_S if self._is_ending else _LONGEST_PAUSE_S
        self._pause_s = min(max(2 * self._pause_s, _SHORTEST_PAUSE_S), longest)
        self._next_try = time.monotonic() + self._pause_s

    def _is_done(self) -> bool:
        return self._has_read_all and not (self._delivery and self._delivery.runs.pending)

    def _messages(self) -> list[str]:
        refused = self._delivery.refused if self._delivery else []
        messages = [f"MLflow refused {each}" for each in refused[:_NAMED]]
        if len(refused) > _NAMED:
            messages.append(f"MLflow refused {len(refused) - _NAMED} more")
        if not self._is_done():
            messages.append(undelivered(self._task, self._missing(), self._error))
        return messages

    def _missing(self) -> str:
        """What is in the journal and not at the server, in words."""
        pending = self._delivery.runs.pending if self._delivery else {}
        trials = {run.trial.trial_id for run in pending}
        results = len({point[0] for run in pending for point in run.points})
        while facts := self._unread or self._reader.read():
            self._unread = []
            results += sum(isinstance(fact, TrialResult) for fact in facts)
            trials.update(fact.trial_id for fact in facts if isinstance(fact, TrialLaunched))
        return f"{results} results of {len(trials)} trials"


class _Memory:
    """Keeps beside the journal where runs went, for a restore elsewhere."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._path = os.path.join(task.path, JOURNAL_FOLDER, f"{task.name}.json")

    def recall(self) -> tuple[Address, list[str]]:
        """The address, with the parent that it had before if it has none now; experiments' ids."""
        address = self._task.address
        try:
            with open(self._path, "rb") as file:
                content = orjson.loads(file.read())
        except (FileNotFoundError, ValueError):
            return address, []
        if address.parent_run_id is None:
            address = dataclasses.replace(address, parent_run_id=content["parent_run_id"])
        return address, content["experiments"]

    def keep(self, address: Address, experiment_id: str) -> None:
        """Notes the parent and one more experiment."""
        _, before = self.recall()
        experiments = list(dict.fromkeys([*before, experiment_id]))
        content = {"parent_run_id": address.parent_run_id, "experiments": experiments}
        with open(f"{self._path}.new", "wb") as file:
            file.write(orjson.dumps(content))
        os.replace(f"{self._path}.new", self._path)


def undelivered(task: Task, what: str, error: str | None) -> str:
    """The message that something could not be delivered."""
    why = f" ({error})" if error else ""
    return (
        f"MLflow has not taken {what}{why}: "
        f'Tuner.restore("{task.shown_path}").fit() delivers what is missing'
    )


def main() -> None:
    """Sends until the recorder says that the experiment has ended, then what is left."""
    die_with_parent(os.getppid(), signal.SIGKILL)
    os.nice(5)
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ[TIMEOUT_VARIABLE] = str(request_timeout_s())
    os.environ[RETRIES_VARIABLE] = "0"  # tried again here
    control = socket.socket(fileno=int(sys.argv[1]))
    task: Task = pickle.load(sys.stdin.buffer)

    def tell(what: dict[str, Any]) -> None:
        with suppress(OSError):
            control.sendall(orjson.dumps(what) + b"\n")

    import mlflow.tracking  # noqa: F401, while nothing is to be sent yet

    logging.getLogger("mlflow").setLevel(logging.ERROR)

    with open(os.path.join(task.path, JOURNAL_FOLDER, f"{task.name}.lock"), "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        tell({"messages": _run(Sender(task, tell), control)})


def _run(sender: Sender, control: socket.socket) -> list[str]:
    lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=[control, sender, lines], daemon=True).start()
    due = 0.0
    while True:
        if time.monotonic() >= due:
            try:
                sender.step()
            except Refused as error:
                if sender.is_awaited:
                    return [_given_up(error)]
                logger.warning("%s", _given_up(error))
                return []
            due = time.monotonic() + _PERIOD_S
        try:
            line = lines.get(timeout=max(0.0, due - time.monotonic()))
        except queue.Empty:
            continue
        if line is None:  # the recorder is gone: another one, or a restore, goes on
            sys.exit()
        if line == _END:
            try:
                return sender.finish()
            except Refused as error:
                return [_given_up(error)]
        sender.note_complete(orjson.loads(line))


def _given_up(error: Refused) -> str:
    return f"MLflow gets nothing of this experiment: {error}"


def _listen(control: socket.socket, sender: Sender, lines: queue.SimpleQueue[bytes | None]) -> None:
    """Reads what the recorder says; that it waits is to be known in the middle of a `step`."""
    with suppress(OSError), control.makefile("rb") as file:
        for line in file:
            if line.strip() == _END:
                sender.await_end()
            lines.put(line.strip())
    lines.put(None)
