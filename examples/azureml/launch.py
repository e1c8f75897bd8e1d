"""Runs a script on a Ray cluster made of the nodes of an AzureML job.

AzureML starts this once per node (`distribution: {type: pytorch, process_count_per_instance: 1}`):

    python launch.py train.py --epochs 3

The node of rank 0 starts Ray's head, waits for the others, runs the script with RAY_ADDRESS set,
and ends with its exit code. The others start a Ray worker each, and end as the script does. Each
holds a connection to rank 0 (at MASTER_ADDR, MASTER_PORT), by whose end one knows that the other
is gone, and by which it gets the token that all of this cluster's traffic is authenticated with.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import errno
import os
import secrets
import select
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType

POLL_S = 0.2
STOP_S = 15.0  # what a program gets to end after SIGTERM, before SIGKILL
GRACE_S = 30.0  # for how long a node that got SIGTERM still serves the script
FAILED = 1
TERMINATED = 128 + signal.SIGTERM
LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1
NEEDED = "job.yml needs distribution: {type: pytorch, process_count_per_instance: 1}"

RAY_SETTINGS = {
    "RAY_AUTH_MODE": "token",
    "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",  # Ray ends after the script, nothing is drained
}

WAIT_FOR_NODES = """
import sys, time, ray
ray.init(sys.argv[1], log_to_driver=False, logging_level="error")
while sum(node["Alive"] for node in ray.nodes()) < int(sys.argv[2]):
    time.sleep(0.2)
"""


class LaunchError(Exception):
    """The cluster could not be made, or was lost."""


class Terminated(Exception):
    """SIGTERM asked this node to end."""


@dataclass(frozen=True)
class Job:
    """What AzureML tells each node about the job.

    Attributes:
        rank: Which node this is, from 0.
        num_nodes: How many there are.
        host: Name or IP address of the node of rank 0.
        port: A free port there.
    """

    rank: int
    num_nodes: int
    host: str
    port: int

    @classmethod
    def of_environment(cls) -> Job:
        """The job as the environment variables have it; a job of one node needs none."""
        if os.environ.get("LOCAL_RANK", "0") != "0":
            raise LaunchError(f"LOCAL_RANK is {os.environ['LOCAL_RANK']}, not 0: {NEEDED}")
        counted = "AZUREML_NODE_COUNT" if os.environ.get("AZUREML_NODE_COUNT") else "WORLD_SIZE"
        num_nodes = number(counted, 1, 100_000) if os.environ.get(counted) else 1
        if num_nodes == 1:
            return cls(0, 1, "127.0.0.1", 0)
        needed = ["NODE_RANK", "MASTER_ADDR", "MASTER_PORT"]
        if missing := [name for name in needed if not os.environ.get(name)]:
            names = ", ".join(sorted(missing))
            raise LaunchError(f"{names} missing or empty in a job of {num_nodes} nodes: {NEEDED}")
        return cls(
            rank=number("NODE_RANK", 0, num_nodes - 1),
            num_nodes=num_nodes,
            host=os.environ["MASTER_ADDR"],
            port=number("MASTER_PORT", 1, 65535),
        )


class Sigterm:
    """Takes SIGTERM as a request, to be answered at a safe place.

    Attributes:
        times: When it came, as of `time.monotonic()`.
    """

    def __init__(self) -> None:
        self.times: list[float] = []
        signal.signal(signal.SIGTERM, self._on_signal)

    def check(self, grace_s: float = 0.0) -> None:
        """Raises Terminated once the first one is so many seconds ago."""
        if self.times and time.monotonic() - self.times[0] >= grace_s:
            raise Terminated

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        self.times.append(time.monotonic())


def number(name: str, least: int, most: int) -> int:
    """The value of an environment variable, which must be such a number."""
    text = os.environ[name].strip()
    if not text.isdecimal() or not least <= int(text) <= most:
        raise LaunchError(f"{name} is {text!r}, not a number from {least} to {most}: {NEEDED}")
    return int(text)


def resolved(job: Job, deadline: float, sigterm: Sigterm) -> Job:
    """The job with an IP address; the name of a node may become known after others have started."""
    is_told = False
    while True:
        sigterm.check()
        try:
            return replace(job, host=socket.gethostbyname(job.host))
        except (OSError, UnicodeError) as error:
            if time.monotonic() > deadline:
                raise LaunchError(
                    f"MASTER_ADDR is {job.host!r}, which was no address within --join-timeout "
                    f"({error}): see the log of node 0, and whether the nodes share a network"
                ) from None
            if not is_told:
                is_told = True
                log(f"waiting until MASTER_ADDR, {job.host!r}, is an address ({error})")
            time.sleep(POLL_S)


def lead(job: Job, options: argparse.Namespace, sigterm: Sigterm, deadline: float) -> int:
    """Rank 0: makes the cluster and runs the script there; its exit code."""
    if not is_free(job.host, options.ray_port):
        raise LaunchError(
            f"port {options.ray_port} of this node is taken, Ray's head needs one: "
            "name a free one by --ray-port"
        )
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    address = f"{job.host}:{options.ray_port}"
    head = ["--head", f"--node-ip-address={job.host}", f"--port={options.ray_port}"]
    workers: dict[int, socket.socket] = {}
    code = FAILED
    with ray_node([*head, "--include-dashboard=false"], address, options) as ray:

        def check() -> None:
            sigterm.check()
            check_alive(ray, "Ray's head")

        try:
            accept(job, address, workers, check, deadline)
            wait_for_nodes(address, workers, check, deadline)
            log(f"{job.num_nodes} of {job.num_nodes} nodes are there, the script starts")
            code = run_script(options.command, address, sigterm)
        except Terminated:
            code = TERMINATED
            raise
        finally:
            for worker in workers.values():
                send(worker, str(code))
                worker.close()
    return code


def follow(job: Job, options: argparse.Namespace, sigterm: Sigterm, deadline: float) -> int:
    """Another rank: gives its node to the cluster until the script has ended; its exit code."""
    with connected(job, deadline, sigterm) as leader:
        send(leader, str(job.rank))
        address, os.environ["RAY_AUTH_TOKEN"] = receive(leader, sigterm.check).split()
        with ray_node([f"--address={address}"], address, options) as ray:

            def check() -> None:
                sigterm.check(GRACE_S)  # if all of the job is to end, what runs here is saved first
                check_alive(ray, "the Ray worker")

            code = int(receive(leader, check))
    log(f"rank 0 has ended with code {code}")
    return code


def accept(
    job: Job,
    address: str,
    workers: dict[int, socket.socket],
    check: Callable[[], None],
    deadline: float,
) -> None:
    """Takes the connections of all other ranks, and tells them how to reach Ray's head."""
    others = set(range(1, job.num_nodes))
    if not others:
        return
    if not is_free("", job.port):
        raise LaunchError(f"MASTER_PORT is {job.port}, which is taken on this node: {NEEDED}")
    with socket.create_server(("", job.port), backlog=job.num_nodes) as server:
        while missing := sorted(others - workers.keys()):
            check()
            if time.monotonic() > deadline:
                raise LaunchError(
                    f"{len(missing)} of {job.num_nodes} nodes did not come within --join-timeout, "
                    f"rank {', '.join(map(str, missing))}: see the logs of these nodes"
                )
            if not is_readable(server, POLL_S):
                continue
            connection, _ = server.accept()
            keep_alive(connection)
            try:
                rank = int(receive(connection, check, time.monotonic() + 30))
            except (LaunchError, ValueError):
                rank = -1
            if rank not in missing:  # somebody else who tries ports
                connection.close()
                continue
            send(connection, f"{address} {os.environ['RAY_AUTH_TOKEN']}")
            workers[rank] = connection
            log(f"rank {rank} has come")


