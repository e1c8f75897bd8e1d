"""Brings an experiment from its staging folder to remote storage, in a thread beside recording.

The journal goes first, segment by segment in order, each once, after it was closed. Files of
trials follow: whole when the trial has ended, before that each time they have doubled, so that the
bytes that travel stay proportional to the results. Nothing is deleted from the storage before the
journal there says that it is not needed any more.
"""

from __future__ import annotations

import os
import threading
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field

from tuner import failpoints
from tuner.errors import StorageError
from tuner.experiment.events import (
    CheckpointSaved,
    Fact,
    TrialCreated,
    TrialEnded,
    TrialLaunched,
    TrialResult,
)
from tuner.experiment.journal_segments import Position, segment_path
from tuner.experiment.trial import ERROR, TERMINATED
from tuner.failpoints import Failpoint
from tuner.layout import (
    INCOMPLETE,
    JOURNAL_FOLDER,
    RESULTS_FILE,
    SNAPSHOTS_FOLDER,
    STAGED,
    staged_path,
)
from tuner.storage.lease import LeaseKeeper
from tuner.storage.sender import Sender
from tuner.storage.transfer import LONGEST_WAIT_S
from tuner.storage.trial_files import TrialFiles
from tuner.storage.upload_index import UploadIndex
from tuner.storage.upload_plan import UploadPlan

_POLL_S = 0.5
_AT_ONCE = 200


@dataclass(slots=True)
class _News:
    """What was recorded since the thread last looked.

    Attributes:
        facts: Number of the last fact.
        position: Where the recorder has read to in the journal.
        alive: Folders of trials, and whether their files may still change.
        ended: Folders of trials that have come to their end.
        saved: New checkpoints, as folder of the trial, name and number of the attempt.
        removed: Checkpoints that are needed no more, as paths in the experiment's folder, each
            after a number of facts and a segment: it is removed by a fact after those, in that
            segment or before it.
    """

    facts: int = 0
    position: Position = field(default_factory=Position)
    alive: dict[str, bool] = field(default_factory=dict)
    ended: list[str] = field(default_factory=list)
    saving: set[str] = field(default_factory=set)
    saved: list[tuple[str, str, int]] = field(default_factory=list)
    removed: list[tuple[int, int, str]] = field(default_factory=list)


