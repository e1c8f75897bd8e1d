"""What this machine has: CPUs, GPUs, a name and an address."""

from __future__ import annotations

import functools
import os
import shutil
import socket
import subprocess


def num_cpus() -> int:
    """CPUs that this process may use: by affinity and by its control group's quota."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quota = _cgroup_quota()
    count = affinity or 1
    return max(1, min(count, quota)) if quota else count


def gpu_ids() -> list[str]:
    """GPUs that this process may use: those of `CUDA_VISIBLE_DEVICES`, else all."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [gpu for gpu in (part.strip() for part in visible.split(",")) if gpu and gpu != "-1"]
    if shutil.which("nvidia-smi") is None:
        return []
    command = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return listed.stdout.split()


@functools.cache
def hostname() -> str:
    """The name of this machine."""
    return socket.gethostname()


@functools.cache
def node_ip() -> str:
    """The address under which other machines would see this one; no packet is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("10.255.255.255", 1))
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"


def _cgroup_quota() -> int | None:
    try:
        with open("/sys/fs/cgroup/cpu.max") as file:
            quota, period = file.read().split()
    except (OSError, ValueError):
        return None
    return None if quota == "max" else -(-int(quota) // int(period))
