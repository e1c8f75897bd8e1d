"""The experiment as its journal tells it, followed while it grows."""

from __future__ import annotations

import asyncio
import bisect
import contextlib
import os
import time
from collections.abc import Callable
from typing import Any

import orjson

from tuner.experiment.best import find_best
from tuner.experiment.events import (
    ExperimentChanged,
    ExperimentEnded,
    ExperimentStarted,
    ExperimentStopping,
    Fact,
)
from tuner.experiment.journal_reader import JournalReader
from tuner.experiment.journal_segments import Position
from tuner.experiment.trial import ERROR, PAUSED, PENDING, RUNNING, TERMINATED, Trial
from tuner.experiment.trial_table import TrialTable
from tuner.flatten import lookup
from tuner.layout import DESCRIPTION_FILE
from tuner.objective import Objective
from tuner.result_fields import without_config
from tuner.server.encoding import encode
from tuner.server.limits import MAX_PAGE_BYTES

STATUSES = (PENDING, RUNNING, PAUSED, TERMINATED, ERROR)
LIMITS = ("num_samples", "time_budget_s", "max_concurrent_trials")

MAX_AGE_S = 0.2
"""How old an answer may be."""

_FACTS_PER_MARK = 1000
_MAX_CACHED, _MAX_CACHED_BYTES = 256, 64 * 1024 * 1024


