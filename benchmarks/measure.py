"""One measurement, in a process of its own: prints its figures as one line of JSON.

python benchmarks/measure.py SIDE WHAT FOLDER      # SIDE is `tuner` or `ray`
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import sys
import time
from typing import Any

from verify import verify
from workloads import WORKLOADS, Workload, reporting


def main() -> None:
    side, what, folder = sys.argv[1:4]
    if what == "import":
        figures = measure_import(side)
    elif what == "first_result":
        figures = measure_first_result(side, folder, began=float(sys.argv[4]))
    elif what == "memory":
        figures = measure_memory(side, folder)
    elif what == "flat_trials":
        figures = measure_flat_trials(folder)
    elif what == "flat_results":
        figures = measure_flat_results(folder)
    else:
        figures = measure_rate(side, WORKLOADS[what], folder)
    print("FIGURES " + json.dumps(figures), flush=True)
    leave()


def measure_import(side: str) -> dict[str, float]:
    """Seconds for the import, with the names that a script uses."""
    began = time.perf_counter()
    tune = importlib.import_module("tuner" if side == "tuner" else "ray.tune")
    for name in ("Tuner", "TuneConfig", "RunConfig", "report", "uniform"):
        getattr(tune, name)
    return {"seconds": time.perf_counter() - began}


def measure_first_result(side: str, folder: str, began: float) -> dict[str, float]:
    """Seconds from before `python` was started to when a callback sees the first result."""
    tune = load(side, ray_is_started=False)
    seen: list[float] = []

    class First(tune.Callback):  # type: ignore[name-defined, misc]
        def on_trial_result(self, *args: Any, **info: Any) -> None:
            if not seen:
                seen.append(time.time())

    run(tune, side, reporting(tune, 1, 3), folder, trials=1, callbacks=[First()])
    return {"seconds": seen[0] - began}


def measure_rate(side: str, workload: Workload, folder: str) -> dict[str, float]:
    """Units per second from the call of `fit()` to its return, every row of every file checked."""
    ours = side == "tuner"
    tune = load(side, on_cluster=workload.on_cluster)
    trials, results = (pair[0 if ours else 1] for pair in (workload.trials, workload.results))
    trainable = workload.make(tune, results, workload.metrics)
    tune_config = dict(workload.tune_config)
    if workload.asha:
        schedulers = importlib.import_module("tuner.schedulers" if ours else "ray.tune.schedulers")
        tune_config["scheduler"] = schedulers.ASHAScheduler(
            metric="m0", mode="max", max_t=results + 1, grace_period=results
        )
    seconds, path = run(
        tune,
        side,
        trainable,
        folder,
        trials=trials,
        tune_config=tune_config,
        checkpoint_config=workload.checkpoint_config,
    )
    loggers = os.environ.get("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS") != "1"
    rows = verify(path, trials, results, workload.metrics) if loggers else 0
    return {"rate": workload.count(ours) / seconds, "seconds": seconds, "verified_rows": rows}


def measure_memory(side: str, folder: str) -> dict[str, float]:
    """Kilobytes by which the driver grows per finished trial, the first ones left out."""
    import psutil

    tune = load(side)
    ours = side == "tuner"
    first, last = (1000, 6000) if ours else (100, 400)
    sizes: dict[int, int] = {}

    class Watch(tune.Callback):  # type: ignore[name-defined, misc]
        done = 0

        def on_trial_complete(self, *args: Any, **info: Any) -> None:
            self.done += 1
            if self.done in (first, last):
                sizes[self.done] = psutil.Process().memory_info().rss

    run(
        tune,
        side,
        reporting(tune, 1, 3),
        folder,
        trials=last,
        tune_config={"reuse_actors": True},
        callbacks=[Watch()],
    )
    return {"kilobytes": (sizes[last] - sizes[first]) / (last - first) / 1000}


def measure_flat_trials(folder: str) -> dict[str, float]:
    """Trials per second around the 1 000th and around the 20 000th trial of one run."""
    from tuner.experiment.events import TrialEnded
    from tuner.experiment.journal_reader import JournalReader

    tune = load("tuner")
    trials = 20_500
    config = {"reuse_actors": True}
    _, path = run(tune, "tuner", reporting(tune, 1, 3), folder, trials=trials, tune_config=config)
    times = [f.time for f in JournalReader(path).read_all() if isinstance(f, TrialEnded)]
    return {"at_1000": window(times, 1000), "at_20000": window(times, 20_000)}


def measure_flat_results(folder: str) -> dict[str, float]:
    """Results per second around the 1 000th and around the 20 000th result of a trial."""
    from tuner.experiment.events import TrialResult
    from tuner.experiment.journal_reader import JournalReader

    tune = load("tuner")
    _, path = run(tune, "tuner", reporting(tune, 20_500, 3), folder, trials=2)
    times = [f.time for f in JournalReader(path).read_all() if isinstance(f, TrialResult)]
    return {"at_1000": window(times, 2000), "at_20000": window(times, 40_000)}


def window(times: list[float], middle: int, half: int = 450) -> float:
    """Events per second in a window around one of them."""
    return 2 * half / (times[middle + half] - times[middle - half])


def run(
    tune: Any,
    side: str,
    trainable: Any,
    folder: str,
    *,
    trials: int,
    tune_config: dict[str, Any] | None = None,
    checkpoint_config: dict[str, Any] | None = None,
    callbacks: list[Any] | None = None,
) -> tuple[float, str]:
    """Seconds that `fit()` takes, and the experiment's folder."""
    tuner = tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(num_samples=trials, **(tune_config or {})),
        run_config=tune.RunConfig(
            name="run",
            storage_path=folder,
            verbose=0,
            callbacks=callbacks,
            checkpoint_config=tune.CheckpointConfig(**(checkpoint_config or {})),
        ),
    )
    began = time.perf_counter()
    grid = tuner.fit()
    seconds = time.perf_counter() - began
    if len(grid) != trials or grid.errors:
        raise RuntimeError(f"{len(grid)} of {trials} trials, errors: {grid.errors[:1]}")
    return seconds, os.path.join(folder, "run")


def load(side: str, ray_is_started: bool = True, *, on_cluster: bool = False) -> Any:
    """`tuner` or `ray.tune`, ray started so that its start is not part of what is timed."""
    if side == "tuner" and not on_cluster:
        return importlib.import_module("tuner")
    import ray

    if ray_is_started:
        where = {"address": os.environ["RAY_ADDRESS"]} if on_cluster else {"num_cpus": 2}
        quiet = {"log_to_driver": False, "logging_level": "ERROR"}
        ray.init(**where, **quiet, include_dashboard=False)
        ray.get(ray.remote(lambda: 1).remote())  # a worker process has been started once
    if side == "tuner":
        return importlib.import_module("tuner")
    for name in ("ray.tune", "ray"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return importlib.import_module("ray.tune")


def leave() -> None:
    if "ray" in sys.modules:
        sys.modules["ray"].shutdown()


if __name__ == "__main__":
    main()
