"""`pbt_policy_<trial_id>.txt` and `pbt_global.txt`: the schedules of a trained population."""

from __future__ import annotations

import json
import os

from tuner.experiment.events import Fact, TrialChanged, TrialCreated, TrialLaunched
from tuner.experiment.trial import Trial
from tuner.experiment.trial_table import TrialTable
from tuner.layout import GLOBAL_POLICY_FILE, policy_file
from tuner.recording.files import LogFile, LogFiles
from tuner.recording.json import plain


class PolicyLog:
    """Writes down which trial went on from which, and with what configuration.

    Each line is a JSON list: the tag of the trial and that of its donor, both as they were at the
    start; for how many iterations the weights of the trial had been trained, and those of the
    checkpoint that it goes on from; the configuration of the donor, and the new one. A trial's own
    file begins with the lines of its donor, so that it tells of all that its weights have been
    trained with.

    Args:
        table: The trials, as they are before each fact.
        files: Where files are opened.
    """

    def __init__(self, table: TrialTable, files: LogFiles) -> None:
        self._table = table
        self._files = files
        self._tags: dict[str, str] = {}
        self._descents: dict[str, list[bytes]] = {}  # for each trial, the lines of its file
        self._begun: set[str] = set()  # names of files

    def record(self, fact: Fact) -> None:
        """Writes what a fact says, before the table has it."""
        change = _as_exploit(fact)
        if change is None or not change.is_logged:
            self.skip(fact)
            return
        everything = self._open(GLOBAL_POLICY_FILE)
        own = self._open(policy_file(change.trial_id))
        self.skip(fact)
        lines = self._descents[change.trial_id]
        everything.append(lines[-1])
        own.replace(b"".join(lines))

    def skip(self, fact: Fact) -> None:
        """Takes note of a fact that is written already, before the table has it."""
        if isinstance(fact, TrialCreated):
            self._tags[fact.trial_id] = fact.experiment_tag
        elif isinstance(fact, TrialLaunched) and fact.checkpoint is None:
            self._descents.pop(fact.trial_id, None)
        elif (change := _as_exploit(fact)) is not None:
            self._take(change, self._table[change.trial_id], self._table[str(change.donor)])

    def _take(self, change: TrialChanged, target: Trial, donor: Trial) -> None:
        lent = donor.resume_point
        assert lent is not None
        descent = self._descents.get(donor.trial_id, [])
        if change.is_logged:
            line = [
                self._tags[target.trial_id],
                self._tags[donor.trial_id],
                target.last_result.get("training_iteration", 0),
                lent.progress.iteration,
                plain(donor.config),
                plain(change.config if change.config is not None else target.config),
            ]
            descent = [*descent, json.dumps(line).encode() + b"\n"]
            self._begun |= {GLOBAL_POLICY_FILE, policy_file(target.trial_id)}
        self._descents[target.trial_id] = descent

    def _open(self, name: str) -> LogFile:
        path = os.path.join(self._table.experiment_path, name)
        return self._files.open(path, fresh=name not in self._begun)


def _as_exploit(fact: Fact) -> TrialChanged | None:
    return fact if isinstance(fact, TrialChanged) and fact.donor is not None else None
