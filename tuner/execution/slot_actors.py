"""Slots of a Ray cluster: actors that hold the resources of a trial, and run its workers.

A `ForkingSlot` starts workers from a fork server beside it, so that a trial costs no start of an
actor. A trial that uses Ray itself needs a process that Ray knows: a `RunningSlot` is that worker.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import selectors
import shutil
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from tuner.execution import child_tasks, ray_cluster, ray_progress
from tuner.execution.environment import SECRETS
from tuner.execution.launchers import (
    ForkIsUnsafe,
    ForkLauncher,
    Launcher,
    SpawnLauncher,
    WorkerExit,
    cannot_be_loaded,
)
from tuner.execution.loading import share_main
from tuner.execution.node_payload import node_payload
from tuner.execution.process import kill_children
from tuner.execution.protocol import FrameReader
from tuner.execution.scratch import scratch_folder, worker_folder
from tuner.execution.slot_protocol import KILL, LAUNCH, Role, SlotOrder, exited_frame, hello
from tuner.execution.worker import serve
from tuner.handshake import connect
from tuner.storage.file_server import FileServer

_RECV_BYTES = 64 * 1024


class ForkingSlot:
    """Starts workers that are forked from a server which has loaded the trainable."""

    def serve(self, order: SlotOrder, content: list[Any]) -> None:
        """Starts and kills workers as it is told to, until the controller is gone.

        Args:
            order: What concerns this slot.
            content: The reference of the trainable, as `pickle_trainable` makes it.

        Raises:
            TrainableError: The trainable cannot be loaded here.
        """
        ray_cluster.refuse()
        _prepare(order)
        payload = node_payload(order.secret, lambda: _fetched(content))
        with selectors.DefaultSelector() as selector, _scratch(order) as scratch:
            with _launcher(payload, selector, order, sends_files=scratch is not None) as launcher:
                with _control(order, scratch) as control:
                    selector.register(control, selectors.EVENT_READ)
                    _relay(order, control, selector, launcher, scratch)


class RunningSlot:
    """Runs trials in its own process, one after the other."""

    def serve(self, order: SlotOrder, content: list[Any]) -> None:
        """Is a worker as soon as it is told to, until the controller has no more for it.

        Args:
            order: What concerns this slot.
            content: The reference of the trainable.

        Raises:
            TrainableError: The trainable cannot be loaded here.
        """
        _prepare(order)
        try:
            trainable = _fetched(content)
        except Exception:
            raise cannot_be_loaded(traceback.format_exc()) from None
        share_main(trainable)
        sys.argv = order.setup.argv
        with contextlib.ExitStack() as folder:
            scratch = folder.enter_context(_scratch(order))
            control = folder.enter_context(_control(order, scratch))
            launches: queue.SimpleQueue[int | None] = queue.SimpleQueue()
            threading.Thread(target=_listen, args=[control, launches], daemon=True).start()
            worker_id = launches.get()
            if worker_id is None:
                return
            line, output = _connect_worker(order, worker_id)
            with line, output, _output_sent_to(output), child_tasks.checked(order.bundles):
                with ray_progress.hidden():
                    serve(line, trainable, **order.setup.settings())
            if scratch is not None:
                shutil.rmtree(scratch, ignore_errors=True)  # it is killed after what it says now
            with contextlib.suppress(OSError):
                control.sendall(exited_frame(WorkerExit(worker_id, 0)))


def _prepare(order: SlotOrder) -> None:
    """Takes over the script's import path and variables, as far as they are not set here."""
    sys.path += [entry for entry in order.import_path if entry not in sys.path]
    for name, value in order.setup.environ.items():
        os.environ.setdefault(name, value)
    for name in SECRETS:  # a cluster that the script has started holds them
        os.environ.pop(name, None)


def _fetched(content: list[Any]) -> Any:
    import ray

    return ray.get(content[0])