class Uploader:
    """Uploads one experiment; its methods are called by the recorder.

    Args:
        staging: The local folder that holds the experiment.
        plan: Where it goes, and how.
    """

    def __init__(self, staging: str, plan: UploadPlan) -> None:
        config = plan.config
        self._staging = staging
        self._plan = plan
        self._index = UploadIndex(staging)
        self._sender = Sender(staging, plan.storage, config.sync_timeout, plan.lease)
        self._files = TrialFiles(
            staging, self._index, plan.outputs, with_artifacts=config.sync_artifacts
        )
        self._keeper = LeaseKeeper(plan.lease)
        self._dirnames: dict[str, str] = {}
        self._news = _News()
        self._lock = threading.Lock()  # guards `_news`
        self._wake = threading.Event()
        self._is_ending = False
        self._error: str | None = None
        self._thread = threading.Thread(target=self._run, name="uploader", daemon=True)
        # What the thread knows of the experiment
        self._live: set[str] = set()
        self._ended: dict[str, None] = {}  # trials whose files are not yet all on the storage
        self._kept: dict[str, tuple[str, str, int]] = {}  # checkpoints to be uploaded from here
        self._removed: list[tuple[int, int, str]] = []  # those that wait for their segment
        self._saving: set[str] = set()  # trials that may have left marks of incomplete ones

    @property
    def num_facts(self) -> int:
        """Of so many facts, the consequences are on the storage."""
        return self._index.facts

    def start(self) -> None:
        """Begins to upload."""
        self._thread.start()

    def recorded(
        self, facts: Sequence[Fact], removed: Sequence[str], number: int, position: Position
    ) -> None:
        """Takes note of facts whose consequences are in all files by now.

        Args:
            facts: The facts, in order; after a restart again from the first one.
            removed: Checkpoints that they make superfluous, as paths in the experiment's folder.
            number: The last one's number.
            position: Where the recorder has read to in the journal.
        """
        with self._lock:
            self._news.facts, self._news.position = number, position
            known = self._index.facts - (number - len(facts))
            for at, fact in enumerate(facts):
                self._take(fact, is_known=at < known)
            if known < len(facts):
                before = number - len(facts)
                self._news.removed += ((before, position.segment, path) for path in removed)
        self._wake.set()

    def finish(self, timeout_s: float) -> list[str]:
        """Uploads all that is left and ends the thread.

        Args:
            timeout_s: Seconds after which it gives up what has failed until then.

        Returns:
            What is not on the storage, in words.
        """
        self._sender.deadline = time.monotonic() + timeout_s
        self._is_ending = True
        self._wake.set()
        self._thread.join(timeout_s + LONGEST_WAIT_S + self._plan.config.sync_timeout)
        messages = self._sender.messages()
        if self._error is not None:
            messages.insert(0, self._error)
        if self._thread.is_alive():
            messages.insert(0, "the upload did not end")
        self._keeper.close()
        if messages:
            messages.append(
                f"what is not in {self._plan.storage} is kept in {self._staging}: "
                "a restore on this machine goes on from there, and uploads it"
            )
        return messages

    def _take(self, fact: Fact, *, is_known: bool) -> None:
        news = self._news
        if isinstance(fact, TrialCreated):
            self._dirnames[fact.trial_id] = fact.dirname
        elif isinstance(fact, TrialResult | CheckpointSaved):
            if fact.checkpoint is not None:
                dirname = self._dirnames[fact.trial_id]
                news.saving.add(dirname)
                if not is_known:
                    news.saved.append((dirname, fact.checkpoint, fact.attempt))
        elif isinstance(fact, TrialLaunched):
            news.alive[self._dirnames[fact.trial_id]] = True
        elif isinstance(fact, TrialEnded) and fact.status in (TERMINATED, ERROR):
            dirname = self._dirnames[fact.trial_id]
            news.alive[dirname] = False
            if not is_known:
                news.ended.append(dirname)

    def _run(self) -> None:
        due = 0.0
        try:
            while not self._is_ending:
                self._send_segments()
                if time.monotonic() >= due:
                    due = time.monotonic() + self._plan.config.sync_period / 2
                    self._send_files()
                self._wake.wait(_POLL_S)
                self._wake.clear()
            self._send_segments()
            self._send_last_segment()
            self._send_files()
        except StorageError as error:
            self._error = str(error)
        except Exception:
            self._error = f"the upload ended with an error:\n{traceback.format_exc()}"

    def _send_segments(self) -> None:
        """Sends the segments of the journal that are closed: those that have a successor."""
        folder = os.path.join(self._staging, JOURNAL_FOLDER)
        while os.path.exists(segment_path(folder, self._index.segments + 2)):
            self._send_segment(self._index.segments + 1)

    def _send_last_segment(self) -> None:
        """Sends the last one as far as it was read: a killed controller may have torn a line."""
        position = self._news.position
        if position.segment == self._index.segments + 1 and position.offset:
            self._send_segment(position.segment, position.offset)

    def _send_segment(self, number: int, num_bytes: int = -1) -> None:
        path = segment_path(JOURNAL_FOLDER, number)
        with open(os.path.join(self._staging, path), "rb") as file:
            content = file.read(num_bytes)
        failpoints.reach(Failpoint.UPLOAD)
        self._sender.send_journal(path, content)
        self._index.segments = number
        self._index.journaled += content.count(b"\n")
        self._index.save()

    def _send_files(self) -> None:
        self._sender.failed.clear()  # all of that is tried again here
        with self._lock:
            news, self._news = self._news, _News(self._news.facts, self._news.position)
        self._live.update(dirname for dirname, is_alive in news.alive.items() if is_alive)
        self._live.difference_update(name for name, is_alive in news.alive.items() if not is_alive)
        self._ended.update(dict.fromkeys(news.ended))
        self._removed += news.removed
        self._saving |= news.saving
        self._note_checkpoints(news.saved)
        self._remove()
        self._send_checkpoints(news.saved)
        self._send_snapshot()
        self._send_ended()
        for dirname in sorted(self._live):
            self._send(
                self._files.changed(dirname) if self._is_ending else self._files.due(dirname)
            )
        self._send(self._files.policies())
        if self._is_ending and os.path.exists(os.path.join(self._staging, RESULTS_FILE)):
            self._sender.send_files([RESULTS_FILE])
        if not self._sender.failed and not self._kept:
            waiting = (before for before, _, _ in self._removed)
            self._index.facts = min(news.facts, self._index.journaled, *waiting)
        self._index.save()
        self._sender.send_files([self._index.PATH])

    def _remove(self) -> None:
        """Deletes what is superfluous for everybody who reads the journal that is uploaded."""
        waiting = []
        for before, segment, path in self._removed:
            self._kept.pop(path, None)
            if segment > self._index.segments or not self._sender.remove(path):
                waiting.append((before, segment, path))
        self._removed = waiting

    def _note_checkpoints(self, saved: Sequence[tuple[str, str, int]]) -> None:
        """Notes those that lie here, as the worker's own upload has failed."""
        for dirname, name, attempt in saved:
            folder = os.path.join(self._staging, dirname)
            # In this order: the controller may be giving it its name just now.
            is_here = os.path.exists(staged_path(folder, name, attempt))
            if is_here or os.path.exists(os.path.join(folder, name)):
                self._kept[f"{dirname}/{name}"] = (dirname, name, attempt)

    def _send_checkpoints(self, saved: Sequence[tuple[str, str, int]]) -> None:
        for path, (dirname, name, attempt) in [*self._kept.items()]:
            is_named = os.path.exists(os.path.join(self._staging, path))
            if is_named and self._send_checkpoint(dirname, name, attempt):
                del self._kept[path]
        if self._plan.config.sync_artifacts_on_checkpoint:
            for dirname in {dirname for dirname, _, _ in saved}:
                self._send(self._files.artifacts(dirname))

    def _send_checkpoint(self, dirname: str, name: str, attempt: int) -> bool:
        """Sends one in place of what attempts have left there, marked until it is complete."""
        path = f"{dirname}/{name}"
        marker = staged_path(dirname, name, attempt)
        markers = [staged_path(dirname, name, number + 1) for number in range(attempt)]
        return (
            self._sender.send_content(marker, INCOMPLETE)
            and self._sender.remove(path)
            and self._sender.send_files(self._below(path))
            and all(map(self._sender.remove, markers))
        )

    def _below(self, folder: str) -> list[str]:
        return [
            os.path.relpath(os.path.join(root, name), self._staging)
            for root, _, names in os.walk(os.path.join(self._staging, folder))
            for name in names
        ]

    def _send_snapshot(self) -> None:
        """Sends the newest one of which the journal is there that it goes on from."""
        index = self._index
        newest = max(
            (
                path
                for path in self._below(SNAPSHOTS_FOLDER)
                if path.endswith(".pkl") and int(os.path.basename(path)[:-4]) <= index.journaled
            ),
            default="",
        )
        if newest > index.snapshot and self._sender.send_files([newest]):
            if index.snapshot:
                self._sender.remove(index.snapshot)
            index.snapshot = newest

    def _send_ended(self) -> None:
        """Completes the files of trials that have ended, of several trials at a time."""
        dirnames: list[str] = []
        paths: list[str] = []
        for dirname in [*self._ended]:
            dirnames.append(dirname)
            paths += self._files.changed(dirname)
            if len(paths) >= _AT_ONCE or dirname == next(reversed(self._ended)):
                if self._sender.send_files(paths) and all(map(self._clear_markers, dirnames)):
                    self._forget(dirnames)
                dirnames, paths = [], []
                self._send_segments()  # the journal does not wait for many files

    def _clear_markers(self, dirname: str) -> bool:
        """Removes what marks checkpoints that became superfluous before they were complete."""
        if dirname not in self._saving or dirname in self._live:  # a new attempt has marks, too
            return True
        names = self._sender.names(dirname)
        stray = [
            f"{dirname}/{name}"
            for name in names or ()
            if (staged := STAGED.fullmatch(name)) and f"{dirname}/{staged[1]}" not in self._kept
        ]
        if names is None or not all(map(self._sender.remove, stray)):
            return False
        self._saving.discard(dirname)
        return True

    def _forget(self, dirnames: Sequence[str]) -> None:
        for dirname in dirnames:
            del self._ended[dirname]
        gone = {f"{dirname}/" for dirname in dirnames}
        self._index.files = {
            path: signature
            for path, signature in self._index.files.items()
            if path.partition("/")[0] + "/" not in gone
        }

    def _send(self, paths: Sequence[str]) -> None:
        """Sends files that may still change."""
        signatures = {path: self._files.signature(path) for path in paths}
        if self._sender.send_files(paths):
            self._index.files.update(signatures)
        self._send_segments()  # the journal does not wait for many files