class ExperimentView:
    """What is known of an experiment, and the answers that are made of it.

    Args:
        path: The experiment's folder.
        name: The experiment's name.
        on_facts: Told of the facts that were read, with the number of the first.

    Attributes:
        table: The trials.
        seq: Number of the last fact that was read.
    """

    def __init__(
        self, path: str, name: str, on_facts: Callable[[int, list[Fact]], None] = lambda *_: None
    ) -> None:
        self.table = TrialTable(path)
        self.seq = 0
        self._path = path
        self._name = name
        self._on_facts = on_facts
        self._reader = JournalReader(path, unpickle=False)
        self._marks = [Position()]  # places to read from again
        self._read_at = float("-inf")
        self._lock = asyncio.Lock()
        self._status = RUNNING
        self._reason: str | None = None
        self._started: float | None = None
        self._described: dict[str, Any] = {}  # of experiment.json, once it is there
        self._changed: dict[str, Any] = {}  # limits that are others by now
        self._trials: dict[str, bytes] = {}  # encoded, of those that were asked for
        self._answers: dict[object, bytes] = {}  # as of the last fact

    async def refresh(self, max_age_s: float = MAX_AGE_S) -> None:
        """Takes in what is in the journal, unless that was done just now.

        Raises:
            JournalError: The journal is damaged.
        """
        async with self._lock:  # whoever waited for it finds the work done
            if time.monotonic() - self._read_at < max_age_s:
                return
            while facts := self._reader.read():
                self._take(facts)
                await asyncio.sleep(0)
            self._read_at = time.monotonic()

    def expire(self) -> None:
        """Has the next `refresh` look again: something is in the journal that was asked for."""
        self._read_at = float("-inf")

    def reader_from(self, seq: int) -> JournalReader:
        """Reads the journal anew, from a place at or before a fact."""
        mark = bisect.bisect_right(self._marks, seq, key=lambda position: position.seq) - 1
        return JournalReader(self._path, self._marks[mark], unpickle=False)

    @property
    def trainable(self) -> str | None:
        """The name of what is trained, None until it is known."""
        name: str | None = self._description.get("trainable")
        return name

    def experiment(self) -> bytes:
        """The experiment as JSON, as `schemas.Experiment` describes it."""
        return self._answer("experiment", self._experiment)

    def trial(self, trial: Trial) -> bytes:
        """A trial as JSON, as `schemas.Trial` describes it."""
        encoded = self._trials.get(trial.trial_id)
        if encoded is None:
            encoded = self._trials[trial.trial_id] = encode(_facts_of(trial))
        return encoded

    def page(self, status: str | None, after: int, offset: int, limit: int) -> bytes:
        """Some of the trials as JSON, as `schemas.Trials` describes it."""
        key = status, after, offset, limit
        return self._answer(key, lambda: self._page(*key))

    def _answer(self, key: object, make: Callable[[], bytes]) -> bytes:
        answer = self._answers.get(key)
        if answer is None:
            num_bytes = sum(map(len, self._answers.values()))
            if len(self._answers) >= _MAX_CACHED or num_bytes > _MAX_CACHED_BYTES:
                self._answers.clear()
            answer = self._answers[key] = make()
        return answer

    def _take(self, facts: list[Fact]) -> None:
        self._answers.clear()
        for fact in facts:
            trial = self.table.apply(fact)
            if trial is not None:
                self._trials.pop(trial.trial_id, None)
            else:
                self._on_experiment(fact)
        self.table.removed_checkpoints.clear()
        position = self._reader.position
        self._on_facts(self.seq + 1, facts)
        self.seq = position.seq
        if position.seq >= self._marks[-1].seq + _FACTS_PER_MARK:
            self._marks.append(position)

    def _on_experiment(self, fact: Fact) -> None:
        if isinstance(fact, ExperimentStarted):
            self._status, self._reason = RUNNING, None
            self._started = self._started or fact.time
        elif isinstance(fact, ExperimentStopping):
            self._status, self._reason = "STOPPING", fact.reason
        elif isinstance(fact, ExperimentEnded):
            self._status, self._reason = "ENDED", fact.reason
        elif isinstance(fact, ExperimentChanged):
            given = {name: getattr(fact, name) for name in LIMITS}
            self._changed |= {name: each for name, each in given.items() if each is not None}

    def _experiment(self) -> bytes:
        config = self._description.get("tune_config", {})
        objective = Objective.described(self._description)
        limits = {**{name: config.get(name) for name in LIMITS}, **self._changed}
        return encode(
            {
                "name": self._name,
                "path": self._path,
                "trainable": self.trainable,
                "status": self._status,
                "reason": self._reason,
                "start_time": self._started,
                "seq": self.seq,
                "counts": {status: self.table.counts[status] for status in STATUSES},
                **{name: limits[name] or None for name in LIMITS},
                "metric": objective.metric,
                "mode": objective.mode,
                "best": self._best(objective.metric, objective.mode),
            }
        )

    @property
    def _description(self) -> dict[str, Any]:
        if not self._described:
            with contextlib.suppress(FileNotFoundError):
                with open(os.path.join(self._path, DESCRIPTION_FILE), "rb") as file:
                    self._described = orjson.loads(file.read())
        return self._described

    def _best(self, metric: Any, mode: Any) -> dict[str, Any] | None:
        if not isinstance(metric, str) or not isinstance(mode, str):
            return None
        best = find_best(self.table.trials, metric, mode)
        if best is None:
            return None
        value = lookup(best.last_result, metric)
        return {"trial_id": best.trial_id, "value": value, "config": best.config}

    def _page(self, status: str | None, after: int, offset: int, limit: int) -> bytes:
        found = self.table.trials
        if status is not None:
            found = [trial for trial in found if trial.status == status]
        begin = bisect.bisect_right(found, after, key=lambda trial: trial.number) + offset
        trials: list[bytes] = []
        num_bytes = 0
        for trial in found[begin : begin + limit]:
            encoded = self.trial(trial)
            num_bytes += len(encoded)
            if trials and num_bytes > MAX_PAGE_BYTES:
                break
            trials.append(encoded)
        end = begin + len(trials)
        following = b"%d" % found[end - 1].number if trials and end < len(found) else b"null"
        return b'{"total":%d,"offset":%d,"trials":[%b],"next":%b}' % (
            len(found),
            offset,
            b",".join(trials),
            following,
        )


def _facts_of(trial: Trial) -> dict[str, Any]:
    return {
        "trial_id": trial.trial_id,
        "name": str(trial),
        "number": trial.number,
        "status": trial.status,
        "config": trial.config,
        "evaluated_params": trial.evaluated_params,
        "resources": trial.bundles,
        "attempt": trial.attempt,
        "num_results": trial.num_results,
        "num_failures": trial.num_failures,
        "start_time": trial.start_time,
        "checkpoint": trial.checkpoints[-1].name if trial.checkpoints else None,
        "error": trial.error,
        "last_result": without_config(trial.last_result) or None,
    }
