"""What a worker and its controller say to each other: frames over a stream socket.

A frame is a 4-byte length, a 1-byte kind and a body. The worker answers nothing unasked but a
report; the controller answers every report.
"""

from __future__ import annotations

import pickle
import signal
import socket
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tuner.bundles import Bundle
from tuner.checkpoint import Checkpoint
from tuner.storage.storage import Storage
from tuner.trial_progress import Progress

if TYPE_CHECKING:
    from tuner.storage.lease import Lease

# Worker to controller
RESULT = 1  # length of the staged checkpoint's name (1 byte), the name, the result as JSON
SAVED = 2  # the name of a checkpoint staged outside of a report
DONE = 3  # the attempt is over: empty if it had nothing more to do, else INTERRUPTED
ERROR = 4  # the attempt is over: length of the traceback (4 bytes), the traceback, the exception

# Controller to worker
RUN = 10  # a pickled `Assignment`
ANSWER = 11  # the decision on the last report
EXIT = 12  # there is nothing more to do

INTERRUPTED = b"interrupted"

MAX_DATAGRAM = 64 * 1024
"""Bytes of a request to the fork server, or of its notice, at most."""

WATCHER_KILL = signal.SIGINT
"""What the watcher of a spawned worker is sent in place of SIGKILL, which it could not pass on."""

_HEAD = struct.Struct("!IB")
_LENGTH = struct.Struct("!I")
_RECV_BYTES = 64 * 1024  # beyond 128 KiB, malloc would map fresh pages at every call


@dataclass(frozen=True, slots=True)
class Assignment:
    """Everything that a worker needs to run one attempt at a trial.

    Attributes:
        trial_id: The trial.
        trial_name: Its name.
        experiment_name: The experiment's name.
        attempt: Number of this launch, from 1.
        config: The configuration, in the journal's exact encoding.
        path: The trial's folder.
        checkpoint: The checkpoint to resume from, None for a new start.
        next_checkpoint: Number of the next checkpoint.
        progress: How far the trial had come.
        bundles: Its resources.
        strategy: How bundles are laid out over nodes; see `PlacementGroupFactory`.
        seed: What its random streams derive from.
        num_threads: How many threads numeric libraries may use.
        storage: The trial's folder on remote storage, None if its own folder is all there is.
        upload_timeout_s: Seconds that one upload may take.
        lease: Gives the right to write to `storage`; None if nobody else can.
        home: The trial's folder on the controller's node, on a `ServedFileSystem`, if `path` is a
            folder of this node alone; None if `path` is the trial's folder itself.
        environ: Environment variables to set.
        checkpoint_frequency: Save a class trainable every so many iterations; 0 for never.
        checkpoint_at_end: Whether a class trainable is saved at its end.
        stdout: File that takes what the trial prints, None for the console.
        stderr: File that takes its error output, None for the console.
        change_directory: Whether the trial works in its own folder.
        driver_directory: The working directory of the script.
        keep_worker: Whether the worker waits for another assignment afterwards.
    """

    trial_id: str
    trial_name: str
    experiment_name: str
    attempt: int
    config: bytes
    path: str
    checkpoint: Checkpoint | None
    next_checkpoint: int
    progress: Progress
    bundles: list[Bundle]
    seed: int
    strategy: str = "PACK"
    num_threads: int = 1
    storage: Storage | None = None
    upload_timeout_s: float = 0.0
    lease: Lease | None = None
    home: Storage | None = None
    environ: dict[str, str] = field(default_factory=dict)
    checkpoint_frequency: int = 0
    checkpoint_at_end: bool = False
    stdout: str | None = None
    stderr: str | None = None
    change_directory: bool = True
    driver_directory: str = "."
    keep_worker: bool = False


def frame(kind: int, body: bytes = b"") -> bytes:
    """A message, ready to be sent."""
    return _HEAD.pack(len(body), kind) + body


def result_frame(raw: bytes, checkpoint: str | None) -> bytes:
    """A result with the name of its staged checkpoint."""
    name = (checkpoint or "").encode()
    return _HEAD.pack(len(raw) + len(name) + 1, RESULT) + bytes((len(name),)) + name + raw


def parse_result(body: bytes) -> tuple[bytes, str | None]:
    """The JSON and the checkpoint's name in the body of a RESULT."""
    length = body[0]
    if not length:
        return body[1:], None
    return body[1 + length :], body[1 : 1 + length].decode()


def error_body(text: str, cause: bytes | None = None) -> bytes:
    """The body of an ERROR: a text, and the pickled exception if there is one."""
    encoded = text.encode(errors="replace")
    return _LENGTH.pack(len(encoded)) + encoded + (cause or b"")


def parse_error(body: bytes) -> tuple[str, bytes | None]:
    """The text and the pickled exception in the body of an ERROR."""
    (length,) = _LENGTH.unpack_from(body)
    end = _LENGTH.size + length
    return body[_LENGTH.size : end].decode(), body[end:] or None


def run_frame(assignment: Assignment) -> bytes:
    """The message that starts an attempt."""
    return frame(RUN, pickle.dumps(assignment, pickle.HIGHEST_PROTOCOL))


def parse_run(body: bytes) -> Assignment:
    """The assignment in the body of a RUN."""
    assignment: Assignment = pickle.loads(body)
    return assignment


class FrameReader:
    """Splits the bytes of a stream into frames."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """The frames, as (kind, body), that `data` completes."""
        self._rest += data
        frames = []
        start, end = 0, len(self._rest)
        while end - start >= _HEAD.size:
            length, kind = _HEAD.unpack_from(self._rest, start)
            stop = start + _HEAD.size + length
            if stop > end:
                break
            frames.append((kind, bytes(self._rest[start + _HEAD.size : stop])))
            start = stop
        del self._rest[:start]
        return frames


class Connection:
    """The worker's blocking end of the line.

    Args:
        sock: A connected stream socket.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._reader = FrameReader()
        self._frames: list[tuple[int, bytes]] = []

    def send(self, message: bytes) -> None:
        """Sends a frame."""
        self._sock.sendall(message)

    def receive(self) -> tuple[int, bytes] | None:
        """Waits for the next frame; None when the controller is gone."""
        while not self._frames:
            data = self._sock.recv(_RECV_BYTES)
            if not data:
                return None
            self._frames.extend(self._reader.feed(data))
        return self._frames.pop(0)
