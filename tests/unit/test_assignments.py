"""Launches as assignments: the finer points."""

from __future__ import annotations

import os
from typing import Any

import pytest

from tuner import codec
from tuner.assignments import AssignmentFactory
from tuner.config import CheckpointConfig
from tuner.execution.protocol import Assignment, parse_run, run_frame
from tuner.experiment.commands import Launch
from tuner.experiment.trial import Trial
from tuner.trial_progress import Progress


def assigned(*, attempt: int = 1, seed: int = 3, **fields: Any) -> Assignment:
    trial = Trial(
        **{"trial_id": "t", "config": {}, "trainable_name": "f", "path": "/e/t", **fields}
    )
    factory = AssignmentFactory(
        experiment_name="e",
        seed=seed,
        checkpoint_config=CheckpointConfig(),
        log_to_file=None,
        keep_workers=False,
    )
    return factory.make(Launch(trial, attempt, None, Progress()))


@pytest.mark.parametrize(("cpus", "threads"), [(0, 1), (0.5, 1), (1, 1), (2.9, 2), (4, 4)])
def test_numeric_libraries_get_as_many_threads_as_whole_cpus(cpus: float, threads: int) -> None:
    assert assigned(bundles=[{"CPU": cpus}, {"CPU": 8}]).num_threads == threads
    assert assigned(bundles=[{"GPU": 1}]).num_threads == 1


def test_every_attempt_of_every_trial_has_its_own_seed() -> None:
    seeds = {
        assigned(seed=seed, number=number, attempt=attempt).seed
        for seed in range(3)
        for number in range(20)
        for attempt in range(1, 4)
    }
    assert len(seeds) == 3 * 20 * 3
    assert assigned(number=7).seed == assigned(number=7).seed


def test_a_configuration_arrives_exactly_as_it_was_chosen() -> None:
    config = {"pair": (1, 2), "kind": dict, 3: b"x", "deep": {"f": lambda value: value + 1}}
    sent = assigned(config=config)
    arrived = codec.decode(parse_run(run_frame(sent)[5:]).config)
    assert arrived["deep"].pop("f")(1) == 2
    config["deep"].pop("f")  # type: ignore[attr-defined]
    assert arrived == config


CHDIR = ("TUNE_CHDIR_TO_TRIAL_DIR", "RAY_CHDIR_TO_TRIAL_DIR")


@pytest.mark.parametrize(("value", "changes"), [(None, True), ("1", True), ("0", False)])
@pytest.mark.parametrize("variable", CHDIR)
def test_where_a_trial_works(
    variable: str, value: str | None, changes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in CHDIR:
        monkeypatch.delenv(name, raising=False)
    if value is not None:
        monkeypatch.setenv(variable, value)
    assignment = assigned()
    assert assignment.change_directory is changes
    assert assignment.driver_directory == os.getcwd()
    assert (assignment.stdout, assignment.stderr) == (None, None)
