"""Measures `tuner` beside `ray.tune`, each figure in a fresh process, the two sides in turn.

python benchmarks/run.py                       # everything; writes the table and the plot
python benchmarks/run.py --only results reuse  # some of it; writes to --out only
python benchmarks/run.py --quick               # one round, us alone, without the long ones
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import report
from workloads import WORKLOADS

HERE = Path(__file__).parent
SHARED_MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None
QUICK = ("import", "first_result", "fresh", "results")
OTHERS = {
    "import": ("`import`, with the names of a script", "s", 0.25, "seconds"),
    "first_result": ("process start to first result", "s", 0.6, "seconds"),
    "memory": ("driver memory, growth per finished trial", "kB", 10, "kilobytes"),
}
FLAT = {
    "flat_trials": "trials/s around the 20 000th trial, over those around the 1 000th",
    "flat_results": "results/s around the 20 000th result of a trial, over those at the 1 000th",
}


def main() -> None:
    arguments = parse_arguments()
    names = arguments.only or (QUICK if arguments.quick else [*OTHERS, *WORKLOADS, *FLAT])
    sides = ["tuner"] if arguments.quick else ["tuner", "ray"]
    rounds = 1 if arguments.quick else arguments.rounds
    rows = []
    for name in names:
        rows += flatness(name) if name in FLAT else [row(name, sides, rounds)]
    result = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}",
        "python": platform.python_version(),
        "ray": installed_version("ray"),
        "rounds": rounds,
        "rows": rows,
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "figures.json").write_text(json.dumps(result, indent=2))
    print(report.table(result))
    if not arguments.quick:
        report.plot(arguments.out / "ratios.png", result)
    if not arguments.quick and not arguments.only:
        report.write_table(HERE / "README.md", result)
        report.plot(HERE / "ratios.png", result)


def row(name: str, sides: list[str], rounds: int) -> dict[str, Any]:
    """One line of the table: the figures of both sides over all rounds."""
    if name in OTHERS:
        title, unit, goal, key = OTHERS[name]
        smaller_is_better = True
    else:
        workload = WORKLOADS[name]
        title, unit, goal, key = workload.title, f"{workload.unit}/s", workload.goal, "rate"
        smaller_is_better = False
    figures: dict[str, list[float]] = {"tuner": [], "ray": []}
    with cluster() if name in WORKLOADS and WORKLOADS[name].on_cluster else nullcontext({}) as more:
        for number in range(rounds):
            for side in sides if number % 2 == 0 else reversed(sides):
                figures[side].append(measure(side, name, more)[key])
    pairs = zip(figures["tuner"], figures["ray"], strict=False)
    ratios = [ray / us if smaller_is_better else us / ray for us, ray in pairs]
    return {"title": title, "unit": unit, "goal": goal, "ratios": ratios, **figures}


def flatness(name: str) -> list[dict[str, Any]]:
    """How the rate at the end of a long run compares with that at its beginning."""
    figures = measure("tuner", name)
    ratio = figures["at_20000"] / figures["at_1000"]
    line = {"title": FLAT[name], "unit": "ratio", "goal": None, "ratios": []}
    return [{**line, "tuner": [ratio], "ray": [], "figures": figures}]


@contextmanager
def cluster() -> Iterator[dict[str, str]]:
    """A Ray cluster of two CPUs; the environment in which processes find it."""
    from ray.cluster_utils import Cluster

    started = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    try:
        yield {"RAY_ADDRESS": started.address}
    finally:
        started.shutdown()


def measure(side: str, name: str, more: Mapping[str, str] | None = None) -> dict[str, float]:
    """One measurement in a fresh process, with some `more` environment."""
    environ = {
        **os.environ,
        **(more or {}),
        "PYTHONWARNINGS": "ignore",
        "RAY_DEDUP_LOGS": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "RAY_AIR_NEW_OUTPUT": "0",
        "RAY_TRAIN_V2_ENABLED": "0",
    }
    # Both sides write to memory: a disk's time to create a file says nothing about either.
    with tempfile.TemporaryDirectory(prefix="bench-", dir=SHARED_MEMORY) as folder:
        environ["RAY_TMPDIR"] = folder
        environ["TMPDIR"] = folder
        command = [sys.executable, str(HERE / "measure.py"), side, name, folder, str(time.time())]
        done = subprocess.run(command, capture_output=True, text=True, env=environ, timeout=600)
    lines = [line for line in done.stdout.splitlines() if line.startswith("FIGURES ")]
    if done.returncode or not lines:
        raise RuntimeError(f"{side} {name} failed:\n{done.stdout}\n{done.stderr}")
    figures: dict[str, float] = json.loads(lines[0].removeprefix("FIGURES "))
    shown = ", ".join(f"{key} {value:.4g}" for key, value in figures.items())
    print(f"{side:5} {name}: {shown}", file=sys.stderr, flush=True)
    return figures


def installed_version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    known = [*OTHERS, *WORKLOADS, *FLAT]
    parser.add_argument("--only", nargs="+", choices=known, metavar="NAME", help=", ".join(known))
    parser.add_argument("--quick", action="store_true", help="one round, us alone")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=HERE / "out")
    return parser.parse_args()


if __name__ == "__main__":
    main()