def _relay(
    order: SlotOrder,
    control: socket.socket,
    selector: selectors.BaseSelector,
    launcher: Launcher,
    scratch: str | None,
) -> None:
    reader = FrameReader()
    while True:
        ready = {key.fd for key, _ in selector.select()}
        if control.fileno() in ready:
            data = _received(control)
            if not data:
                return
            for kind, body in reader.feed(data):
                request = json.loads(body)
                if kind == LAUNCH:
                    _launch(order, launcher, request["worker"])
                elif kind == KILL:
                    launcher.kill(request["worker"], request["signal"])
        for ended in launcher.exits(ready):
            if scratch is not None:
                shutil.rmtree(worker_folder(scratch, ended.worker_id), ignore_errors=True)
            control.sendall(exited_frame(ended))


def _launch(order: SlotOrder, launcher: Launcher, worker_id: int) -> None:
    line, output = _connect_worker(order, worker_id)
    with line, output:
        launcher.launch(worker_id, line, output.fileno())


def _connect_worker(order: SlotOrder, worker_id: int) -> tuple[socket.socket, socket.socket]:
    """The worker's line, and where it prints to."""

    def connected(role: Role) -> socket.socket:
        greeting = hello(role, order.slot_id, worker=worker_id)
        return connect(order.address, order.secret, greeting)

    return connected("line"), connected("output")


def _control(order: SlotOrder, scratch: str | None) -> socket.socket:
    """Connects to the controller, which from then on counts on this slot."""
    import ray

    greeting = hello(
        "control",
        order.slot_id,
        node_id=ray.get_runtime_context().get_node_id(),
        scratch=scratch,
        directory=None if os.path.isdir(order.directory) else os.getcwd(),
    )
    return connect(order.address, order.secret, greeting)


def _scratch(order: SlotOrder) -> contextlib.AbstractContextManager[str | None]:
    """Where trials work, None if they see their own folders."""
    if _sees_folder(order):
        return contextlib.nullcontext()
    return scratch_folder(order.slot_id)


def _sees_folder(order: SlotOrder) -> bool:
    """Whether the experiment's folder on the controller's machine is seen from here as well."""
    if order.is_shared is not None or order.probe is None:
        return bool(order.is_shared)
    path, content = order.probe
    try:
        with open(path) as file:
            return file.read() == content
    except OSError:
        return False


@contextlib.contextmanager
def _output_sent_to(sock: socket.socket) -> Iterator[None]:
    """While entered, what this process prints goes there and no longer to Ray's logs."""
    sys.stdout.flush()
    sys.stderr.flush()
    before = [os.dup(fd) for fd in (1, 2)]
    for fd in (1, 2):
        os.dup2(sock.fileno(), fd)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for fd, original in zip((1, 2), before, strict=True):
            os.dup2(original, fd)
            os.close(original)


@contextlib.contextmanager
def _launcher(
    payload: int, selector: selectors.BaseSelector, order: SlotOrder, *, sends_files: bool
) -> Iterator[Launcher]:
    """What starts workers, once it has loaded the trainable; kills them in the end."""
    setup = order.setup
    if sends_files:
        setup = replace(setup, modules=(*setup.modules, *FileServer.modules))
    launcher: Launcher = ForkLauncher(payload, selector, setup)
    try:
        while not launcher.is_ready:
            launcher.exits({key.fd for key, _ in selector.select()})
    except ForkIsUnsafe:
        launcher.close()
        launcher = SpawnLauncher(payload, selector, setup)
    except BaseException:
        launcher.close()
        raise
    try:
        yield launcher
    finally:
        launcher.close()
        os.close(payload)


def _listen(control: socket.socket, launches: queue.SimpleQueue[int | None]) -> None:
    """Hands on when to begin, and signals this process when it is told to."""
    reader = FrameReader()
    while data := _received(control):
        for kind, body in reader.feed(data):
            request = json.loads(body)
            if kind == LAUNCH:
                launches.put(request["worker"])
            elif kind == KILL and request["signal"] == signal.SIGKILL:
                kill_children()
                os._exit(128 + signal.SIGKILL)
            elif kind == KILL:
                os.kill(os.getpid(), request["signal"])
    launches.put(None)


def _received(control: socket.socket) -> bytes:
    try:
        return control.recv(_RECV_BYTES)
    except OSError:  # the controller's machine is gone
        return b""
