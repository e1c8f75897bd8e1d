"""Ray clusters of several nodes on this machine, of which nodes can be killed and frozen."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from typing import Any

import psutil
import ray
from ray.cluster_utils import Cluster

_SYSTEM = {  # a node that is gone is noticed in seconds, one that is silent in half a minute
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 10_000,
    "health_check_failure_threshold": 3,
}
STORE_BYTES = 80 * 1024 * 1024


class RayNode:
    """A node of a cluster.

    Args:
        cluster: The cluster.
        resources: What `Cluster.add_node` takes.

    Attributes:
        raylet: The process that trials there name as theirs, see `raylet_here`.
        is_gone: Whether it was removed.
    """

    def __init__(self, cluster: Cluster, **resources: Any) -> None:
        self._cluster = cluster
        self._node = cluster.add_node(
            object_store_memory=STORE_BYTES, include_dashboard=False, **resources
        )
        self.raylet = int(self._node.all_processes["raylet"][0].process.pid)
        self.is_gone = False

    def processes(self) -> list[psutil.Process]:
        """All processes of Ray there, and what these have started."""
        found = []
        for each in self._node.all_processes.values():
            for info in each:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process = psutil.Process(info.process.pid)
                    found += [process, *process.children(recursive=True)]
        return found

    def kill(self) -> None:
        """Does what a loss of power does: everything there is gone at once."""
        self.signal(signal.SIGKILL)
        self.remove()

    def remove(self) -> None:
        """Has the cluster know that the node is gone."""
        if not self.is_gone:
            self.is_gone = True
            self._cluster.remove_node(self._node, allow_graceful=False)

    def signal(self, signum: int) -> None:
        """Signals all its processes."""
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signum)


class RayCluster:
    """A cluster to which this process is connected while it is entered.

    Args:
        head: The resources of the first node, as `Cluster.add_node` takes them; it has no CPUs by
            default, and no trial runs there.

    Attributes:
        folder: Where Ray keeps what it has on this machine.
    """

    def __init__(self, **head: Any) -> None:
        self._head = {"num_cpus": 0, **head}
        self.nodes: list[RayNode] = []
        self._processes: list[psutil.Process] = []

    def __enter__(self) -> RayCluster:
        with contextlib.ExitStack() as stack:
            self.folder = tempfile.mkdtemp(prefix="ray")  # sockets need a short path
            stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
            stack.callback(lambda: psutil.wait_procs(self._processes, timeout=10))
            stack.enter_context(_environment("RAY_TMPDIR", self.folder))
            stack.enter_context(_environment("TUNER_SCRATCH_DIR", f"{self.folder}/scratch"))
            self._cluster = Cluster()
            stack.callback(self._cluster.shutdown)
            self.head = RayNode(self._cluster, _system_config=_SYSTEM, **self._head)
            self.address = str(self._cluster.address)
            self.connect()
            stack.callback(ray.shutdown)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        for node in self.nodes:
            if not node.is_gone:
                node.signal(signal.SIGCONT)
        self._processes = [each for node in [self.head, *self.nodes] for each in node.processes()]
        self._stack.close()

    def connect(self, **options: Any) -> None:
        """Connects this process, with options of `ray.init`."""
        ray.init(address=self.address, log_to_driver=False, **options)

    def add_node(self, **resources: Any) -> RayNode:
        """Adds a node, by default of one CPU; only the main thread can."""
        node = RayNode(self._cluster, **{"num_cpus": 1, **resources})
        self.nodes.append(node)
        return node

    def actors_alive(self) -> list[str]:
        """The classes of the actors that live."""
        from ray._private.state import actors

        return [a["ActorClassName"] for a in actors().values() if a["State"] != "DEAD"]

    def placements(self) -> list[dict[str, Any]]:
        """What is reserved, or asked for."""
        from ray.util import placement_group_table

        return [p for p in placement_group_table().values() if p["state"] != "REMOVED"]


def raylet_here() -> int:
    """In a trial: the process that stands for the node where it runs."""
    return int(os.environ["RAY_RAYLET_PID"])


@contextlib.contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
