"""The state machine under random stimuli, and its replay from the journal in a fresh process."""

from __future__ import annotations

import ast
import json
import logging
import random
import subprocess
import sys
from pathlib import Path

import pytest
from random_experiments import build_state
from state_driver import Driver, Step, described, laid_open, picture

import tuner
from tuner.experiment.events import (
    ExperimentChanged,
    ExperimentEnded,
    Fact,
    TrialChanged,
    TrialCreated,
    TrialLaunched,
    TrialSteered,
)
from tuner.experiment.journal_reader import JournalReader
from tuner.experiment.journal_writer import JournalWriter

SEEDS = range(120)
REPLAY = """
import json, sys
sys.path.insert(0, sys.argv[1])
from random_experiments import build_state
from state_driver import laid_open, picture
from tuner.experiment.journal_reader import JournalReader
for line in sys.stdin:
    seed, path = json.loads(line)
    state = build_state(seed, path)
    records = []
    for fact in JournalReader(path).read_all():
        state.replay(fact)
        records.append(repr(laid_open(fact)))
    print(json.dumps([records, picture(state)]))
"""


def driven(seed: int, path: str = "/exp") -> Driver:
    driver = Driver(build_state(seed, path), seed)
    driver.run()
    return driver


def write_journal(path: Path, opening: list[Fact], steps: list[Step]) -> None:
    writer = JournalWriter(str(path), segment_bytes=4000)
    writer.append(opening)
    for step in steps:
        writer.append(step.facts)
    writer.close()


@pytest.mark.parametrize("seed", SEEDS)
def test_every_experiment_ends_and_what_must_hold_holds(seed: int) -> None:
    driven(seed)


def test_the_random_experiments_meet_everything_that_can_happen() -> None:
    seen = {name for seed in SEEDS for name in happenings(driven(seed))}
    assert seen >= {
        "CONTINUE",
        "PAUSE",
        "STOP",
        "PENDING",
        "PAUSED",
        "TERMINATED",
        "ERROR",
        "asked to",
        "its time is up",
        "a stopper ended the experiment",
        "fail_fast",
        "all trials have ended",
        "to be continued",
        "Launch",
        "Answer",
        "EndAttempt",
        "CommitCheckpoint",
        "DeleteCheckpoint",
        "cannot be launched",
        "resources that cannot be told",
        "resumed from a checkpoint",
        "resumed from a donor's checkpoint",
        "SAVE",
        "another configuration",
        "other resources",
        "Respond",
        "added",
        "told to stop by a request",
        "told to pause by a request",
        "resumed by a request",
        "other limits",
    }


def happenings(driver: Driver) -> set[str]:
    seen = set()
    for step in driver.steps:
        seen.update(command.split("'")[1] for command in step.commands)
    for fact in driver.facts:
        for name in ("decision", "status", "reason"):
            seen.add(getattr(fact, name, None))
        if isinstance(fact, ExperimentEnded) and not fact.complete:
            seen.add("to be continued")
        if "fail_fast" in getattr(fact, "reason", ""):
            seen.add("fail_fast")
        if getattr(fact, "status", None) == "ERROR" and getattr(fact, "attempt", None) == 0:
            seen.add("cannot be launched")
        if isinstance(fact, TrialCreated) and not fact.bundles:
            seen.add("resources that cannot be told")
        if getattr(fact, "num_results", 0) and getattr(fact, "checkpoint", None):
            seen.add("resumed from a checkpoint")
        if isinstance(fact, TrialLaunched) and fact.donor is not None:
            seen.add("resumed from a donor's checkpoint")
        if isinstance(fact, TrialSteered):
            words = {"STOP": "told to stop", "PAUSE": "told to pause", "CONTINUE": "resumed"}
            seen.add(f"{words[fact.decision]} by a request")
        if isinstance(fact, TrialCreated) and fact.is_added:
            seen.add("added")
        if isinstance(fact, ExperimentChanged):
            seen.add("other limits")
        if isinstance(fact, TrialChanged):
            seen |= {"another configuration"} if fact.config else set()
            seen |= {"other resources"} if fact.bundles else set()
    return seen - {None}


@pytest.mark.parametrize("seed", SEEDS[::10])
def test_the_same_stimuli_give_the_same_facts_and_commands(seed: int) -> None:
    live = driven(seed)
    again = build_state(seed, "/exp")
    assert repr(again.start(live.opening[0].time, "test")[0]) == repr(live.opening)
    follow(again, live.steps)
    assert picture(again) == picture(live.state)


@pytest.mark.slow
def test_a_replay_in_a_fresh_process_gives_the_records_trials_and_policies_of_the_live_run(
    tmp_path: Path,
) -> None:
    live, requests = [], []
    for seed in SEEDS:
        path = tmp_path / str(seed)
        driver = driven(seed, str(path))
        write_journal(path, driver.opening, driver.steps)
        live.append((driver.facts, picture(driver.state)))
        requests.append(json.dumps([seed, str(path)]))
    replayed = subprocess.run(
        [sys.executable, "-c", REPLAY, str(Path(__file__).parent)],
        input="\n".join(requests),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "which wins" not in replayed.stderr, "a policy decided otherwise in the replay"
    for seed, (facts, expected), line in zip(
        SEEDS, live, replayed.stdout.splitlines(), strict=True
    ):
        records, shown = json.loads(line)
        for number, (record, fact) in enumerate(zip(records, facts, strict=True)):
            assert record == repr(laid_open(fact)), f"seed {seed}, record {number}"
        assert shown == json.loads(json.dumps(expected)), f"seed {seed}"


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.slow
def test_wherever_a_run_is_cut_it_goes_on_after_a_replay_as_if_it_had_not_been(
    seed: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = driven(seed, str(tmp_path))
    last = whole.continuable
    rng = random.Random(seed)
    cuts = sorted({1, rng.randint(1, last), rng.randint(1, last), last})
    driver = Driver(build_state(seed, str(tmp_path)), seed)
    driver.begin()
    for cut in cuts:
        while len(driver.steps) < cut:
            driver.step()
        path = tmp_path / str(cut)
        write_journal(path, driver.opening, driver.steps)
        state = build_state(seed, str(tmp_path))
        with caplog.at_level(logging.WARNING):
            for fact in JournalReader(str(path)).read_all():
                state.replay(fact)
        assert "which wins" not in caplog.text
        assert picture(state) == picture(driver.state)
        state.capacity.set_total(total_before(whole.steps, cut))
        follow(state, whole.steps[cut:last])


def total_before(steps: list[Step], cut: int) -> dict[str, float]:
    """The resources that the executor has told last; they are not journaled."""
    told = [s for step in steps[:cut] for s in step.stimuli if hasattr(s, "resources")]
    return dict(told[-1].resources)


def follow(state: object, steps: list[Step]) -> None:
    for number, step in enumerate(steps):
        facts, commands = state.handle(step.stimuli)  # type: ignore[attr-defined]
        assert repr(laid_open(facts)) == repr(laid_open(step.facts)), f"step {number}"
        assert [described(command) for command in commands] == step.commands, f"step {number}"


PURE = [
    "acting",
    "state",
    "steering",
    "requests",
    "events",
    "commands",
    "spec",
    "capacity",
    "retention",
    "metric_summary",
    "best",
]


@pytest.mark.parametrize(
    "package", ["search", "schedulers", "stoppers", *(f"experiment/{name}.py" for name in PURE)]
)
def test_policies_and_state_have_no_clock_no_files_and_no_global_randomness(package: str) -> None:
    forbidden = {"time", "os", "io", "socket", "threading", "subprocess", "pathlib", "shutil"}
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
