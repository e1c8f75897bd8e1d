"""examples/azureml/launch.py on several nodes, which are processes of this machine."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from fit_helpers import MARK, marked_processes, wait_until

pytest.importorskip("ray")

LAUNCH = Path(__file__).parents[2] / "examples" / "azureml" / "launch.py"
TIMEOUT_S = 240.0
RAY_ARGS = "--num-cpus=1 --object-store-memory=100000000 --min-worker-port=0 --max-worker-port=0"
OF_THE_JOB = ("AZUREML", "MASTER", "NODE_RANK", "LOCAL_RANK", "WORLD_SIZE", "RAY_", "OMPI")

USE_ALL_NODES = """
import json, os, sys, time
from pathlib import Path
import ray

@ray.remote(num_cpus=1)
def node():
    return ray.get_runtime_context().get_node_id()

ray.init()
Path("started").touch()
while not Path("go").exists():
    time.sleep(0.1)
nodes = {each["NodeID"] for each in ray.nodes() if each["Alive"]}
reached = set()
deadline = time.monotonic() + 60
while reached != nodes and time.monotonic() < deadline:
    reached |= set(ray.get([node.remote() for _ in range(4)]))
Path("seen").write_text(json.dumps([len(nodes), len(reached), sys.argv[1:]]))
sys.exit(3)
"""

SAVE_AT_SIGTERM = """
import os, signal, sys, time
from pathlib import Path
import ray

def save(signum, frame):
    Path("saved").write_text(str(sum(node["Alive"] for node in ray.nodes())))
    sys.exit(0)

ray.init()
signal.signal(signal.SIGTERM, save)
Path("started").touch()
while True:
    time.sleep(0.1)
"""


class Nodes:
    """Nodes of a job, each with the variables that AzureML sets for `type: pytorch`."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.mark = uuid.uuid4().hex
        self._stack = stack
        self._ports = [str(free_port()), str(free_port())]
        # Ray's sockets lie there, and their names must be short.
        self._ray_folder = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="ray", dir="/tmp")
        )

    def start(
        self, rank: int, script: str, *args: str, num_nodes: int = 2, join_timeout_s: float = 60
    ) -> subprocess.Popen[str]:
        (self.folder / "script.py").write_text(script)
        job = {"RANK": str(rank), "NODE_RANK": str(rank), "LOCAL_RANK": "0"}
        job |= {"AZUREML_NODE_COUNT": str(num_nodes), "WORLD_SIZE": str(num_nodes)}
        job |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": self._ports[0]}
        command = [sys.executable, str(LAUNCH), "--ray-port", self._ports[1]]
        command += ["--ray-args", RAY_ARGS, "--join-timeout", str(join_timeout_s)]
        with open(self.output(rank), "w") as output:
            process = subprocess.Popen(
                [*command, "script.py", *args],
                cwd=self.folder,
                env=environment(**job, RAY_TMPDIR=self._ray_folder, **{MARK: self.mark}),
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
            )
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        return process

    def output(self, rank: int) -> Path:
        return self.folder / f"output_{rank}"

    def wait_for(self, name: str, *processes: subprocess.Popen[str]) -> None:
        """Waits until the script has written a file."""

        def is_there() -> bool:
            codes = [process.poll() for process in processes]
            assert codes == [None] * len(codes), "".join(
                path.read_text() for path in sorted(self.folder.glob("output_*"))
            )
            return (self.folder / name).exists()

        wait_until(is_there, TIMEOUT_S)

    def assert_gone(self) -> None:
        """Nothing that any node started is left."""
        wait_until(lambda: not marked_processes(self.mark))


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    with ExitStack() as stack:
        nodes = Nodes(tmp_path, stack)
        yield nodes
        for pid in marked_processes(nodes.mark):
            os.kill(pid, signal.SIGKILL)


