"""What happens in the experiment, as a stream of server-sent events.

Each event has the number of its fact in the journal as `id`, so whoever lost the connection says
which one came last and misses none. The latest events are at hand; older ones, which somebody asks
for who was away or is slow, are read from the journal again.
"""

from __future__ import annotations

import asyncio
import bisect
from collections.abc import AsyncIterator
from typing import Any

from tuner.experiment.events import (
    ExperimentChanged,
    ExperimentEnded,
    ExperimentStarted,
    ExperimentStopping,
    Fact,
    TrialChanged,
    TrialCreated,
    TrialEnded,
    TrialLaunched,
    TrialRequeued,
    TrialResult,
    TrialSteered,
    settle,
)
from tuner.experiment.journal_reader import JournalReader
from tuner.experiment.trial import PAUSED, PENDING, RUNNING
from tuner.result_fields import without_config
from tuner.server.encoding import encode
from tuner.server.view import LIMITS, ExperimentView

HEARTBEAT_S = 15.0
END = b"event: end\ndata: {}\n\n"

_MAX_BYTES = 16 * 1024 * 1024
_BATCH = 500


class RecentEvents:
    """The latest events, kept while somebody watches.

    Attributes:
        start: All events after this fact are here.
    """

    def __init__(self, max_bytes: int = _MAX_BYTES) -> None:
        self.start = 0
        self._max_bytes = max_bytes
        self._num_bytes = 0
        self._seqs: list[int] = []
        self._events: list[tuple[str | None, bytes]] = []

    def add(self, first: int, facts: list[Fact]) -> None:
        """Adds the events of facts, of which the first has this number."""
        for seq, fact in enumerate(facts, first):
            event = encode_event(seq, fact)
            if event is not None:
                self._seqs.append(seq)
                self._events.append((_trial_id(fact), event))
                self._num_bytes += len(event)
        while self._num_bytes > self._max_bytes and self._seqs:
            self._drop(len(self._seqs) // 2 + 1)

    def skip(self, seq: int) -> None:
        """Keeps nothing up to a fact, which others may read from the journal."""
        self.start = seq
        self._num_bytes = 0
        self._seqs.clear()
        self._events.clear()

    def after(self, seq: int, trial_id: str | None) -> tuple[bytes, int]:
        """Some events after a fact, all or those of a trial, and the fact up to which they go."""
        begin = bisect.bisect_right(self._seqs, seq)
        some = self._events[begin : begin + _BATCH]
        events = [event for of_trial, event in some if trial_id in (None, of_trial)]
        return b"".join(events), self._seqs[begin + len(some) - 1] if some else seq

    def _drop(self, number: int) -> None:
        self.start = self._seqs[number - 1]
        self._num_bytes -= sum(len(event) for _, event in self._events[:number])
        del self._seqs[:number], self._events[:number]


class EventStreams:
    """All who watch the experiment's events.

    Args:
        recent: The latest events.
    """

    def __init__(self, recent: RecentEvents | None = None) -> None:
        self._recent = recent or RecentEvents()
        self._news = asyncio.Event()
        self._is_closed = False
        self.num_watching = 0

    def take(self, first: int, facts: list[Fact]) -> None:
        """Has the events of facts sent to everybody; the first fact has this number."""
        if not self.num_watching:
            self._recent.skip(first + len(facts) - 1)
            return
        self._recent.add(first, facts)
        self._wake()

    def close(self) -> None:
        """Ends all streams once they have sent what there is."""
        self._is_closed = True
        self._wake()

    async def stream(
        self,
        view: ExperimentView,
        after: int,
        trial_id: str | None,
        *,
        follow: bool = True,
        heartbeat_s: float = HEARTBEAT_S,
    ) -> AsyncIterator[bytes]:
        """The events after a fact as they come, all or those of one trial.

        Args:
            view: The experiment.
            after: Number of the fact.
            trial_id: The trial, None for all that happens.
            follow: Whether to wait for more, or to end after what there is.
            heartbeat_s: Seconds from one sign of life to the next, while nothing happens.
        """
        self.num_watching += 1
        reader: JournalReader | None = None
        try:
            yield _mark(after)
            while True:
                if after >= self._recent.start:
                    reader = None
                    events, reached = self._recent.after(after, trial_id)
                else:
                    reader = reader or view.reader_from(after)
                    events, reached = _read(reader, after, trial_id)
                if events:
                    yield events
                if reached > after:
                    after = reached
                    await asyncio.sleep(0)
                elif self._is_closed or not follow:
                    yield END
                    return
                elif not await self._something_new(heartbeat_s):
                    yield _mark(after)
        finally:
            self.num_watching -= 1
            if reader is not None:
                reader.close()

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    async def _something_new(self, timeout_s: float) -> bool:
        try:
            await asyncio.wait_for(self._news.wait(), timeout_s)
        except TimeoutError:
            return False
        return True


def encode_event(seq: int, fact: Fact) -> bytes | None:
    """A fact as an event, None if it is of no interest to others."""
    if isinstance(fact, TrialResult):
        name, content = "result", _result(fact)
    elif (change := _change(fact)) is not None:
        name, content = "trial", {"time": fact.time, "trial_id": _trial_id(fact), **change}
    elif (news := _news(fact)) is not None:
        name, content = "experiment", {"time": fact.time, **news}
    else:
        return None
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (seq, name.encode(), encode(content))


def _result(fact: TrialResult) -> dict[str, Any]:
    settle(fact)
    return {
        "time": fact.time,
        "trial_id": fact.trial_id,
        "attempt": fact.attempt,
        "decision": fact.decision,
        "checkpoint": fact.checkpoint,
        "result": without_config(fact.result),
    }


def _change(fact: Fact) -> dict[str, Any] | None:
    """What has become of a trial, other than by a result."""
    if isinstance(fact, TrialCreated):
        return {"status": PENDING, "config": fact.config}
    if isinstance(fact, TrialLaunched):
        return {"status": RUNNING, "attempt": fact.attempt}
    if isinstance(fact, TrialEnded):
        return {"status": fact.status, "attempt": fact.attempt, "error": fact.error}
    if isinstance(fact, TrialRequeued):
        return {"status": PENDING}
    if isinstance(fact, TrialSteered):
        return {"asked": fact.decision}
    if isinstance(fact, TrialChanged) and fact.config is not None:
        return {"status": PAUSED, "config": fact.config}
    return None


def _news(fact: Fact) -> dict[str, Any] | None:
    """What has become of the experiment as a whole."""
    if isinstance(fact, ExperimentStarted):
        return {"status": RUNNING}
    if isinstance(fact, ExperimentStopping):
        return {"status": "STOPPING", "reason": fact.reason}
    if isinstance(fact, ExperimentEnded):
        return {"status": "ENDED", "reason": fact.reason}
    if isinstance(fact, ExperimentChanged):
        limits = {name: getattr(fact, name, None) for name in LIMITS}
        return {"limits": {name: each for name, each in limits.items() if each is not None}}
    return None


def _trial_id(fact: Fact) -> str | None:
    return getattr(fact, "trial_id", None)


def _read(reader: JournalReader, after: int, trial_id: str | None) -> tuple[bytes, int]:
    """The next events from the journal, and the fact up to which they go."""
    facts = reader.read()
    while facts and reader.position.seq <= after:
        facts = reader.read()
    reached = reader.position.seq
    events = [
        encode_event(seq, fact)
        for seq, fact in enumerate(facts, reached - len(facts) + 1)
        if seq > after and trial_id in (None, _trial_id(fact))
    ]
    return b"".join(event for event in events if event), reached


def _mark(seq: int) -> bytes:
    """A sign of life that also says how far the stream has come."""
    return b":\nid: %d\n\n" % seq
