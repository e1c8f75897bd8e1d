"""`pbt_policy_<trial_id>.txt` and `pbt_global.txt`: the schedules of a trained population."""

from __future__ import annotations

import json
import os

from tuner.experiment.events import Fact, TrialChanged, TrialCreated
from tuner.experiment.trial_table import TrialTable
from tuner.layout import GLOBAL_POLICY_FILE, policy_file
from tuner.recording.files import LogFiles
from tuner.recording.json import plain


class PolicyLog:
    """Writes down which trial went on from which, and with what configuration.

    Each line is a JSON list: the tag of the trial and that of its donor, both as they were at the
    start; the iteration that the trial had reached, and the one of the checkpoint that it goes on
    from; the configuration of the donor, and the new one. A trial's own file begins with the lines
    of its donor, so that it tells of all that its weights have been trained with.

    Args:
        table: The trials, as they are before each fact.
        files: Where files are opened.
    """

    def __init__(self, table: TrialTable, files: LogFiles) -> None:
        self._table = table
        self._files = files
        self._tags: dict[str, str] = {}
        self._descents: dict[str, list[bytes]] = {}  # for each trial, the lines of its file
        self._is_begun = False

    def record(self, fact: Fact) -> None:
        """Writes what a fact says, before the table has it."""
        change = _as_logged(fact)
        is_known = change is not None and change.trial_id in self._descents
        was_begun = self._is_begun
        self.skip(fact)
        if change is None:
            return
        folder = self._table.experiment_path
        lines = self._descents[change.trial_id]
        everything = self._files.open(os.path.join(folder, GLOBAL_POLICY_FILE), fresh=not was_begun)
        everything.append(lines[-1])
        own = self._files.open(
            os.path.join(folder, policy_file(change.trial_id)), fresh=not is_known
        )
        own.replace(b"".join(lines))

    def skip(self, fact: Fact) -> None:
        """Takes note of a fact that is written already, before the table has it."""
        if isinstance(fact, TrialCreated):
            self._tags[fact.trial_id] = fact.experiment_tag
        elif (change := _as_logged(fact)) is not None and change.donor is not None:
            inherited = self._descents.get(change.donor, [])
            self._descents[change.trial_id] = [*inherited, self._line(change, change.donor)]
            self._is_begun = True

    def _line(self, change: TrialChanged, donor_id: str) -> bytes:
        target, donor = self._table[change.trial_id], self._table[donor_id]
        lent = donor.resume_point
        assert lent is not None
        line = [
            self._tags[target.trial_id],
            self._tags[donor.trial_id],
            target.last_result.get("training_iteration", 0),
            lent.progress.iteration,
            plain(donor.config),
            plain(change.config if change.config is not None else target.config),
        ]
        return json.dumps(line).encode() + b"\n"


def _as_logged(fact: Fact) -> TrialChanged | None:
    is_logged = isinstance(fact, TrialChanged) and fact.is_logged and fact.donor is not None
    return fact if is_logged else None  # type: ignore[return-value]
