"""The names of what lies in an experiment's folder and in the folders of its trials."""

from __future__ import annotations

import os
import re

DESCRIPTION_FILE = "experiment.json"
TUNER_FILE = "tuner.pkl"
RESULTS_FILE = "results.parquet"
GLOBAL_POLICY_FILE = "pbt_global.txt"
JOURNAL_FOLDER = "journal"
SNAPSHOTS_FOLDER = "snapshots"

RESULT_FILE = "result.json"
PROGRESS_FILE = "progress.csv"
PARAMS_FILE = "params.json"
PARAMS_PICKLE = "params.pkl"
ERROR_FILE = "error.txt"

FILES_OF_A_TRIAL = (RESULT_FILE, PROGRESS_FILE, PARAMS_FILE, PARAMS_PICKLE, ERROR_FILE)

UPLOADS_FILE = "uploads.json"
"""In the journal's folder: how much of the experiment is on the remote storage."""

EVENTS_PREFIX = "events.out.tfevents."


CHECKPOINT = re.compile(r"checkpoint_(\d+)")
"""The folder of a checkpoint, and its number."""

STAGED = re.compile(r"\.(checkpoint_\d+)\.attempt\d+")
"""What `staged_path` names, and the checkpoint's name."""

INCOMPLETE = b"incomplete\n"
"""What is in the file that says that a checkpoint on remote storage may not be complete."""


def staged_path(trial_path: str, name: str, attempt: int) -> str:
    """Where a checkpoint lies until it gets its name; on remote storage, what says that it may not
    be complete."""
    return os.path.join(trial_path, f".{name}.attempt{attempt}")


def policy_file(trial_id: str) -> str:
    """The file of a trial's schedule of configurations, in the experiment's folder."""
    return f"pbt_policy_{trial_id}.txt"


def is_policy_file(name: str) -> bool:
    """Whether a file in the experiment's folder tells of schedules of configurations."""
    return name == GLOBAL_POLICY_FILE or (name.startswith("pbt_policy_") and name.endswith(".txt"))


def is_written_by_loggers(name: str) -> bool:
    """Whether a file in a trial's folder can be written anew from the journal."""
    return name in FILES_OF_A_TRIAL or name.startswith(EVENTS_PREFIX)
