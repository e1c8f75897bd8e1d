"""The worker program: takes assignments from its controller, one at a time."""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import signal
import socket
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tuner.execution import ray_cluster, ray_misuse, threads
from tuner.execution.attempt import (
    AttemptRunner,
    encode_result,
    format_error,
    pickled_error,
)
from tuner.execution.process import flush_c_output
from tuner.execution.protocol import (
    ANSWER,
    DONE,
    ERROR,
    INTERRUPTED,
    RUN,
    SAVED,
    Assignment,
    Connection,
    error_body,
    frame,
    parse_run,
    result_frame,
)
from tuner.execution.surroundings import Redirection, prepare
from tuner.trainable.session import TrialStopped

if TYPE_CHECKING:
    from tuner.execution.sent_files import TrialFileSender


class SocketChannel:
    """Delivers results over a connection and waits for each answer.

    Args:
        connection: The line to the controller.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._files: TrialFileSender | None = None

    def begin(self, assignment: Assignment) -> None:
        """Gets ready for an attempt, whose files may have to be sent, too."""
        self._files = None
        if assignment.home is not None:
            from tuner.execution.sent_files import TrialFileSender  # a part that few need

            self._files = TrialFileSender(assignment.path, assignment.home)
            self._files.fetch()

    def send_files(self, *, is_end: bool = False) -> None:
        """Sends the files of the trial where the controller's node does not see them."""
        if self._files is not None:
            self._files.send(is_end=is_end)

    def deliver(self, result: dict[str, Any], checkpoint: str | None) -> str:
        """Sends a result and returns the decision on it."""
        message = result_frame(encode_result(result), checkpoint)
        if checkpoint is not None:
            self.send_files()
        try:
            self._connection.send(message)
            answer = self._connection.receive()
        except (BrokenPipeError, ConnectionResetError):
            answer = None
        if answer is None or answer[0] != ANSWER:
            raise TrialStopped  # the controller is gone
        return answer[1].decode()

    def saved(self, checkpoint: str) -> None:
        """Tells of a checkpoint that was staged outside of a report."""
        self.send_files()
        self._connection.send(frame(SAVED, checkpoint.encode()))


def run_worker(line: int, trainable: Any, settings: dict[str, Any]) -> None:
    """Serves assignments, then runs this process's exit handlers.

    Args:
        line: Descriptor of the connected socket to the controller.
        trainable: What is trained.
        settings: The other arguments of `serve`.
    """
    atexit._clear()
    faulthandler.enable()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    serve(socket.socket(fileno=line), trainable, **settings)
    with contextlib.suppress(Exception):
        atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    flush_c_output()


def serve(
    sock: socket.socket, trainable: Any, *, hostname: str, node_ip: str, chosen: dict[str, str]
) -> None:
    """Runs assignments until the controller has no more.

    Args:
        sock: The connected line to the controller.
        trainable: What is trained.
        hostname: Name of this machine.
        node_ip: Address of this machine.
        chosen: Thread-count variables that the user has set.
    """
    connection = Connection(sock)
    channel = SocketChannel(connection)
    runner = AttemptRunner(trainable, hostname=hostname, node_ip=node_ip)
    while (message := connection.receive()) is not None and message[0] == RUN:
        assignment = parse_run(message[1])
        end = _run(runner, assignment, channel, chosen)
        channel.send_files(is_end=True)
        connection.send(end)
        if not assignment.keep_worker:
            return
    with _stop_on_sigterm():
        runner.close()


def _run(
    runner: AttemptRunner, assignment: Assignment, channel: SocketChannel, chosen: dict[str, str]
) -> bytes:
    """Runs one assignment and returns the frame that tells how it ended."""
    try:
        with _stop_on_sigterm():
            channel.begin(assignment)
            prepare(assignment)
            threads.set_num_threads(assignment.num_threads, chosen)
            with Redirection(assignment.stdout, assignment.stderr), ray_misuse.refused():
                completed = runner.run(assignment, channel)
    except TrialStopped:
        completed = False
    except BaseException as error:
        error = ray_cluster.explained(error)
        return frame(ERROR, error_body(format_error(error), pickled_error(error)))
    return frame(DONE, b"" if completed else INTERRUPTED)


@contextlib.contextmanager
def _stop_on_sigterm() -> Iterator[None]:
    """Lets SIGTERM unwind the user's code, running its `finally` blocks."""

    def stop(signum: int, frame: object) -> None:
        raise TrialStopped

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