def wait_for_nodes(
    address: str,
    workers: dict[int, socket.socket],
    check: Callable[[], None],
    deadline: float,
) -> None:
    """Waits until Ray has all nodes."""
    num_nodes = len(workers) + 1
    host, _, port = address.rpartition(":")
    with contextlib.ExitStack() as stack:
        waiting = None
        while waiting is None or waiting.poll() is None:
            check()
            for rank, worker in workers.items():
                if is_readable(worker, 0):  # it has nothing to say, so this is its end
                    raise LaunchError(f"rank {rank} has ended, see its log")
            if time.monotonic() > deadline:
                raise LaunchError(f"Ray did not have {num_nodes} nodes within --join-timeout")
            if waiting is None and answers(host, int(port)):
                command = [sys.executable, "-c", WAIT_FOR_NODES, address, str(num_nodes)]
                waiting = stack.enter_context(running(command))
            time.sleep(POLL_S)
        if waiting.returncode:
            raise LaunchError("Ray's head does not say which nodes there are: see the log above")


def run_script(command: list[str], address: str, sigterm: Sigterm) -> int:
    """Runs the script until it ends, passing SIGTERM on to it; its exit code.

    A script that saves and ends by itself at SIGTERM was interrupted nevertheless, and the job must
    not count as completed.
    """
    with running([sys.executable, *command], RAY_ADDRESS=address) as script:
        passed_on = 0
        while (code := script.poll()) is None:
            if passed_on < len(sigterm.times):
                passed_on += 1
                log("SIGTERM is passed on to the script")
                script.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                script.wait(POLL_S)
    if passed_on and code == 0:
        log(f"the script was interrupted, its exit code 0 becomes {TERMINATED}")
        return TERMINATED
    return code if code >= 0 else 128 - code