def environment(**job: str) -> dict[str, str]:
    """The environment without what another job or cluster has set."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith(OF_THE_JOB)}
    return kept | job


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@pytest.mark.slow
def test_the_script_has_all_nodes_and_its_exit_code_is_that_of_all(nodes: Nodes) -> None:
    worker = nodes.start(1, USE_ALL_NODES, "--epochs", "3")
    head = nodes.start(0, USE_ALL_NODES, "--epochs", "3")
    nodes.wait_for("started", head, worker)
    worker.terminate()  # as a job is cancelled: a node serves until the script has ended
    (nodes.folder / "go").touch()
    assert head.wait(TIMEOUT_S) == 3, nodes.output(0).read_text()
    assert worker.wait(TIMEOUT_S) == 3, nodes.output(1).read_text()
    assert json.loads((nodes.folder / "seen").read_text()) == [2, 2, ["--epochs", "3"]]
    nodes.assert_gone()


@pytest.mark.slow
def test_sigterm_lets_the_script_end_cleanly_on_one_node(nodes: Nodes) -> None:
    head = nodes.start(0, SAVE_AT_SIGTERM, num_nodes=1)
    nodes.wait_for("started", head)
    head.terminate()
    assert head.wait(TIMEOUT_S) == 0, nodes.output(0).read_text()
    assert (nodes.folder / "saved").read_text() == "1", "Ray was still there"
    nodes.assert_gone()


@pytest.mark.slow
def test_a_node_ends_when_rank_0_is_killed(nodes: Nodes) -> None:
    head = nodes.start(0, USE_ALL_NODES)
    worker = nodes.start(1, USE_ALL_NODES)
    nodes.wait_for("started", head, worker)
    head.kill()
    assert worker.wait(TIMEOUT_S) == 1
    assert nodes.output(1).read_text().endswith("launch.py: rank 0 is gone\n")
    nodes.assert_gone()


@pytest.mark.slow
def test_a_node_that_never_comes_is_named(nodes: Nodes) -> None:
    head = nodes.start(0, USE_ALL_NODES, num_nodes=3, join_timeout_s=5)
    worker = nodes.start(2, USE_ALL_NODES, num_nodes=3)
    assert head.wait(TIMEOUT_S) == 1
    assert worker.wait(TIMEOUT_S) == 1
    assert (
        "launch.py: 1 of 3 nodes did not come within --join-timeout, rank 1: "
        "see the logs of these nodes\n"
    ) in nodes.output(0).read_text()
    assert not (nodes.folder / "started").exists()
    nodes.assert_gone()


def test_a_rank_0_that_never_comes_is_named(nodes: Nodes) -> None:
    worker = nodes.start(1, USE_ALL_NODES, join_timeout_s=0.5)
    assert worker.wait(TIMEOUT_S) == 1
    output = nodes.output(1).read_text()
    assert output.startswith("launch.py: rank 0 did not answer at 127.0.0.1:")
    assert "within --join-timeout" in output
    nodes.assert_gone()


@pytest.mark.parametrize(
    ("job", "error"),
    [
        (
            {"AZUREML_NODE_COUNT": "2", "NODE_RANK": "1"},
            "MASTER_ADDR, MASTER_PORT not set in a job of 2 nodes: job.yml needs distribution: "
            "{type: pytorch, process_count_per_instance: 1}",
        ),
        (
            {"WORLD_SIZE": "4", "LOCAL_RANK": "2"},
            "LOCAL_RANK is 2, not 0: job.yml needs distribution: "
            "{type: pytorch, process_count_per_instance: 1}",
        ),
    ],
)
def test_a_job_with_another_distribution_is_refused(job: dict[str, str], error: str) -> None:
    done = subprocess.run(
        [sys.executable, str(LAUNCH), "train.py"],
        env=environment(**job),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert (done.returncode, done.stdout) == (1, f"launch.py: {error}\n")


def test_a_script_must_be_named() -> None:
    done = subprocess.run(
        [sys.executable, str(LAUNCH)], env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "name the script: python launch.py train.py" in done.stderr
