"""The state machine under random stimuli, and its replay from the journal in a fresh process."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest
from state_driver import Driver, build_state, picture

import tuner
from tuner.experiment.journal import JournalWriter

SEEDS = range(120)
REPLAY = """
import json, sys
sys.path.insert(0, sys.argv[1])
from state_driver import build_state, picture
from tuner.experiment.journal import JournalReader
for line in sys.stdin:
    seed, path = json.loads(line)
    state = build_state(seed, path)
    for fact in JournalReader(path).read_all():
        state.replay(fact)
    print(json.dumps(picture(state)))
"""


@pytest.mark.parametrize("seed", SEEDS)
def test_every_experiment_ends_and_nothing_is_overcommitted(seed: int) -> None:
    driver = Driver(build_state(seed, "/exp"), seed)
    driver.run()
    for trial in driver.state.trials:
        if driver.state.stop_reason is None:
            assert trial.is_finished()


@pytest.mark.parametrize("seed", SEEDS[::10])
def test_the_same_stimuli_give_the_same_facts(seed: int) -> None:
    one, other = (Driver(build_state(seed, "/exp"), seed) for _ in range(2))
    one.run()
    other.run()
    assert repr(one.facts) == repr(other.facts)
    assert picture(one.state) == picture(other.state)


def test_a_replay_in_a_fresh_process_gives_the_trials_and_policies_of_the_live_run(
    tmp_path: Path,
) -> None:
    live, requests = [], []
    for seed in SEEDS:
        path = str(tmp_path / str(seed))
        driver = Driver(build_state(seed, path), seed)
        driver.run()
        writer = JournalWriter(path, segment_bytes=4000)
        start = 0
        for boundary in driver.boundaries:
            writer.append(driver.facts[start:boundary])
            start = boundary
        writer.close()
        live.append(picture(driver.state))
        requests.append(json.dumps([seed, path]))
    replayed = subprocess.run(
        [sys.executable, "-c", REPLAY, str(Path(__file__).parent)],
        input="\n".join(requests),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "which wins" not in replayed.stderr, "a policy decided otherwise in the replay"
    for seed, expected, line in zip(SEEDS, live, replayed.stdout.splitlines(), strict=True):
        assert json.loads(line) == json.loads(json.dumps(expected)), f"seed {seed}"


@pytest.mark.parametrize("package", ["search", "schedulers", "stoppers", "experiment/state.py"])
def test_policies_and_state_have_no_clock_no_files_and_no_global_randomness(package: str) -> None:
    forbidden = {"time", "os", "io", "socket", "threading", "subprocess"}
    place = Path(tuner.__file__).parent / package
    files = [place] if place.is_file() else sorted(place.glob("*.py"))
    for file in files:
        tree = ast.parse(file.read_text())
        for node in tree.body:  # imports inside of functions are those of save() and restore()
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.names[0].name != "PathLike":
                names = [node.module or ""]
            assert not forbidden & {name.split(".")[0] for name in names}, file
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                called = f"{node.value.id}.{node.attr}"
                assert not called.startswith("random.") or called == "random.Random", file
                assert called not in ("datetime.now", "date.today"), file
