"""Starts the actors of slots, and gives them what they need to be of use."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from tuner.checkpoint import Checkpoint
from tuner.execution import ray_cluster
from tuner.execution.executor import Job
from tuner.execution.launchers import WorkerSetup
from tuner.execution.payload import pickle_trainable
from tuner.execution.protocol import Assignment
from tuner.execution.ray_head import NoAnswer
from tuner.execution.scratch import worker_folder
from tuner.execution.slot import Slot
from tuner.execution.slot_actors import ForkingSlot, RunningSlot
from tuner.execution.slot_protocol import SlotOrder
from tuner.handshake import Listener, new_secret
from tuner.storage.file_server import FileServer
from tuner.storage.storage import Storage

_PROBE_FILE = ".seen_by_nodes"


class SlotStarter:
    """Starts actors that connect to this process.

    Args:
        job: What trials run.
        runtime_env: What Ray is to prepare for them.
        is_shared: Whether nodes see the experiment's folder; None if each is to look.
        on_connection: Takes the connections of slots, each with its hello, in some thread.

    Raises:
        TrainableError: The trainable cannot be pickled.
    """

    def __init__(
        self,
        job: Job,
        runtime_env: dict[str, Any] | None,
        is_shared: bool | None,
        on_connection: Callable[[socket.socket, dict[str, Any]], None],
    ) -> None:
        self._job = job
        self._runtime_env = runtime_env
        self._is_shared = is_shared
        self._secret = new_secret()
        self._pickled: list[Any] | None = pickle_trainable(job.trainable, job.name)
        self._contents: dict[bool, Any] = {}  # the trainable in Ray's store, by who is to load it
        self._setup = WorkerSetup.of_this_process(job.modules)
        self._probe = self._write_probe() if is_shared is None else None
        host = ray_cluster.node_ip()
        self._files = FileServer(job.path, host, new_secret())
        self._listener = Listener(host, self._secret, on_connection)

    def start(
        self,
        slots: list[Slot],
        *,
        runs_in_actor: bool,
        on_end: Callable[[Slot, int, BaseException | None], None],
    ) -> None:
        """Starts an actor in each slot, but for those where the head of the cluster is silent.

        Args:
            slots: The slots.
            runs_in_actor: Whether trials run in the actor's own process.
            on_end: Called in some thread when the actor of a slot has nothing more to do, or is
                gone, with the number of its start.
        """
        with contextlib.suppress(NoAnswer):
            for slot in slots:
                slot.start_number += 1
                actor_class = RunningSlot if runs_in_actor else ForkingSlot
                slot.actor = slot.placement.start(actor_class, self._runtime_env)
        started = [slot for slot in slots if slot.actor is not None]
        content = self._content(runs_in_actor)  # put there while the processes start
        for slot in started:
            ended = partial(on_end, slot, slot.start_number)
            slot.running = ray_cluster.serve(slot.actor, self._order(slot), content, ended)

    def _content(self, runs_in_actor: bool) -> Any:
        """The reference of the trainable in Ray's store."""
        if runs_in_actor not in self._contents:
            trainable, pickled = self._job.trainable, self._pickled
            self._pickled = None  # it may be large
            if runs_in_actor:
                content = trainable
            else:
                content = ray_cluster.storable(
                    pickled or pickle_trainable(trainable, self._job.name)
                )
            self._contents[runs_in_actor] = ray_cluster.store(content)
        return self._contents[runs_in_actor]

    def _order(self, slot: Slot) -> SlotOrder:
        return SlotOrder(
            slot_id=slot.slot_id,
            address=self._listener.address,
            secret=self._secret,
            setup=self._setup,
            is_shared=self._is_shared,
            probe=self._probe,
            directory=os.getcwd(),
            import_path=[os.path.abspath(entry) for entry in sys.path],
            bundles=slot.placement.bundles,
        )

    def fitted(self, assignment: Assignment, slot: Slot, worker_id: int) -> Assignment:
        """An assignment as a worker of a slot needs it, which may not see the same folders."""
        greeting = slot.greeting
        if greeting["directory"] is not None:  # the driver's own is not there
            assignment = replace(assignment, driver_directory=greeting["directory"])
        if greeting["scratch"] is None:  # it sees the experiment's folder
            return assignment
        folder = worker_folder(greeting["scratch"], worker_id)
        path = os.path.join(folder, os.path.basename(assignment.path))
        checkpoint = assignment.checkpoint
        if checkpoint is not None and checkpoint.is_local:
            checkpoint = Checkpoint(checkpoint.path, self._files.filesystem)
        return replace(
            assignment,
            path=path,
            home=Storage(self._files.filesystem, assignment.path),
            checkpoint=checkpoint,
            stdout=_moved(assignment.stdout, path),
            stderr=_moved(assignment.stderr, path),
        )

    def revive(self) -> None:
        """Starts what serves files again if it was killed."""
        self._files.revive()

    def close(self) -> None:
        """Takes no more connections."""
        self._listener.close()
        self._files.close()
        if self._probe is not None:
            with contextlib.suppress(FileNotFoundError):
                os.remove(self._probe[0])

    def _write_probe(self) -> tuple[str, str]:
        """Writes a file by which slots find out whether they see the experiment's folder."""
        path, content = os.path.join(self._job.path, _PROBE_FILE), secrets.token_hex(16)
        with open(path, "w") as file:
            file.write(content)
        return path, content


def _moved(path: str | None, folder: str) -> str | None:
    """The file of the same name in a folder."""
    return None if path is None else os.path.join(folder, os.path.basename(path))
