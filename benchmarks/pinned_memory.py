"""What a pinned array costs in memory: one copy beside the driver's own, however many trials read.

python benchmarks/pinned_memory.py [megabytes] [trials]
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

import tuner as tune
from tuner.legacy.utils import get_pinned_object, pin_in_object_store

MEGABYTE = 2**20
FIELDS = ("Rss", "Pss", "Pss_Shmem", "Private_Clean", "Private_Dirty")


def main() -> None:
    warnings.simplefilter("ignore", FutureWarning)
    megabytes, trials = map(int, sys.argv[1:] or (800, 4))
    figures = measured(megabytes, trials)
    print(f"an array of {megabytes} MB, pinned once, read by {trials} trials at the same time; MB")
    for name, value in figures.items():
        shown = " ".join(f"{each:8.1f}" for each in (value if isinstance(value, list) else [value]))
        print(f"{name:>42} {shown}")


def measured(megabytes: int, trials: int) -> dict[str, Any]:
    """Megabytes that the driver, each trial and the system take while all trials hold the array."""
    array = np.random.default_rng(1).random(megabytes * MEGABYTE // 8)
    driver_before, shared_before = memory()["Rss"], shared_memory()
    pinned = pin_in_object_store(array)
    total = float(array.sum())

    def train(config: dict[str, Any]) -> dict[str, Any]:
        before = memory()
        data = get_pinned_object(pinned)
        is_same = float(data.sum()) == total
        meet(config["folder"], "read", trials)
        after, shared = memory(), shared_memory()
        meet(config["folder"], "measured", trials)
        return {
            "is_same": is_same and not data.flags.writeable,
            "shared": shared,
            **{name: after[name] - before[name] for name in FIELDS},
        }

    with tempfile.TemporaryDirectory() as folder:
        results = tune.Tuner(
            tune.with_resources(train, {"cpu": 1 / trials}),
            param_space={"trial": tune.grid_search([*range(trials)]), "folder": folder},
            run_config=tune.RunConfig(storage_path=folder, verbose=0),
        ).fit()
    rows = [result.metrics or {} for result in results]
    if results.errors or not all(row["is_same"] for row in rows):
        raise RuntimeError(f"trials have not read the array: {results.errors}")
    return {
        "driver, by pinning (Rss)": memory()["Rss"] - driver_before,
        "each trial: what it maps (Rss)": [row["Rss"] for row in rows],
        "its share of that (Pss)": [row["Pss"] for row in rows],
        "what it has alone (Private)": [
            row["Private_Clean"] + row["Private_Dirty"] for row in rows
        ],
        "all trials together (sum of Pss)": sum(row["Pss"] for row in rows),
        "the system (Shmem)": max(row["shared"] for row in rows) - shared_before,
    }


def memory() -> dict[str, float]:
    """Megabytes of this process, by kind."""
    text = Path("/proc/self/smaps_rollup").read_text()
    return {
        name: int(size) / 1024
        for name, size in re.findall(r"^(\w+): +(\d+) kB", text, re.MULTILINE)
    }


def shared_memory() -> float:
    """Megabytes of nameless files in memory and the like, in the whole system."""
    match = re.search(r"Shmem: +(\d+) kB", Path("/proc/meminfo").read_text())
    assert match is not None
    return int(match[1]) / 1024


def meet(folder: str, name: str, number: int) -> None:
    """Waits until as many processes have come here."""
    Path(folder, f"{name}-{os.getpid()}").touch()
    deadline = time.monotonic() + 300
    while len([*Path(folder).glob(f"{name}-*")]) < number:
        if time.monotonic() > deadline:
            raise TimeoutError(f"not all of {number} processes have {name}")
        time.sleep(0.01)


if __name__ == "__main__":
    main()
