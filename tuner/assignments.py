"""From the state machine's `Launch` to the assignment that a worker gets."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tuner import codec
from tuner.config import CheckpointConfig, SyncConfig
from tuner.execution.protocol import Assignment
from tuner.execution.seeding import derive_seed
from tuner.experiment.commands import Launch

if TYPE_CHECKING:
    from tuner.checkpoint import Checkpoint
    from tuner.storage.lease import Lease

_CHDIR_VARIABLES = ("TUNE_CHDIR_TO_TRIAL_DIR", "RAY_CHDIR_TO_TRIAL_DIR")


@dataclass(frozen=True, slots=True)
class AssignmentFactory:
    """What all assignments of an experiment have in common.

    Attributes:
        experiment_name: The experiment's name.
        seed: The experiment's seed.
        checkpoint_config: When class trainables are saved.
        log_to_file: Names of the files for standard output and error; None for the console.
        keep_workers: Whether a worker takes further trials.
        upload_timeout_s: Seconds that one upload of a checkpoint may take.
        lease: Gives the right to write to remote storage; None without one.
        environ: Environment variables for every trial.
    """

    experiment_name: str
    seed: int
    checkpoint_config: CheckpointConfig
    log_to_file: tuple[str, str] | None
    keep_workers: bool
    upload_timeout_s: float = SyncConfig.sync_timeout
    lease: Lease | None = None
    environ: dict[str, str] = field(default_factory=dict)

    def make(self, launch: Launch) -> Assignment:
        """The assignment for one launch."""
        trial = launch.trial
        storage = trial.storage
        if storage is not None:
            storage = storage.child(trial.dirname) if storage.is_shared else None
        stdout, stderr = self.log_to_file or (None, None)
        return Assignment(
            trial_id=trial.trial_id,
            trial_name=trial.trial_name,
            experiment_name=self.experiment_name,
            attempt=launch.attempt,
            config=codec.encode_exact(trial.config),
            path=trial.path,
            checkpoint=_checkpoint(launch),
            next_checkpoint=trial.next_checkpoint,
            progress=launch.progress,
            bundles=trial.bundles,
            strategy=trial.strategy,
            seed=derive_seed(self.seed, trial.number, launch.attempt),
            num_threads=max(1, math.floor(trial.bundles[0].get("CPU", 1))),
            storage=storage,
            upload_timeout_s=self.upload_timeout_s,
            lease=self.lease,
            environ=self.environ,
            checkpoint_frequency=self.checkpoint_config.checkpoint_frequency,
            checkpoint_at_end=bool(self.checkpoint_config.checkpoint_at_end),
            stdout=os.path.join(trial.path, stdout) if stdout else None,
            stderr=os.path.join(trial.path, stderr) if stderr else None,
            change_directory=all(os.environ.get(name, "1") != "0" for name in _CHDIR_VARIABLES),
            driver_directory=os.getcwd(),
            keep_worker=self.keep_workers,
        )


def _checkpoint(launch: Launch) -> Checkpoint | None:
    if launch.checkpoint is None:
        return None
    return (launch.donor or launch.trial).checkpoint_named(launch.checkpoint)


def log_files(log_to_file: bool | str | Sequence[str]) -> tuple[str, str] | None:
    """The names for standard output and error that `RunConfig(log_to_file=…)` means.

    Example:
        >>> log_files(True), log_files("both.log"), log_files(("out", "err"))
        (('stdout', 'stderr'), ('both.log', 'both.log'), ('out', 'err'))
    """
    if not log_to_file:
        return None
    if log_to_file is True:
        return ("stdout", "stderr")
    if isinstance(log_to_file, str):
        return (log_to_file, log_to_file)
    stdout, stderr = log_to_file
    return (stdout, stderr)
