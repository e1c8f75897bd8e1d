"""The controller's side of the server process."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import queue
import secrets
import socket
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import IO

import orjson

from tuner.errors import MissingDependencyError
from tuner.experiment.requests import Outcome, Request
from tuner.interpreter import python_command
from tuner.server.config import ServerConfig
from tuner.server.messages import decode_request, encode_outcome
from tuner.server.token_file import remove_token, write_token
from tuner.validation import reject

logger = logging.getLogger(__name__)

_MODULE = "tuner.server.service"
_LIBRARIES = ("fastapi", "uvicorn")
_END = b"null\n"
_KILL_AFTER_S = 30.0
_MAX_REVIVALS = 10
_HEALTHY_S = 60.0  # after which earlier deaths are forgotten
_PAUSE_S = 1.0


class ServerProcess:
    """Starts and ends the process through which others watch and steer an experiment.

    The socket on which it listens is the controller's: whoever connects waits in it until the
    process is up, also after it was killed and is started again. Two threads of the controller
    sleep on the connection to it, and are awake for requests alone.

    Args:
        config: Where it listens.
        experiment_path: The experiment's folder, on a local filesystem, with its `journal/`.
        experiment_name: The experiment's name.
        wake: Called, in another thread, when there is something to `take`.

    Attributes:
        address: Where it is reached, `"http://127.0.0.1:4321"`.
        token: What everybody who asks has to know.
        token_file: The file that holds it, readable by this user alone.
    """

    ANSWER_TIMEOUT_S = 30.0

    def __init__(
        self,
        config: ServerConfig,
        experiment_path: str,
        experiment_name: str,
        wake: Callable[[], None],
    ) -> None:
        self._config = config
        self._path = os.path.abspath(experiment_path)
        self._name = experiment_name
        self._wake = wake
        self._requests: deque[tuple[str, Request]] = deque()
        self._listening: socket.socket | None = None
        self._link: _Link | None = None
        self._lock = threading.Lock()  # for the link, which a thread replaces
        self._stopped = threading.Event()
        self._num_revivals = _MAX_REVIVALS
        self.address = ""
        self.token = ""
        self.token_file = ""

    def start(self) -> None:
        """Listens from here on; the process comes up meanwhile.

        Raises:
            MissingDependencyError: The extra `server` is not installed.
            ConfigError: The address cannot be listened on, or needs a token.
        """
        check_libraries(_LIBRARIES)
        self._config.check_token_is_given()
        self.token = self._config.given_token or secrets.token_urlsafe(32)
        self._listening = _listen(self._config)
        port = self._listening.getsockname()[1]
        self.address = f"http://{_reached_by(self._config.host)}:{port}"
        try:
            self.token_file = write_token(
                port, {"address": self.address, "token": self.token, "pid": os.getpid()}
            )
            self._link = self._connect()
        except BaseException:
            self.stop()
            raise

    @property
    def has_given_token(self) -> bool:
        """Whether the token is the user's, who knows it."""
        return self._config.given_token is not None

    @property
    def pid(self) -> int | None:
        """The process's id, None while there is none."""
        link = self._link
        return None if link is None else link.process.pid

    def take(self) -> list[tuple[str, Request]]:
        """The requests that came since the last call, each with its id; never waits."""
        taken = []
        while self._requests:
            taken.append(self._requests.popleft())
        return taken

    def respond(self, request_id: str, outcome: Outcome) -> None:
        """Answers a request, once what it brought about is in the journal; never waits."""
        link = self._link
        if link is not None:
            link.outgoing.put(encode_outcome(request_id, outcome))

    def stop(self, *, is_orderly: bool = True) -> None:
        """Ends the process, which refuses what is still asked; may be called again.

        Args:
            is_orderly: Whether all that was done is answered; otherwise what is still asked is
                said to be perhaps done, as after the death of the controller.
        """
        self._stopped.set()
        with self._lock:
            link, self._link = self._link, None
        if link is not None:
            link.end(is_orderly=is_orderly)
        self._close()

    def _close(self) -> None:
        """Lets nobody in any more."""
        listening, self._listening = self._listening, None
        if listening is not None:
            with contextlib.suppress(OSError):  # a forked child of ours may hold it as well
                listening.shutdown(socket.SHUT_RDWR)
            listening.close()
        if self.token_file:
            remove_token(self.token_file, self.token)

    def _connect(self) -> _Link:
        assert self._listening is not None
        settings = {
            "experiment_path": self._path,
            "experiment_name": self._name,
            "listening": self._listening.fileno(),
            "host": self._config.host,
            "token": self.token,
            "token_file": self.token_file,
            "controller": os.getpid(),
            "answer_timeout_s": self.ANSWER_TIMEOUT_S,
        }
        link = _Link(settings)
        threading.Thread(target=self._receive, args=[link], name="server", daemon=True).start()
        return link

    def _receive(self, link: _Link) -> None:
        """Queues what the process asks, until it ends; starts another one if it died."""
        for line in link.lines():
            if line == _END:
                link.is_ready = True
                continue
            request_id, request = decode_request(line)
            self._requests.append((request_id, request))
            self._wake()
        link.close()
        if link.age_s > _HEALTHY_S:
            self._num_revivals = _MAX_REVIVALS
        while not self._replace(link):
            self._stopped.wait(_PAUSE_S)

    def _replace(self, link: _Link) -> bool:
        """Whether there is nothing left to do about a process that died."""
        with self._lock:
            if self._link is not link:
                return True
            if not self._num_revivals:
                self._link = None
                self._close()
                logger.error("the server died again, and %s is closed", self.address)
                return True
            self._num_revivals -= 1
            try:
                self._link = self._connect()
            except OSError as error:
                logger.warning("the server died and cannot be started again yet (%s)", error)
                return False
        logger.warning("the server died and is started again")
        return True


