"""Experiments' folders for tests: ours by its facts, and those of `ray.tune` by their files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tuner import codec
from tuner.config import CheckpointConfig, RunConfig, TuneConfig
from tuner.description import describe
from tuner.experiment.events import (
    ExperimentStarted,
    Fact,
    TrialCreated,
    TrialEnded,
    TrialLaunched,
    TrialResult,
)
from tuner.experiment.journal_writer import JournalWriter
from tuner.objective import Objective


def write_experiment(
    path: Path,
    facts: Iterable[Fact],
    tune_config: TuneConfig | None = None,
    checkpoint_config: CheckpointConfig | None = None,
) -> str:
    """Writes what a run with these facts leaves behind if it is killed after them."""
    path.mkdir(exist_ok=True)
    config = tune_config or TuneConfig()
    description = describe(
        version="9.9",
        name=path.name,
        trainable="train",
        seed=5,
        id_prefix="abc",
        tune_config=config,
        run_config=RunConfig(checkpoint_config=checkpoint_config or CheckpointConfig()),
        objective=Objective(config.metric, config.mode),
    )
    (path / "experiment.json").write_text(json.dumps({"format": 1, **description}))
    writer = JournalWriter(str(path))
    writer.append([ExperimentStarted(100.0, seed=5, version="9.9"), *facts])
    writer.close()
    return str(path)


def trial(
    trial_id: str,
    reports: Sequence[dict[str, Any]] = (),
    status: str | None = "TERMINATED",
    error: str | None = None,
    **config: Any,
) -> list[Fact]:
    """The facts of a trial that makes these reports; a `checkpoint` in one names a checkpoint."""
    facts: list[Fact] = [
        TrialCreated(
            time=101.0,
            trial_id=trial_id,
            number=0,
            trainable_name="train",
            trial_name="",
            experiment_tag=f"0_{trial_id}",
            dirname=f"dir_{trial_id}",
            config=config,
            evaluated_params=config,
            bundles=[{"CPU": 1.0}],
        )
    ]
    if reports or error:
        facts.append(TrialLaunched(102.0, trial_id, 1, None, 0))
    for number, report in enumerate(reports, start=1):
        reported = {**report, "training_iteration": number, "trial_id": trial_id, "done": False}
        checkpoint = reported.pop("checkpoint", None)
        raw = codec.encode_metrics(reported)
        decoded = codec.decode(raw)
        facts.append(TrialResult(103.0, trial_id, 1, "CONTINUE", checkpoint, decoded, raw))
    if status is not None:
        facts.append(TrialEnded(104.0, trial_id, 1, status, error))
    return facts


def losses(path: Path, *trials: Sequence[float], **tune_config: Any) -> str:
    """An experiment in which each trial `t<n>` has `n` in its configuration, and these losses."""
    facts = [
        fact
        for number, values in enumerate(trials)
        for fact in trial(f"t{number}", [{"loss": value} for value in values], n=number)
    ]
    return write_experiment(path, facts, TuneConfig(**tune_config))


def ray_trial(
    path: Path,
    reports: Sequence[dict[str, Any]],
    *,
    params: dict[str, Any] | None = None,
    checkpoints: Sequence[str] = (),
) -> Path:
    """Writes the folder of a trial as `ray.tune` does."""
    path.mkdir(parents=True)
    lines = [
        json.dumps({"training_iteration": number, "done": False, **report}) + "\n"
        for number, report in enumerate(reports, start=1)
    ]
    (path / "result.json").write_text("".join(lines))
    if params is not None:
        (path / "params.json").write_text(json.dumps(params))
    for name in checkpoints:
        (path / name).mkdir()
        (path / name / "model").write_text(name)
    return path
