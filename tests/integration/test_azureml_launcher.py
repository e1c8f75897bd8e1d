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
from ports import free_port

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
deadline = time.monotonic() + 180
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
        self.ports = [str(free_port()), str(free_port())]
        # Ray's sockets lie there, and their names must be short.
        self._ray_folder = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="ray", dir="/tmp")
        )
        self.pointer = Path(self._ray_folder, "ray", "ray_current_cluster")

    def start(
        self,
        rank: int,
        script: str,
        *args: str,
        num_nodes: int = 2,
        join_timeout_s: float = TIMEOUT_S,
        master: str = "127.0.0.1",
        ray_args: str = RAY_ARGS,
    ) -> subprocess.Popen[str]:
        (self.folder / "script.py").write_text(script)
        job = {"RANK": str(rank), "NODE_RANK": str(rank), "LOCAL_RANK": "0"}
        job |= {"AZUREML_NODE_COUNT": str(num_nodes), "WORLD_SIZE": str(num_nodes)}
        job |= {"MASTER_ADDR": master, "MASTER_PORT": self.ports[0]}
        command = [sys.executable, str(LAUNCH), "--ray-port", self.ports[1]]
        command += [f"--ray-args={ray_args}", "--join-timeout", str(join_timeout_s)]
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
        """Nothing that any node started is left, and no file that leads to the cluster."""
        wait_until(lambda: not marked_processes(self.mark))
        assert not self.pointer.exists()


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


@pytest.mark.slow
def test_the_script_has_all_nodes_and_its_exit_code_is_that_of_all(nodes: Nodes) -> None:
    worker = nodes.start(1, USE_ALL_NODES, "--epochs", "3")
    head = nodes.start(0, USE_ALL_NODES, "--epochs", "3")
    nodes.wait_for("started", head, worker)
    assert nodes.pointer.exists(), "Ray writes it elsewhere"
    worker.terminate()  # as a job is cancelled: a node serves until the script has ended
    (nodes.folder / "go").touch()
    assert head.wait(TIMEOUT_S) == 3, nodes.output(0).read_text()
    assert worker.wait(TIMEOUT_S) == 3, nodes.output(1).read_text()
    assert json.loads((nodes.folder / "seen").read_text()) == [2, 2, ["--epochs", "3"]]
    nodes.assert_gone()


@pytest.mark.slow
@pytest.mark.parametrize("num_nodes", [1, 2])
def test_sigterm_lets_the_script_end_cleanly_but_not_as_completed(
    nodes: Nodes, num_nodes: int
) -> None:
    ranks = [nodes.start(rank, SAVE_AT_SIGTERM, num_nodes=num_nodes) for rank in range(num_nodes)]
    nodes.wait_for("started", *ranks)
    ranks[0].terminate()
    for number, rank in enumerate(ranks):
        assert rank.wait(TIMEOUT_S) == 128 + signal.SIGTERM, nodes.output(number).read_text()
    assert (nodes.folder / "saved").read_text() == str(num_nodes), "Ray was still there"
    message = "launch.py: the script was interrupted, its exit code 0 becomes 143\n"
    assert message in nodes.output(0).read_text()
    nodes.assert_gone()


@pytest.mark.slow
def test_a_job_that_is_cancelled_while_nodes_come_ends_alike_on_all(nodes: Nodes) -> None:
    head = nodes.start(0, USE_ALL_NODES, num_nodes=3)
    worker = nodes.start(1, USE_ALL_NODES, num_nodes=3)
    wait_until(lambda: "rank 1 has come" in nodes.output(0).read_text(), TIMEOUT_S)
    head.terminate()
    assert (head.wait(TIMEOUT_S), worker.wait(TIMEOUT_S)) == (143, 143)
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
    worker = nodes.start(2, USE_ALL_NODES, num_nodes=3)
    head = nodes.start(0, USE_ALL_NODES, num_nodes=3, join_timeout_s=12)
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


@pytest.mark.parametrize("rank", [0, 1])
def test_a_name_that_stays_unknown_is_named(nodes: Nodes, rank: int) -> None:
    node = nodes.start(rank, USE_ALL_NODES, join_timeout_s=0.5, master="node-0.invalid")
    assert node.wait(TIMEOUT_S) == 1
    waiting, error = nodes.output(rank).read_text().splitlines()
    assert waiting.startswith("launch.py: waiting until MASTER_ADDR, 'node-0.invalid', is an addr")
    assert error.startswith(
        "launch.py: MASTER_ADDR is 'node-0.invalid', which was no address within --join-timeout ("
    )
    nodes.assert_gone()


def test_a_job_is_cancelled_while_it_waits_for_a_name(nodes: Nodes) -> None:
    node = nodes.start(1, USE_ALL_NODES, join_timeout_s=TIMEOUT_S, master="node-0.invalid")
    wait_until(lambda: "waiting until MASTER_ADDR" in nodes.output(1).read_text())
    node.terminate()
    assert node.wait(TIMEOUT_S) == 143
    nodes.assert_gone()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "error"),
    [
        (0, "MASTER_PORT is {}, which is taken on this node: "),
        (1, "port {} of this node is taken, Ray's head needs one: name a free one by --ray-port"),
    ],
)
def test_a_port_that_is_taken_is_named_at_once(nodes: Nodes, number: int, error: str) -> None:
    port = nodes.ports[number]
    with socket.create_server(("", int(port))):
        head = nodes.start(0, USE_ALL_NODES, join_timeout_s=1000 * TIMEOUT_S)
        assert head.wait(TIMEOUT_S) == 1
    assert f"launch.py: {error.format(port)}" in nodes.output(0).read_text()
    nodes.assert_gone()


def test_a_head_that_does_not_start_ends_the_job_at_once(nodes: Nodes) -> None:
    nodes.pointer.parent.mkdir()
    nodes.pointer.write_text("192.0.2.1:6379")
    head = nodes.start(
        0, USE_ALL_NODES, num_nodes=1, join_timeout_s=1000 * TIMEOUT_S, ray_args="--no-such-option"
    )
    assert head.wait(TIMEOUT_S) == 1
    output = nodes.output(0).read_text()
    assert "no such option" in output.lower()
    assert output.endswith("launch.py: Ray's head has ended with code 2, see the log above\n")
    assert nodes.pointer.read_text() == "192.0.2.1:6379", "another cluster's"


@pytest.mark.parametrize(
    ("job", "error"),
    [
        (
            {"AZUREML_NODE_COUNT": "2", "NODE_RANK": "1", "MASTER_PORT": ""},
            "MASTER_ADDR, MASTER_PORT missing or empty in a job of 2 nodes: job.yml needs "
            "distribution: {type: pytorch, process_count_per_instance: 1}",
        ),
        (
            {"WORLD_SIZE": "2", "NODE_RANK": "2", "MASTER_ADDR": "n", "MASTER_PORT": "9"},
            "NODE_RANK is '2', not a number from 0 to 1: job.yml needs distribution: "
            "{type: pytorch, process_count_per_instance: 1}",
        ),
        (
            {"WORLD_SIZE": "2", "NODE_RANK": "0", "MASTER_ADDR": "n", "MASTER_PORT": "x"},
            "MASTER_PORT is 'x', not a number from 1 to 65535: job.yml needs distribution: "
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
