"""Nodes of a Ray cluster that see neither the driver's files nor each other's.

They run on this machine, each in a mount namespace of its own: what is hidden is an empty disk in
memory there, which is gone with the node's last process. Where that is not allowed (see
`can_hide`), a node has a folder of its own on this machine's disk, deleted when it is killed.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import ray
from ray_clusters import STORE_BYTES, RayCluster

from tuner.execution.process import die_with_parent

_START_TIMEOUT_S = 240.0
_IN_NAMESPACE = """
set -e
for folder in $HIDDEN; do mount -t tmpfs none "$folder"; done
mkdir -p "$TUNER_SCRATCH_DIR"
cd "$TUNER_SCRATCH_DIR"/..
exec "$0" "$@"
"""


@functools.cache
def can_hide() -> bool:
    """Whether this user may hide folders from the processes that it starts."""
    command = ["unshare", "--mount", "sh", "-c", "mount -t tmpfs none /mnt"]
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


class PrivateNode:
    """A node with one CPU and a disk of its own, which begins to start.

    Args:
        cluster: The cluster.
        name: A custom resource that only this node has, and the name of its folder.
        hidden: A folder that it does not see, beside that of the cluster.
    """

    def __init__(self, cluster: RayCluster, name: str, hidden: Path) -> None:
        self.name = name
        self.is_gone = False
        self._root = Path(cluster.folder, name)
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block"]
        command += ["--address", cluster.address, "--temp-dir", str(self._root)]
        command += ["--num-cpus", "1", "--resources", json.dumps({name: 1})]
        command += ["--object-store-memory", str(STORE_BYTES), "--log-style", "record"]
        prefix = ["unshare", "--mount"] if can_hide() else []
        folders = [cluster.folder, str(hidden)] if can_hide() else []
        self._process = subprocess.Popen(
            [*prefix, "sh", "-c", _IN_NAMESPACE, *command],
            env={
                **os.environ,
                "HIDDEN": " ".join(folders),
                "TUNER_SCRATCH_DIR": f"{self._root}/scratch",
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=functools.partial(die_with_parent, os.getpid(), signal.SIGKILL),
        )

    def wait(self) -> PrivateNode:
        """Waits until the cluster has it."""
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not any(n["Alive"] and self.name in n["Resources"] for n in ray.nodes()):
            assert self._process.poll() is None, f"{self.name} did not start"
            assert time.monotonic() < deadline, f"{self.name} is not there in time"
            time.sleep(0.05)
        return self

    @functools.cached_property
    def raylet(self) -> int:
        """The process that trials there name as theirs, see `raylet_here`."""
        return next(each.pid for each in self._processes() if each.name() == "raylet")

    def in_scratch(self) -> list[str]:
        """What lies in the folder where trials work there."""
        return os.listdir(f"/proc/{self.raylet}/root{self._root}/scratch")

    def kill(self) -> None:
        """Does what a loss of power does: everything there is gone at once, its disk, too."""
        if self.is_gone:
            return
        self.is_gone = True
        processes = self._processes()
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait()
        psutil.wait_procs(processes, timeout=10)
        shutil.rmtree(self._root, ignore_errors=True)

    def _processes(self) -> list[psutil.Process]:
        start = psutil.Process(self._process.pid)
        return [start, *start.children(recursive=True)]


class PrivateNodes:
    """The private nodes of a cluster.

    Args:
        cluster: The cluster.
        hidden: A folder that they do not see.

    Attributes:
        address: The cluster's address.
        alive: Those that were not killed.
    """

    def __init__(self, cluster: RayCluster, hidden: Path) -> None:
        self.address = cluster.address
        self._cluster = cluster
        self._hidden = hidden
        self._num_started = 0
        self.alive: list[PrivateNode] = []

    def add(self) -> PrivateNode:
        """Begins to start one; `wait` for it."""
        self._num_started += 1
        node = PrivateNode(self._cluster, f"node_{self._num_started}", self._hidden)
        self.alive.append(node)
        return node

    def ensure(self, count: int) -> list[PrivateNode]:
        """Just so many nodes, which are up."""
        self.alive = [node for node in self.alive if not node.is_gone]
        for node in self.alive[count:]:
            node.kill()
        while len(self.alive) < count:
            self.add()
        return [node.wait() for node in self.alive[:count]]

    def close(self) -> None:
        """Kills them all."""
        for node in self.alive:
            node.kill()