@contextlib.contextmanager
def ray_node(
    arguments: list[str], address: str, options: argparse.Namespace
) -> Iterator[subprocess.Popen[bytes]]:
    """A node of the Ray cluster at an address, which runs within the block."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block"]
    more = shlex.split(options.ray_args)
    try:
        with running([*command, "--disable-usage-stats", *arguments, *more]) as process:
            yield process
    finally:
        remove_pointer(address, more)


def remove_pointer(address: str, ray_args: list[str]) -> None:
    """Removes the file by which Ray tells other programs of this machine where the cluster is.

    Only `ray stop` would, which ends all clusters of the machine. Programs that find the file try
    for minutes to reach a cluster that is gone.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--temp-dir")
    temporary = os.environ.get("RAY_TMPDIR", os.environ.get("TMPDIR", "/tmp"))
    folder = parser.parse_known_args(ray_args)[0].temp_dir or os.path.join(temporary, "ray")
    file = Path(folder, "ray_current_cluster")
    with contextlib.suppress(OSError):
        host, _, port = address.rpartition(":")
        named_host, _, named_port = file.read_text().strip().rpartition(":")
        # Ray writes the machine's address instead of localhost.
        if port == named_port and (host == named_host or host.startswith("127.")):
            file.unlink()


@contextlib.contextmanager
def running(command: list[str], **environ: str) -> Iterator[subprocess.Popen[bytes]]:
    """A program that runs within the block and not longer, also if this one is killed."""
    inherited = {name: text for name, text in os.environ.items() if name != "RAY_ADDRESS"}
    process = subprocess.Popen(
        command,
        env=RAY_SETTINGS | inherited | environ,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=lambda: LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM),
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def check_alive(process: subprocess.Popen[bytes], name: str) -> None:
    if process.poll() is not None:
        raise LaunchError(f"{name} has ended with code {process.returncode}, see the log above")


@contextlib.contextmanager
def connected(job: Job, deadline: float, sigterm: Sigterm) -> Iterator[socket.socket]:
    """A connection to rank 0, which may start later than this node."""
    connection = None
    while connection is None:
        sigterm.check()
        try:
            connection = socket.create_connection((job.host, job.port), timeout=5)
        except OSError as error:
            if time.monotonic() > deadline:
                raise LaunchError(
                    f"rank 0 did not answer at {job.host}:{job.port} within --join-timeout: {error}"
                ) from None
            time.sleep(POLL_S)
    with connection:
        keep_alive(connection)
        yield connection


def keep_alive(connection: socket.socket) -> None:
    """Has a connection break within a minute after the other machine has vanished."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 20)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4)


def is_free(host: str, port: int) -> bool:
    """Whether nobody listens there, which is on this node."""
    try:
        socket.create_server((host, port)).close()
    except OSError as error:
        return error.errno != errno.EADDRINUSE  # Ray itself says what else is wrong
    return True


def answers(host: str, port: int) -> bool:
    """Whether somebody listens there."""
    try:
        socket.create_connection((host, port), timeout=5).close()
    except OSError:
        return False
    return True


def is_readable(connection: socket.socket, timeout_s: float) -> bool:
    return bool(select.select([connection], [], [], timeout_s)[0])


def send(connection: socket.socket, line: str) -> None:
    """Sends a line; if the other side is gone, it needs none."""
    with contextlib.suppress(OSError):
        connection.sendall(f"{line}\n".encode())


def receive(
    connection: socket.socket, check: Callable[[], None], deadline: float = float("inf")
) -> str:
    """The next line.

    Args:
        connection: Where it comes from.
        check: Called while it waits; may raise.
        deadline: As of `time.monotonic()`.

    Raises:
        LaunchError: The other side is gone, or the deadline has passed.
    """
    line = b""
    while not line.endswith(b"\n"):
        check()
        if time.monotonic() > deadline:
            raise LaunchError("no line came in time")
        if is_readable(connection, POLL_S):
            data = b""
            with contextlib.suppress(OSError):
                data = connection.recv(1)
            if not data:
                raise LaunchError("rank 0 is gone")
            line += data
    return line.decode(errors="replace").strip()


def log(text: str) -> None:
    print(f"launch.py: {text}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--join-timeout", type=float, default=900, help="seconds for all to come")
    parser.add_argument("--ray-port", type=int, default=6379, help="of Ray's head")
    parser.add_argument("--ray-args", default="", help="more for `ray start`, on every node")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="the script and its arguments")
    options = parser.parse_args()
    if not options.command:
        parser.error("name the script: python launch.py train.py …")
    sigterm = Sigterm()
    deadline = time.monotonic() + options.join_timeout
    try:
        job = resolved(Job.of_environment(), deadline, sigterm)
        run = lead if job.rank == 0 else follow
        return run(job, options, sigterm, deadline)
    except LaunchError as error:
        log(str(error))
        return FAILED
    except Terminated:
        log("ended by SIGTERM")
        return TERMINATED


if __name__ == "__main__":
    sys.exit(main())
