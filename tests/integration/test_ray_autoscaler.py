"""An autoscaler adds nodes for trials, as many as these have use for."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from fit_helpers import run_script, wait_until
from ports import free_port
from ray._private.services import get_node_ip_address
from ray_helpers import PATIENCE_S

CPUS_PER_NODE, MOST_NODES = 2, 2
SCRIPT = f"""
import os
import time
from pathlib import Path
import tuner as tune

begun = Path("begun").absolute()
begun.mkdir()

def train(config):
    (begun / tune.get_context().get_trial_id()).touch()
    deadline = time.monotonic() + 180
    while len(os.listdir(begun)) < {CPUS_PER_NODE * MOST_NODES}:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return {{"node": os.environ["RAY_RAYLET_PID"]}}

results = tune.Tuner(
    train,
    tune_config=tune.TuneConfig(num_samples=6),
    run_config=tune.RunConfig(verbose=0),
).fit()
print(len({{result.metrics["node"] for result in results}}))
"""


@pytest.fixture
def address() -> Iterator[str]:
    """A cluster without CPUs, and an autoscaler that can add nodes of two."""
    folder = Path(tempfile.mkdtemp(prefix="ray"))
    address = f"{get_node_ip_address()}:{free_port()}"
    (folder / "config.yaml").write_text(json.dumps(autoscaling_config(address)))
    process = start_head(folder, address)
    try:
        wait_until(lambda: "Ray runtime started" in (folder / "log").read_text(), PATIENCE_S)
        yield address
    finally:
        for each in [process, *of_cluster(folder)]:
            each.kill()
        process.wait()
        wait_until(lambda: not of_cluster(folder))
        shutil.rmtree(folder, ignore_errors=True)


def autoscaling_config(address: str) -> dict[str, object]:
    """Nodes are processes of this machine."""
    worker = {"CPU": CPUS_PER_NODE, "object_store_memory": 80 * 1024 * 1024}
    names = ("file_mounts", "docker", "head_node", "worker_nodes")
    steps = ("initialization", "setup", "head_setup", "worker_setup")
    starts = ("head_start_ray_commands", "worker_start_ray_commands")
    lists = (*(f"{step}_commands" for step in steps), *starts, "cluster_synced_files")
    return {
        "cluster_name": "fake",
        "max_workers": MOST_NODES,
        "idle_timeout_minutes": 5,
        "provider": {
            "type": "fake_multinode",
            "gcs_address": address,
            "use_node_id_as_ip": True,
            "disable_node_updaters": True,
        },
        "auth": {"ssh_user": "nobody"},
        "head_node_type": "ray.head.default",
        "available_node_types": {
            "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
            "worker": {"resources": worker, "node_config": {}, "max_workers": MOST_NODES},
        },
        "file_mounts_sync_continuously": False,
        "rsync_exclude": [],
        "rsync_filter": [],
        **{name: {} for name in names},
        **{name: [] for name in lists},
    }


def start_head(folder: Path, address: str) -> subprocess.Popen[bytes]:
    command = [
        *(str(Path(sys.executable).with_name("ray")), "start", "--head", "--block"),
        *(f"--port={address.rpartition(':')[2]}", "--num-cpus=0", "--include-dashboard=false"),
        *(f"--object-store-memory={80 * 1024 * 1024}", f"--temp-dir={folder}"),
        f"--autoscaling-config={folder / 'config.yaml'}",
    ]
    environ = {
        **os.environ,
        "RAY_AUTH_MODE": "disabled",
        "RAY_FAKE_CLUSTER": "1",
        "RAY_TMPDIR": str(folder),
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
    }
    with open(folder / "log", "w") as log:
        return subprocess.Popen(command, env=environ, stdout=log, stderr=log)


def of_cluster(folder: Path) -> list[psutil.Process]:
    """All processes of the cluster that keeps its files there."""
    found = []
    for process in psutil.process_iter(["environ", "status"]):
        of_it = (process.info["environ"] or {}).get("RAY_TMPDIR") == str(folder)
        if of_it and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


def test_all_nodes_that_there_can_be_are_added_and_used(address: str, tmp_path: Path) -> None:
    environ = {**os.environ, "RAY_ADDRESS": address, "RAY_AUTH_MODE": "disabled"}
    printed = run_script(SCRIPT, tmp_path, environ=environ)
    assert str(MOST_NODES) in printed.splitlines(), "Ray's own messages may come later"
