"""Starts the experiment, kills parts of it, and has it restored."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import experiment
import fsspec
import orjson

from tuner import failpoints
from tuner.failpoints import Failpoint

SCRIPT = Path(experiment.__file__)
RECORDER = "tuner.recording.recorder"
FORK_SERVER = "tuner.execution.forkserver"
MARK = "TUNER_CHAOS_MARK"
DEADLINE_S = 120.0
NUM_TRIALS = 30
MACHINE = "machine"
"""A kind of what is killed: everything, and the staging folder is lost, too."""


class Chaos:
    """One experiment in a folder; leaving it kills what is left of it.

    Args:
        folder: Where it writes.
        policy: `"asha"` or `"fifo"`.
        num_trials: How many trials it has.
        bucket: Where it is kept instead of the folder, as a URL.

    Attributes:
        kills: How often each kind was killed, or a process at each failpoint.
        moves: When it was cut off, to go on on another machine with nothing but what was uploaded.
    """

    def __init__(
        self,
        folder: Path,
        policy: str = "asha",
        num_trials: int = NUM_TRIALS,
        bucket: str | None = None,
    ) -> None:
        self.folder = folder
        self.policy = policy
        self.kills: Counter[str] = Counter()
        self.moves: list[float] = []
        self.num_trials = num_trials
        self.is_remote = bucket is not None
        self._storage = f"{bucket}/{folder.name}" if bucket else str(folder)
        self._machine = 1
        self._process: subprocess.Popen[bytes] | None = None
        self._mark = ""
        self._earlier: list[str] = []  # marks of processes that were left to die
        self._ledger_before = 0
        folder.mkdir(parents=True)

    def __enter__(self) -> Chaos:
        return self

    def __exit__(self, *error: object) -> None:
        for pid in self.left_running():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self._process is not None:
            self._process.wait()

    @property
    def path(self) -> Path:
        """The experiment's folder on this machine."""
        return self.folder / experiment.NAME

    @property
    def url(self) -> str:
        """What finds the experiment for a restore."""
        return f"{self._storage}/{experiment.NAME}"

    @property
    def staging(self) -> Path:
        """Where the machine that the experiment runs on now keeps what is to be uploaded."""
        return self.folder / f"machine-{self._machine}"

    @cached_property
    def storage(self) -> fsspec.AbstractFileSystem:
        """The filesystem of `url`."""
        return fsspec.core.url_to_fs(self.url, use_listings_cache=False)[0]

    def fetched(self) -> Path:
        """The experiment's folder as it is now: on this machine, or all that is on the storage."""
        if self.is_remote:
            shutil.rmtree(self.path, ignore_errors=True)
            self.storage.get(self.url, str(self.path), recursive=True)
        return self.path

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The driver that was started last."""
        assert self._process is not None
        return self._process

    def ledger(self) -> list[list[str]]:
        """The complete lines of the ledger, as words."""
        path = self.folder / "ledger"
        text = path.read_text() if path.exists() else ""
        return [line.split() for line in text.split("\n")[:-1]]

    def start(self, environ: Mapping[str, str] | None = None) -> None:
        """Starts the driver: it restores what there is, or begins."""
        if self._mark:
            self._earlier.append(self._mark)
        self._mark = uuid.uuid4().hex
        self._ledger_before = len(self.ledger())
        arguments = [str(self.folder), self._storage, self.policy, str(self.num_trials)]
        machine = {experiment.HOST: self.staging.name, "TUNER_STAGING_DIR": str(self.staging)}
        with open(self.folder / "stderr", "ab") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, str(SCRIPT), *arguments],
                env={**os.environ, **machine, **(environ or {}), MARK: self._mark},
                stderr=stderr,
                start_new_session=True,
            )

    def stderr(self) -> str:
        """What all drivers and their processes have written there."""
        return (self.folder / "stderr").read_text()

    def is_running(self) -> bool:
        """Whether the driver runs."""
        return self._process is not None and self._process.poll() is None

    def has_ended(self) -> bool:
        """Whether the driver has come to the end of the experiment."""
        code = self.process.poll()
        assert code in (None, 0, -signal.SIGKILL), f"exit code {code}\n{self.stderr()}"
        return code == 0

    def has_results(self) -> bool:
        """Whether there are results since the last start."""
        return any(line[0] == "reported" for line in self.ledger()[self._ledger_before :])

    def hold(self, first: int = 0) -> None:
        """Has this trial and those after it wait in their midst, so that it does not end."""
        path = self.folder / experiment.HOLD
        written = path.with_suffix(".new")
        written.write_text(str(first))
        written.rename(path)

    def release(self) -> None:
        """Lets all trials go on."""
        (self.folder / experiment.HOLD).unlink(missing_ok=True)

    def await_results(self) -> None:
        """Waits until there are, or the experiment has ended."""
        wait_until(lambda: self.has_ended() or self.has_results())

    def finish(self) -> None:
        """Lets it come to its end, restored if need be; nothing is left running then."""
        if self._process is None or self._process.wait(DEADLINE_S) != 0:
            self.start()
        assert self.process.wait(DEADLINE_S) == 0, self.stderr()
        self.await_orphans()

    def await_orphans(self) -> None:
        """Waits for what a killed driver has left to see to its own end."""
        marks = [*self._earlier, *([] if self.is_running() else [self._mark])]
        wait_until(lambda: not processes(*marks), lambda: f"left running: {processes(*marks)}")

    def left_running(self) -> dict[int, str]:
        """All its processes by id, with their command lines; those of earlier drivers too."""
        return processes(*self._earlier, self._mark)

    def running(self, module: str) -> list[int]:
        """The last driver's processes that were started as a module."""
        return [pid for pid, command in processes(self._mark).items() if module in command]

    def num_started(self) -> int:
        """How often a trial was started, counting each attempt."""
        return sum(line[0] == "started" for line in self.ledger())

    def workers(self) -> list[int]:
        """The last driver's workers that train."""
        started = {int(line[2]) for line in self.ledger() if line[0] == "started"}
        return sorted(started & processes(self._mark).keys())

    def kill(self, kind: str) -> bool:
        """Kills what a kind of KINDS names; whether there was anything to be killed."""
        victims = KINDS["everything" if kind == MACHINE else kind](self)
        num_killed = 0
        for pid in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                num_killed += 1
        if self.process.pid in victims:
            self.process.wait()
        if kind == MACHINE and num_killed:
            self.moves.append(time.time())
            self.await_orphans()
            shutil.rmtree(self.staging)
            self.move()
            self.expire_lease()
        self.kills[kind] += num_killed > 0
        return num_killed > 0

    def move(self, machine: int | None = None) -> None:
        """Has the experiment go on on a new machine, or on one that is named."""
        self._machine = machine or self._machine + 1

    def lease(self) -> dict[str, Any]:
        """What the lock on the storage says."""
        return dict(orjson.loads(self.storage.cat_file(f"{self.url}/.lock")))

    def expire_lease(self) -> None:
        """Does what a minute of waiting does."""
        with contextlib.suppress(FileNotFoundError):
            held = orjson.dumps({**self.lease(), "expires": time.time()})
            self.storage.pipe_file(f"{self.url}/.lock", held)


