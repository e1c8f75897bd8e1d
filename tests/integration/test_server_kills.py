"""The driver is killed while others steer its experiment: what they are told is true."""

from __future__ import annotations

import os
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fit_helpers import marked_processes, start_script, wait_until

from tuner import failpoints
from tuner.errors import ServerError
from tuner.experiment.journal_reader import JournalReader
from tuner.failpoints import Failpoint
from tuner.server import TuneClient

pytestmark = pytest.mark.slow

SCRIPT = """
import time
import tuner as tune

def train(config):
    time.sleep(3600)

tune.Tuner(
    train,
    param_space={"i": tune.randint(0, 10**9)},
    tune_config=tune.TuneConfig(num_samples=1, max_concurrent_trials=1),
    run_config=tune.RunConfig(name="steered", server=tune.ServerConfig(port=0, token="TOKEN")),
).fit()
"""
TOKEN = "a-token-for-the-tests"
ADDERS = 4


class Killed:
    """An experiment to which some add trials until its driver is killed.

    Attributes:
        done: Which of the requests were answered as done, by a number that each has.
        answers: How the others were answered, None for no answer.
    """

    def __init__(self, folder: Path, kill_after: int | None = None, **environ: str) -> None:
        self.folder = folder
        self.done: list[int] = []
        self.answers: dict[int, int | None] = {}
        self._kill_after = kill_after
        script = start_script(SCRIPT.replace("TOKEN", TOKEN), folder, str(folder), **environ)
        try:
            address = self._address(script)
            with ThreadPoolExecutor(ADDERS) as pool:
                adding = [pool.submit(self._add, address, i, script) for i in range(ADDERS)]
            for each in adding:
                each.result()
            assert script.wait() == -signal.SIGKILL
        finally:
            script.kill()
            assert script.stdout is not None
            script.stdout.close()
            wait_until(lambda: not marked_processes(str(folder)))

    @property
    def journaled(self) -> set[int]:
        """The requests that were done."""
        facts = JournalReader(str(self.folder / "steered"), unpickle=False).read_all()
        return {fact.config["i"] for fact in facts if getattr(fact, "is_added", False)}

    def _address(self, script: subprocess.Popen[str]) -> str:
        assert script.stdout is not None
        for line in script.stdout:
            if line.startswith("Watch and steer it at "):
                return line.split()[5].rstrip(",")
        raise AssertionError("it has not said where it listens")

    def _add(self, address: str, number: int, script: subprocess.Popen[str]) -> None:
        with TuneClient(address, TOKEN) as client:
            while True:
                try:
                    client.add_trial("", {"config": {"i": number}})
                except ServerError as error:
                    self.answers[number] = error.status
                    return
                self.done.append(number)
                if len(self.done) == self._kill_after:
                    os.kill(script.pid, signal.SIGKILL)
                number += ADDERS


def check(killed: Killed) -> None:
    refused = {number for number, status in killed.answers.items() if status == 409}
    assert set(killed.done) <= killed.journaled
    assert not refused & killed.journaled
    assert set(killed.answers.values()) <= {409, 504, None}


def test_whatever_was_answered_as_done_is_in_the_journal(tmp_path: Path) -> None:
    killed = Killed(tmp_path, kill_after=50)
    assert len(killed.done) >= 50
    check(killed)


def test_whoever_was_not_answered_is_told_that_it_may_be_done(tmp_path: Path) -> None:
    """The driver is killed when requests are in the journal, and not yet answered."""
    for number in range(5):  # it may be killed between two requests, which proves nothing
        folder = tmp_path / str(number)
        folder.mkdir()
        killed = Killed(
            folder,
            **{
                failpoints.VARIABLE: f"{Failpoint.JOURNALED}:{40 + number}",
                failpoints.LOG_VARIABLE: str(folder / "log"),
            },
        )
        check(killed)
        if 504 in {killed.answers[number] for number in killed.journaled - set(killed.done)}:
            return
    raise AssertionError("it was always killed between two requests")
