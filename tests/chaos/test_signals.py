"""Ctrl-C and SIGTERM, once and twice: a restore goes on, and nothing is left running."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from harness import DEADLINE_S, NUM_TRIALS, Chaos, wait_until
from verdict import judge, outcome, untouched


def send(chaos: Chaos, signum: signal.Signals, to: str) -> None:
    """To the driver alone, or to its whole process group, as a terminal does."""
    (os.kill if to == "driver" else os.killpg)(chaos.process.pid, signum)


def is_stopping(chaos: Chaos) -> bool:
    journal = chaos.path / "journal"
    return any("experiment_stopping" in path.read_text() for path in journal.glob("*.jsonl"))


def finish_and_judge(chaos: Chaos, expected: list[tuple[Any, ...]]) -> None:
    chaos.start()
    chaos.finish()
    verdict = judge(chaos)
    assert verdict.is_clean, verdict
    assert outcome(chaos) == expected


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize(
    ("signum", "to"),
    [(signal.SIGINT, "driver"), (signal.SIGINT, "group"), (signal.SIGTERM, "driver")],
)
def test_while_trials_run(
    times: int,
    signum: signal.Signals,
    to: str,
    tmp_path: Path,
) -> None:
    expected = untouched("fifo")
    with Chaos(tmp_path / "fifo", "fifo") as chaos:
        chaos.hold()
        chaos.start()
        chaos.await_results()
        send(chaos, signum, to)
        wait_until(lambda: is_stopping(chaos))
        if times == 2:
            send(chaos, signum, to)
        chaos.release()
        code = chaos.process.wait(DEADLINE_S)
        assert times == 2 or code == 0
        chaos.await_orphans()
        assert sum(line[0] == "ended" for line in chaos.ledger()) < NUM_TRIALS
        finish_and_judge(chaos, expected)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_at_random_moments(signum: signal.Signals, tmp_path: Path) -> None:
    """Also before the first trial runs, while an earlier run is restored, and at the end."""
    expected, rng = untouched("asha"), random.Random(0)
    with Chaos(tmp_path / "asha", "asha") as chaos:
        for _ in range(4):
            chaos.start()
            for _ in range(rng.choice([1, 2])):
                moment = rng.uniform(0, 0.7)
                print(f"{signum.name} after {moment:.3f} s")
                time.sleep(moment)  # the moment is the test's input: nothing is waited for
                if chaos.process.poll() is None:
                    send(chaos, signum, "driver")
            chaos.process.wait(DEADLINE_S)
            chaos.await_orphans()
        finish_and_judge(chaos, expected)
