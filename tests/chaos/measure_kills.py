"""`make chaos`: kills by the hundred; renews the table in docs/guide/durability.md."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from harness import (
    FAILPOINTS,
    KINDS,
    MACHINE,
    NUM_TRIALS,
    UPLOAD_FAILPOINTS,
    Chaos,
    kill_again_and_again,
    kill_at,
    kill_at_upload,
)
from servers import running_moto, s3_bucket
from verdict import Verdict, judge, outcome, untouched

PAGE = Path(__file__).parents[2] / "docs" / "guide" / "durability.md"
BEGIN, END = "<!-- make chaos: begin -->", "<!-- make chaos: end -->"

NUM_KILLS = {
    "driver": 50,
    "worker": 50,
    "driver and workers": 50,
    "recorder": 20,
    "process group": 20,
    "everything": 20,
}
NUM_KILLS_ON_S3 = {"driver": 20, "everything": 20, MACHINE: 10}
NUM_KILLS_OF_AN_EXPERIMENT = 10
NUM_KILLS_AT_A_FAILPOINT = 5
MANY_TRIALS = 120


@dataclass
class Row:
    """The sums over all experiments of one kind."""

    what: str
    where: str = ""
    experiments: int = 0
    kills: int = 0
    acknowledged: int = 0
    lost: int = 0
    given_up: list[float] = field(default_factory=list)
    finished: int = 0
    again: int = 0
    doubled: int = 0
    different: int = 0

    def add(self, chaos: Chaos, verdict: Verdict, *, is_different: bool) -> None:
        """Adds an experiment."""
        self.experiments += 1
        self.kills += chaos.kills[self.what]
        self.acknowledged += verdict.acknowledged
        self.lost += len(verdict.lost)
        self.given_up += verdict.given_up
        self.finished += verdict.finished
        self.again += len(verdict.again)
        self.doubled += len(verdict.doubled)
        self.different += is_different or bool(verdict.wrong)

    @property
    def is_clean(self) -> bool:
        """Whether nothing is to be complained of."""
        return not (self.lost or self.again or self.doubled or self.different)

    def line(self) -> str:
        """The row in Markdown."""
        cells = (
            self.what + self.where,
            self.kills,
            self.acknowledged,
            f"{self.lost}{self._given_up()}",
            self.finished,
            self.again,
            self.doubled,
            f"{self.different} of {self.experiments}",
        )
        return "| " + " | ".join(map(str, cells)) + " |"

    def _given_up(self) -> str:
        if not self.given_up:
            return ""
        return f" (and {len(self.given_up)} of the last {max(self.given_up):.1f} s)"


HEADER = """\
| killed | kills | results acknowledged | lost | trials finished | run again | results doubled \
| experiments that ended otherwise |
|---|---|---|---|---|---|---|---|"""


class Measurement:
    """All rows, made in a folder."""

    def __init__(self, folder: Path, seed: int, bucket: str | None = None) -> None:
        self._folder = folder
        self._seed = seed
        self._number = 0
        self._bucket = bucket
        self._where = ", S3" if bucket else ""

    def random_moments(self, kind: str, num_kills: int) -> Row:
        """Kills one kind at random moments, under both policies in turn."""
        row, rng = Row(kind, self._where), random.Random(f"{self._seed} {kind}")
        while row.kills < num_kills:
            left = min(num_kills - row.kills, NUM_KILLS_OF_AN_EXPERIMENT)
            policy = ("asha", "fifo")[row.experiments % 2]
            self._add(row, policy, MANY_TRIALS, kill_again_and_again, kind, left, rng)
        return row

    def failpoint(self, place: Any) -> Row:
        """Kills at one place, each time when it has been reached a random number of times."""
        row, rng = Row(place), random.Random(f"{self._seed} {place}")
        for _ in range(NUM_KILLS_AT_A_FAILPOINT):
            number = rng.randint(1, FAILPOINTS[place])
            self._add(row, "asha", NUM_TRIALS, kill_at, place, number)
        return row

    def failpoint_of_an_upload(self, place: Any, then: str) -> Row:
        """The same in an upload; the rest is killed by a kind at once."""
        row = Row(place, f", then {then}{self._where}")
        rng = random.Random(f"{self._seed} {place} {then}")
        for _ in range(NUM_KILLS_AT_A_FAILPOINT):
            number = rng.randint(1, UPLOAD_FAILPOINTS[place])
            self._add(row, "asha", NUM_TRIALS, kill_at_upload, place, number, then)
        return row

    def _add(
        self, row: Row, policy: str, num_trials: int, torment: Callable[..., None], *how: Any
    ) -> None:
        self._number += 1
        with Chaos(self._folder / str(self._number), policy, num_trials, self._bucket) as chaos:
            torment(chaos, *how)
            verdict = judge(chaos)
            is_different = outcome(chaos) != untouched(policy, num_trials)
            row.add(chaos, verdict, is_different=is_different)
            if not verdict.is_clean:
                print(verdict)


def measure_here(folder: Path, seed: int) -> list[Row]:
    """All rows on this machine's own filesystem."""
    measurement = Measurement(folder, seed)
    rows = [measurement.random_moments(kind, NUM_KILLS[kind]) for kind in KINDS]
    return rows + [measurement.failpoint(place) for place in FAILPOINTS]


def measure_on_s3(folder: Path, seed: int) -> list[Row]:
    """All rows on remote storage."""
    folder.mkdir()
    with (
        running_moto(folder) as port,
        pytest.MonkeyPatch.context() as environ,
        contextmanager(s3_bucket)(port, environ) as bucket,
    ):
        measurement = Measurement(folder, seed, bucket.url)
        rows = [measurement.random_moments(kind, num) for kind, num in NUM_KILLS_ON_S3.items()]
        for then in ("everything", MACHINE):
            rows += [measurement.failpoint_of_an_upload(place, then) for place in UPLOAD_FAILPOINTS]
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--page", type=Path, default=PAGE, help="where the table is renewed")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tuner-chaos-") as folder:
        rows = measure_here(Path(folder, "here"), arguments.seed)
        rows += measure_on_s3(Path(folder, "s3"), arguments.seed)
    table = "\n".join([HEADER, *(row.line() for row in rows)])
    print(table)
    _renew(arguments.page, table)
    return 0 if all(row.is_clean for row in rows) else 1


def _renew(page: Path, table: str) -> None:
    before, _, rest = page.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}")


if __name__ == "__main__":
    sys.exit(main())
