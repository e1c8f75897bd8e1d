"""The user guide of 0.8: Recovering From Failures."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fit_helpers import start_script, wait_until
from seed_training import MyTrainableClass, reported

import tuner as tune

pytestmark = pytest.mark.usefixtures("results")

SCRIPT = """
import os
import sys
import time
from pathlib import Path

import tuner as tune

sys.path.insert(0, {tests!r})
from seed_training import MyTrainableClass


class MyTrainable(MyTrainableClass):
    def _train(self):
        if self.iteration == 14 and not os.path.exists({go_on!r}):
            Path({halfway!r}).touch()
            time.sleep(600)  # it is killed here
        return super()._train()


my_trainable = MyTrainable
tune.run(
    my_trainable,
    name="my_experiment_name",
    stop={{"training_iteration": 20}},
    checkpoint_freq=10,
    local_dir={folder!r},
    resume={resume},
)
"""


class Killed:
    """An experiment whose driver and worker were killed after 14 iterations, 10 of them saved."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.results = folder / "to" / "results"
        self._go_on = folder / "go_on"
        halfway = folder / "halfway"
        self._texts = {
            "tests": str(Path(__file__).parent),
            "go_on": str(self._go_on),
            "halfway": str(halfway),
            "folder": str(self.results),
        }
        process = start_script(self.script("False"), folder, "seeds")
        wait_until(halfway.exists)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        self._go_on.touch()

    def script(self, resume: str) -> str:
        """The script, with what it says of `resume`."""
        return SCRIPT.format(**self._texts, resume=resume)

    def run_again(self, resume: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Runs the script a second time."""
        path = self.folder / "again.py"
        path.write_text(self.script(resume))
        command = [sys.executable, str(path)]
        return subprocess.run(command, text=True, capture_output=True, timeout=240, **options)

    def trials(self) -> list[Path]:
        """The trials' folders."""
        found = self.results.glob("my_experiment_name/*/result.json")
        return sorted(path.parent for path in found)


@pytest.fixture
def killed(tmp_path: Path) -> Killed:
    return Killed(tmp_path)


def assert_went_on(killed: Killed) -> None:
    (folder,) = killed.trials()
    results = reported(folder)
    assert [result["training_iteration"] for result in results] == list(range(1, 21))
    assert results[-1]["iterations_since_restore"] == 10, "it was restored to its checkpoint"


@pytest.mark.parametrize("resume", ["True", "'LOCAL'", "'AUTO'"])
def test_recovering_from_failures_1_resume(killed: Killed, resume: str) -> None:
    """0.8 · Recovering From Failures · block 1: what was killed goes on from its checkpoint."""
    done = killed.run_again(resume)
    assert done.returncode == 0, done.stderr
    assert_went_on(killed)


def test_recovering_from_failures_not(killed: Killed) -> None:
    """0.8 · Recovering From Failures · text: `resume=False` begins a new experiment."""
    done = killed.run_again("False")
    assert done.returncode == 0, done.stderr
    *_, new = sorted(killed.trials(), key=lambda folder: (folder / "result.json").stat().st_mtime)
    assert reported(new)[-1]["iterations_since_restore"] == 20


@pytest.mark.parametrize("answer", ["y", "n"])
def test_recovering_from_failures_prompt(killed: Killed, answer: str) -> None:
    """0.8 · Recovering From Failures · text: `resume="PROMPT"` asks, where there is a terminal."""
    keyboard, terminal = pty.openpty()
    os.write(keyboard, f"{answer}\n".encode())
    done = killed.run_again("'PROMPT'", stdin=terminal)
    os.close(keyboard)
    os.close(terminal)
    assert done.returncode == 0, done.stderr
    assert str(killed.results / "my_experiment_name") in done.stdout
    if answer == "y":
        assert_went_on(killed)
        return
    lengths = [reported(folder)[-1]["iterations_since_restore"] for folder in killed.trials()]
    assert 20 in lengths, "a new experiment was begun"


def test_recovering_from_failures_prompt_without_terminal(killed: Killed) -> None:
    """0.8 · Recovering From Failures · text: where nobody can be asked, an error says so."""
    done = killed.run_again("'PROMPT'", stdin=subprocess.DEVNULL)
    assert done.returncode != 0
    assert "resume='PROMPT'" in done.stderr


def test_recovering_from_failures_remote(tmp_path: Path) -> None:
    """0.8 · Recovering From Failures · text: `resume="REMOTE"` begins from the upload directory."""
    upload, local, mark = tmp_path / "bucket", tmp_path / "local", tmp_path / "crashed"

    class Crashing(MyTrainableClass):
        def _train(self) -> dict[str, Any]:
            if self.iteration == 7 and not mark.exists():
                mark.touch()
                raise RuntimeError("as asked")
            return super()._train()

    arguments: dict[str, Any] = {
        "name": "remote",
        "stop": {"training_iteration": 10},
        "checkpoint_freq": 5,
        "upload_dir": str(upload),
        "local_dir": str(local),
        "sync_to_cloud": "mkdir -p {target} && cp -r {source}/. {target}",
        "raise_on_failed_trial": False,
    }
    (trial,) = tune.run(Crashing, **arguments).trials
    assert trial.status == "ERROR"
    (local / "remote").rename(tmp_path / "gone")

    (trial,) = tune.run(Crashing, resume="REMOTE+ERRORED", **arguments).trials
    assert trial.status == "TERMINATED"
    results = reported(trial.path)
    assert [result["training_iteration"] for result in results] == list(range(1, 11))
    assert results[-1]["iterations_since_restore"] == 5


def test_recovering_from_failures_ignores_changes() -> None:
    """0.8 · Recovering From Failures · text: a new criterion changes nothing, `restore` does."""
    arguments: dict[str, Any] = {"name": "ended", "checkpoint_freq": 5}
    first = tune.run(MyTrainableClass, stop={"training_iteration": 5}, **arguments)
    again = tune.run(MyTrainableClass, stop={"training_iteration": 9}, resume=True, **arguments)
    assert again.results == first.results

    (trial,) = first.trials
    (checkpoint,) = Path(trial.path).glob("checkpoint_*")
    longer = tune.run(
        MyTrainableClass, stop={"training_iteration": 9}, restore=str(checkpoint), name="longer"
    )
    (result,) = longer.results.values()
    assert (result["training_iteration"], result["iterations_since_restore"]) == (9, 4)