def _driver(chaos: Chaos) -> list[int]:
    return [chaos.process.pid] if chaos.is_running() else []


def _group(chaos: Chaos) -> list[int]:
    group = chaos.process.pid
    return [pid for pid in chaos.left_running() if _process_group(pid) == group]


KINDS: dict[str, Callable[[Chaos], list[int]]] = {
    "driver": _driver,
    "worker": lambda chaos: chaos.workers()[-1:],
    "driver and workers": lambda chaos: _driver(chaos) + chaos.workers(),
    "recorder": lambda chaos: chaos.running(RECORDER),
    "process group": _group,
    "everything": lambda chaos: list(chaos.left_running()),
}
"""What is killed at once."""


FAILPOINTS = {
    Failpoint.JOURNAL_WRITE: 60,
    Failpoint.JOURNALED: 60,
    Failpoint.CHECKPOINT_COPY: 20,
    Failpoint.CHECKPOINT_RENAME: 15,
    Failpoint.SNAPSHOT: 2,
    Failpoint.RECORDING: 5,
    Failpoint.REBUILT: 1,
    Failpoint.RESUMED: 1,
}
UPLOAD_FAILPOINTS = {Failpoint.UPLOAD: 5, Failpoint.CHECKPOINT_UPLOAD: 40}
"""How often each place is reached, at least, in an experiment of NUM_TRIALS trials."""


