"""One experiment on remote storage and two machines that would both go on with it."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import experiment
from harness import DEADLINE_S, Chaos, wait_until
from servers import Bucket
from verdict import judge, outcome, untouched


def await_ends(chaos: Chaos, number: int) -> None:
    """Waits until so many more trials have ended."""

    def ends() -> int:
        return sum(line[0] == "ended" for line in chaos.ledger())

    before = ends()
    wait_until(lambda: chaos.has_ended() or ends() >= before + number)
    assert chaos.is_running()


def cut_off(chaos: Chaos) -> None:
    """Kills everything, but leaves the staging folder to the machine."""
    assert chaos.kill("everything")
    chaos.moves.append(time.time())
    chaos.await_orphans()


def judge_at_the_end(chaos: Chaos) -> None:
    verdict = judge(chaos)
    assert verdict.is_clean, verdict
    assert outcome(chaos) == untouched(chaos.policy)


def test_the_lease_of_a_dead_machine_is_taken_over_when_it_has_expired(
    s3_server: Bucket, tmp_path: Path
) -> None:
    with Chaos(tmp_path / "asha", "asha", bucket=s3_server.url) as chaos:
        chaos.start()
        await_ends(chaos, 3)
        pid = chaos.process.pid
        cut_off(chaos)
        chaos.move()
        chaos.start()
        assert chaos.process.wait(DEADLINE_S) == 1
        seconds = chaos.lease()["expires"] - time.time()
        assert 0 < seconds < 60
        holder = f"{chaos.url} is being written to by process {pid} on machine-1 since 20"
        (line,) = [line for line in chaos.stderr().splitlines() if holder in line]
        told = int(line.partition("if it is dead, ")[2].partition(" s)")[0])
        assert seconds <= told + 1 < 60
        chaos.expire_lease()
        chaos.start()
        chaos.finish()
        judge_at_the_end(chaos)


def test_a_machine_that_comes_back_sets_its_copy_aside(s3_server: Bucket, tmp_path: Path) -> None:
    with Chaos(tmp_path / "asha", "asha", bucket=s3_server.url) as chaos:
        chaos.start()
        await_ends(chaos, 6)
        cut_off(chaos)
        first = chaos.staging
        chaos.move()
        chaos.expire_lease()
        chaos.start()
        await_ends(chaos, 6)
        cut_off(chaos)
        chaos.move(1)
        chaos.expire_lease()
        chaos.start()
        chaos.finish()
        assert chaos.stderr().count("the experiment went on elsewhere") == 1
        (aside,) = first.glob("*/run.outdated_1")
        assert f"is kept in {aside}" in chaos.stderr()
        assert len([*aside.glob("journal/*.jsonl")]) > 1
        for path in sorted(aside.parent.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        aside.parent.rmdir()
        judge_at_the_end(chaos)


def objects(chaos: Chaos) -> dict[str, Any]:
    """What is on the storage, by path."""
    found = chaos.storage.find(chaos.url, detail=True, refresh=True)
    return {path: entry["ETag"] for path, entry in found.items()}


def fall_asleep(chaos: Chaos) -> tuple[list[int], set[str]]:
    """Freezes everything between two uploads of the recorder; the processes, and their trials."""
    uploads = f"{chaos.storage._strip_protocol(chaos.url)}/journal/uploads.json"
    before = objects(chaos).get(uploads)
    wait_until(lambda: chaos.storage.info(uploads, refresh=True)["ETag"] != before)
    asleep = [*chaos.left_running()]
    for pid in asleep:
        os.kill(pid, signal.SIGSTOP)
    started = [line for line in chaos.ledger() if line[0] == "started"]
    return asleep, {trial for _, trial, pid in started if int(pid) in asleep}


def test_a_machine_that_wakes_up_late_writes_no_more(s3_server: Bucket, tmp_path: Path) -> None:
    """But for the checkpoint that it was just sending when it fell asleep."""
    with Chaos(tmp_path / "fifo", "fifo", bucket=s3_server.url) as chaos:
        chaos.start({experiment.LEASE: "3"})
        await_ends(chaos, 3)
        first = chaos.process
        asleep, trials = fall_asleep(chaos)
        chaos.moves.append(time.time())
        wait_until(lambda: chaos.lease()["expires"] < time.time())
        chaos.move()
        chaos.start()
        assert chaos.process.wait(DEADLINE_S) == 0, chaos.stderr()
        judge_at_the_end(chaos)
        before = objects(chaos)
        num_ended = sum(line[0] == "ended" for line in chaos.ledger())
        for pid in asleep:
            os.kill(pid, signal.SIGCONT)
        assert first.wait(DEADLINE_S) == 0
        chaos.await_orphans()
        assert sum(line[0] == "ended" for line in chaos.ledger()) > num_ended
        assert "nothing more is uploaded from here" in chaos.stderr()
        assert f"what is not in {chaos.url} is kept in" in chaos.stderr()
        changed = {path for path, _ in objects(chaos).items() ^ before.items()}
        assert all("checkpoint_" in path and any(t in path for t in trials) for path in changed)