class _Link:
    """A server process, and the socket that leads to it.

    Attributes:
        process: The process.
        outgoing: Lines to send; None ends the connection.
        is_ready: Whether it has said that it serves.
    """

    def __init__(self, settings: dict[str, object]) -> None:
        self.is_ready = False
        self._begun_at = time.monotonic()
        self.outgoing: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._socket, remote = socket.socketpair()
        self._incoming: IO[bytes] = self._socket.makefile("rb")
        with remote:
            self.process = subprocess.Popen(
                python_command(_MODULE, str(remote.fileno())),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[remote.fileno(), int(str(settings["listening"]))],
                start_new_session=True,
            )
        self.outgoing.put(orjson.dumps(settings) + b"\n")
        threading.Thread(target=self._send, name="server", daemon=True).start()

    @property
    def age_s(self) -> float:
        """Seconds since the process was started."""
        return time.monotonic() - self._begun_at

    def lines(self) -> Iterator[bytes]:
        """What the process sends, until it ends."""
        with contextlib.suppress(OSError):
            yield from (line for line in self._incoming if line.endswith(b"\n"))

    def end(self, *, is_orderly: bool) -> None:
        """Has the process send what it has to send, and end."""
        if not self.is_ready:  # it has served nobody so far
            self.process.kill()
        if is_orderly:
            self.outgoing.put(_END)
        self.outgoing.put(None)
        try:
            self.process.wait(_KILL_AFTER_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def close(self) -> None:
        """Frees what a process that is gone leaves behind."""
        self.outgoing.put(None)
        self.process.kill()  # it has closed its end, and serves nobody
        self.process.wait()
        self._incoming.close()
        self._socket.close()

    def _send(self) -> None:
        with contextlib.suppress(OSError):  # the process died, which the other thread notices
            while (line := self.outgoing.get()) is not None:
                self._socket.sendall(line)
            self._socket.shutdown(socket.SHUT_WR)


def check_can_listen(config: ServerConfig) -> None:
    """Checks that a server can be started, before anything else is done.

    Raises:
        MissingDependencyError: The extra `server` is not installed.
        ConfigError: The address cannot be listened on, or needs a token.
    """
    check_libraries(_LIBRARIES)
    config.check_token_is_given()
    _listen(config).close()


def check_libraries(names: tuple[str, ...]) -> None:
    """Checks that what the extra `server` installs is there.

    Raises:
        MissingDependencyError: It is not.
    """
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingDependencyError(
            f"the server of an experiment needs {' and '.join(missing)}: "
            'pip install "tuner[server]"'
        )


def _listen(config: ServerConfig) -> socket.socket:
    try:
        found = socket.getaddrinfo(
            config.host.strip("[]"), config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        # "localhost" may be ::1 as well, which fewer programs try.
        family, _, _, _, address = min(found, key=lambda each: each[0] != socket.AF_INET)
        return socket.create_server((str(address[0]), config.port), family=family, backlog=1024)
    except socket.gaierror as error:
        reject("ServerConfig", "host", config.host, f"no such host ({error.strerror})")
    except OSError as error:
        fix = f"cannot be listened on ({error.strerror}); choose another, or 0 for one that is free"
        reject("ServerConfig", "port", config.port, fix)


def _reached_by(host: str) -> str:
    """The host in a URL by which this machine's programs reach the server."""
    if host in ("0.0.0.0", "::", "[::]", ""):
        return socket.gethostname()
    return f"[{host.strip('[]')}]" if ":" in host else host
