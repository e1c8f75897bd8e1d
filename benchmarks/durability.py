"""What it costs that nothing is lost; writes its table into docs/guide/durability.md.

python benchmarks/durability.py
"""

from __future__ import annotations

import contextlib
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from measure import run
from workloads import reporting

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "guide" / "durability.md"
BEGIN, END = "<!-- costs: begin -->", "<!-- costs: end -->"
SHARED_MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None
ROUNDS = 7
RESULTS = 20_000  # of each of two trials
UPLOADED = (1_000, 10_000, 100_000)
FINISHED = 10_000


def main() -> None:
    if len(sys.argv) > 1:
        print(MEASURES[sys.argv[1]](*sys.argv[2:]))
        return
    pairs = [(measured("rate", "once"), measured("rate", "twice")) for _ in range(ROUNDS)]
    slower = sorted(100 * (1 - twice / once) for once, twice in pairs)
    rate = statistics.median(once for once, _ in pairs)
    microseconds = statistics.median(measured("journal") for _ in range(3))
    restore = [measured("restore") for _ in range(3)]
    rows = [
        ("results/s, 2 trials, default loggers", f"{rate:,.0f}"),
        ("the same with every fact written to a second journal as well: slower by", spread(slower)),
        (
            "time in the journal and in snapshots per result",
            f"{microseconds:.1f} µs, {microseconds / 100:.1%} of 100 µs",
        ),
        (
            f"restore of {FINISHED:,} finished trials, to the first new launch",
            f"{statistics.median(restore):.2f} s ({min(restore):.2f} to {max(restore):.2f})",
        ),
    ]
    for num_results in UPLOADED:
        num_bytes = measured("upload", str(num_results))
        rows.append(
            (
                f"bytes uploaded for {num_results:,} results, per result",
                f"{num_bytes / num_results:,.0f}",
            )
        )
    write_table(rows)


def measured(name: str, *arguments: str) -> float:
    """What a measure gives in a fresh process."""
    command = [sys.executable, __file__, name, *arguments]
    figure = float(subprocess.run(command, check=True, capture_output=True).stdout)
    print(name, *arguments, figure, flush=True)
    return figure


def rate(how: str) -> float:
    """Results/s, with one journal or with a second one that takes the same facts."""
    import tuner
    from tuner.experiment.journal_writer import JournalWriter

    if how == "twice":
        other = JournalWriter(tempfile.mkdtemp(dir=SHARED_MEMORY))
        append = JournalWriter.append

        def append_twice(self: JournalWriter, facts: Any) -> None:
            append(other, facts)
            append(self, facts)

        JournalWriter.append = append_twice  # type: ignore[method-assign]
    with folder() as path:
        seconds, _ = run(tuner, "tuner", reporting(tuner, RESULTS, 1), path, trials=2)
    return 2 * RESULTS / seconds


def journal() -> float:
    """Microseconds per result in which the controller is busy with the journal and snapshots."""
    import tuner
    from tuner.experiment.journal_writer import JournalWriter
    from tuner.experiment.snapshots import SnapshotWriter

    spent = [timed(JournalWriter, "append"), timed(SnapshotWriter, "step")]
    with folder() as path:
        run(tuner, "tuner", reporting(tuner, RESULTS, 1), path, trials=2)
    return sum(seconds() for seconds in spent) / (2 * RESULTS) * 1e6


def timed(kind: type, name: str) -> Callable[[], float]:
    """Has a method timed; the function gives the seconds, without those of the clock itself."""
    method, clock = getattr(kind, name), time.perf_counter
    began = clock()
    for _ in range(100_000):
        clock()
    per_call = (clock() - began) / 100_000
    spent = [0.0, 0]

    def call(self: Any, argument: Any) -> None:
        began = clock()
        method(self, argument)
        spent[0] += clock() - began
        spent[1] += 1

    setattr(kind, name, call)
    return lambda: spent[0] - spent[1] * per_call


def restore() -> float:
    """Seconds from `Tuner.restore` to the launch of one more trial."""
    import tuner
    from tuner.experiment.events import TrialLaunched
    from tuner.experiment.journal_reader import JournalReader

    with folder() as path:
        _, experiment = run(
            tuner,
            "tuner",
            reporting(tuner, 1, 1),
            path,
            trials=FINISHED,
            tune_config={"reuse_actors": True},
        )
        began = time.time()
        tuner.Tuner.restore(experiment, num_samples=FINISHED + 1).fit()
        facts = JournalReader(experiment).read_all()
        launches = [fact.time for fact in facts if isinstance(fact, TrialLaunched)]
        assert len(launches) == FINISHED + 1
        return launches[-1] - began


def upload(num_results: str) -> float:
    """Bytes of all requests to an S3 server in which 4 trials report so many results together."""
    sys.path.insert(0, str(ROOT / "tests"))
    import s3fs
    from flaky_proxy import FlakyProxy
    from servers import S3_KEY, S3_SECRET, running_moto

    import tuner

    with folder() as path, running_moto(Path(path)) as port, FlakyProxy(port) as proxy:
        os.environ |= {
            "AWS_ENDPOINT_URL": proxy.url,
            "AWS_ACCESS_KEY_ID": S3_KEY,
            "AWS_SECRET_ACCESS_KEY": S3_SECRET,
            "TUNER_STAGING_DIR": path,
        }
        s3fs.S3FileSystem().mkdir("bucket")
        tuner.Tuner(
            reporting(tuner, int(num_results) // 4, 1),
            tune_config=tuner.TuneConfig(num_samples=4),
            run_config=tuner.RunConfig(
                name="run",
                storage_path="s3://bucket",
                verbose=0,
                sync_config=tuner.SyncConfig(sync_period=1),
            ),
        ).fit()
        return proxy.bytes_received


@contextlib.contextmanager
def folder() -> Iterator[str]:
    with tempfile.TemporaryDirectory(dir=SHARED_MEMORY) as path:
        yield path


def spread(percent: list[float]) -> str:
    """The median and the extremes."""
    return f"{statistics.median(percent):.1f} % ({percent[0]:.1f} to {percent[-1]:.1f})"


def write_table(rows: list[tuple[str, str]]) -> None:
    """Puts the table between the markers of the page."""
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    lines = [f"Measured on {time.strftime('%Y-%m-%d')}: {machine}.", "", "| what | figure |"]
    lines += ["|---|---|", *(f"| {what} | {figure} |" for what, figure in rows)]
    before, rest = PAGE.read_text().split(BEGIN)
    _, after = rest.split(END)
    PAGE.write_text(f"{before}{BEGIN}\n" + "\n".join(lines) + f"\n{END}{after}")
    print(*lines, sep="\n")


MEASURES: dict[str, Callable[..., float]] = {
    "rate": rate,
    "journal": journal,
    "restore": restore,
    "upload": upload,
}

if __name__ == "__main__":
    main()