def kill_at(chaos: Chaos, place: Failpoint, number: int) -> None:
    """Has the `number`-th process that comes to a place killed there, and finishes the experiment.

    Raises:
        AssertionError: None was, or so many did not come there.
    """
    if place in (Failpoint.REBUILT, Failpoint.RESUMED):
        chaos.hold()
        chaos.start()
        chaos.await_results()
        assert chaos.kill("driver")
        chaos.release()
    log = chaos.folder / "failpoint"
    chaos.start({failpoints.VARIABLE: f"{place}:{number}", failpoints.LOG_VARIABLE: str(log)})
    code = chaos.process.wait(DEADLINE_S)
    assert _is_reached(log, place, number)
    if place == Failpoint.CHECKPOINT_COPY:  # in a worker
        assert code == 0
        assert chaos.num_started() == chaos.num_trials + 1
    elif place != Failpoint.RECORDING:
        assert code == -signal.SIGKILL
    chaos.kills[place] += 1
    chaos.finish()


def kill_at_upload(chaos: Chaos, place: Failpoint, number: int, then: str) -> None:
    """The same for a place in an upload; then the rest is killed, as a kind says."""
    log = chaos.folder / "failpoint"
    chaos.hold(chaos.num_trials - 1)
    chaos.start({failpoints.VARIABLE: f"{place}:{number}", failpoints.LOG_VARIABLE: str(log)})
    wait_until(lambda: _is_reached(log, place, number) or chaos.num_started() >= chaos.num_trials)
    if not _is_reached(log, place, number):
        chaos.release()
        wait_until(lambda: _is_reached(log, place, number))
    assert chaos.kill(then)
    chaos.release()
    chaos.kills[place] += 1
    chaos.finish()


def _is_reached(log: Path, place: Failpoint, number: int) -> bool:
    return log.exists() and log.read_text().splitlines().count(place) >= number


def kill_again_and_again(chaos: Chaos, kind: str, num_kills: int, rng: random.Random) -> None:
    """Kills at random moments, restores at once, and lets the experiment come to its end.

    It ends earlier than after `num_kills` if the experiment does, which waits for the first one.
    Moments are mostly counted from the first result after a start, but some from the start, and
    are printed.
    """
    chaos.hold(chaos.num_trials - 1)
    while chaos.kills[kind] < num_kills:
        if not chaos.is_running():
            chaos.start()
        since, longest_s = "the first result", 3.0 if kind == MACHINE else 0.6
        if rng.random() < 0.25 and kind != "worker":
            since = "the start"
        else:
            chaos.await_results()
            chaos.await_orphans()
        moment = rng.uniform(0, longest_s)
        time.sleep(moment)  # the moment is the test's input: nothing is waited for
        if chaos.has_ended():
            break
        if chaos.kill(kind):
            chaos.release()
            print(f"{chaos.folder.name}: {kind} killed {moment:.3f} s after {since}")
        if kind == "recorder":  # the driver starts no other one before its end
            chaos.kill("driver")
    chaos.finish()


def wait_until(
    condition: Callable[[], bool], explain: Callable[[], str] = lambda: "waited in vain"
) -> None:
    """Looks again and again until a condition holds."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, explain()
        time.sleep(0.005)


def processes(*marks: str) -> dict[int, str]:
    """The living processes that carry one of the marks: their command lines by process id."""
    needles = {f"{MARK}={mark}".encode() for mark in marks}
    return {pid: command for pid, command, environ in _all_processes() if needles & environ}


def _all_processes() -> Iterator[tuple[int, str, set[bytes]]]:
    for entry in os.listdir("/proc"):
        if not entry.isdecimal():
            continue
        with contextlib.suppress(OSError):
            environ = set(Path("/proc", entry, "environ").read_bytes().split(b"\0"))
            command = Path("/proc", entry, "cmdline").read_bytes().replace(b"\0", b" ").decode()
            yield int(entry), command, environ


def _process_group(pid: int) -> int | None:
    with contextlib.suppress(ProcessLookupError):
        return os.getpgid(pid)
    return None
