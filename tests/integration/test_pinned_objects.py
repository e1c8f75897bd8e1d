"""Pinned objects in whole experiments: what they cost, and that nothing of them stays."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fit_helpers import fit, marked_processes, run_script, start_script, wait_until

from tuner.legacy.utils import get_pinned_object, pin_in_object_store

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*older API:FutureWarning"),
    pytest.mark.skipif(sys.platform != "linux", reason="objects are pinned in memory on Linux"),
]


def test_trials_share_one_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from pinned_memory import measured

    megabytes, trials = 48, 4
    figures = measured(megabytes, trials)
    assert all(rss > 0.95 * megabytes for rss in figures["each trial: what it maps (Rss)"])
    assert all(own < 0.25 * megabytes for own in figures["what it has alone (Private)"])
    assert figures["all trials together (sum of Pss)"] < 1.5 * megabytes
    assert figures["driver, by pinning (Rss)"] < 0.5 * megabytes  # it does not map its copy


@pytest.mark.parametrize("executor", ["local", "inline"])
@pytest.mark.parametrize("reference", ["closure", "config"])
def test_wherever_the_reference_is(executor: str, reference: str, tmp_path: Path) -> None:
    pinned = pin_in_object_store({"x": np.arange(1000)})

    def by_closure(config: dict[str, Any], reporter: Any) -> None:
        reporter(total=int(get_pinned_object(pinned)["x"].sum()))

    def by_config(config: dict[str, Any], reporter: Any) -> None:
        reporter(total=int(get_pinned_object(config["pinned"])["x"].sum()))

    (result,) = fit(
        by_closure if reference == "closure" else by_config,
        tmp_path,
        space={"pinned": pinned} if reference == "config" else {},
        run={"executor": executor},
    )
    assert result.error is None
    assert result.metrics is not None
    assert result.metrics["total"] == 499500


KILLED = """
import os
import numpy as np
import tuner as tune
from tuner.legacy.utils import get_pinned_object, pin_in_object_store

pinned = pin_in_object_store(np.arange(1_000_000))

def train(config, reporter):
    data = get_pinned_object(pinned)
    reporter(total=int(data.sum()))
    print("holds it", flush=True)
    while True:
        reporter(total=0)

tune.Tuner(train, run_config=tune.RunConfig(verbose=1)).fit()
"""


def has_unnamed_payload(pid: int) -> bool:
    """Whether a process holds memory that ends with the last who holds it."""
    links = [os.path.realpath(link) for link in Path(f"/proc/{pid}/fd").iterdir()]
    return any("memfd:tuner-payload" in link for link in links)


def test_nothing_stays_after_a_kill(tmp_path: Path) -> None:
    driver = start_script(KILLED, tmp_path, "pinned")
    assert driver.stdout is not None
    for line in driver.stdout:
        if "holds it" in line:
            break
    assert len(marked_processes("pinned")) >= 3  # the driver, the fork server and the trial
    assert any(has_unnamed_payload(pid) for pid in marked_processes("pinned"))
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    wait_until(lambda: not marked_processes("pinned"))
    driver.stdout.close()


ON_RAY = """
import warnings
warnings.simplefilter("ignore", FutureWarning)
import numpy as np
import ray
ray.init("local", num_cpus=2, logging_level="error", log_to_driver=False)
import tuner as tune
from tuner.legacy.utils import get_pinned_object, pin_in_object_store

X_id = pin_in_object_store(np.arange(1_000_000))

def f(config, reporter):
    X = get_pinned_object(X_id)
    reporter(total=int(X.sum()), is_shared=not X.flags.writeable and not X.flags.owndata)

results = tune.Tuner(
    f, param_space={"x": tune.grid_search([1, 2])}, run_config=tune.RunConfig(verbose=0)
).fit()
print(type(X_id).__name__, [(r.metrics["total"], r.metrics["is_shared"]) for r in results])
"""


@pytest.mark.slow
def test_on_ray(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    printed = run_script(ON_RAY, tmp_path)
    assert printed.strip() == "ObjectRef [(499999500000, True), (499999500000, True)]"
