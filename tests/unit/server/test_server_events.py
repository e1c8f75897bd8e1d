"""The stream of events: whole, in order, and each once, however it is read."""

import asyncio
import json

from server_harness import (
    ENDED,
    STARTED,
    begin_journal,
    created,
    ended,
    launched,
    reported,
    running,
)

from tuner.experiment.events import (
    ExperimentChanged,
    ExperimentStopping,
    TrialChanged,
    TrialRequeued,
    TrialSteered,
)
from tuner.server.event_source import read_events
from tuner.server.events import EventStreams, RecentEvents
from tuner.server.view import ExperimentView

TIME = 1_700_000_000.0


def results(first, last, trial_id="a"):
    return [reported(trial_id, i=i) for i in range(first, last + 1)]


class Watched:
    """An experiment with its journal, whose view is refreshed by hand."""

    def __init__(self, folder, facts, max_bytes=10**9):
        self.journal = begin_journal(folder, facts)
        self.streams = EventStreams(RecentEvents(max_bytes))
        self.view = ExperimentView(str(folder), "exp", self.streams.take)

    async def append(self, *facts):
        self.journal.append(facts)
        await self.view.refresh(0.0)

    def stream(self, after, trial_id=None, **options):
        return self.streams.stream(self.view, after, trial_id, **options)


async def collect(stream, until=lambda event: False):
    """The events of a stream up to the one that is waited for, or to the end."""
    events = []
    async for chunk in stream:
        for event in read_events([chunk]):
            if event.kind:
                events.append(event)
                if until(event):
                    await stream.aclose()
                    return events
    return events


def test_each_fact_that_others_want_to_know_is_an_event(tmp_path):
    facts = [
        STARTED,
        created("a", {"lr": 1}),
        launched("a"),
        reported("a", loss=float("inf"), config={"lr": 1}),
        TrialSteered(TIME, "a", "PAUSE"),
        TrialChanged(TIME, "a", None, None, {"lr": 2}, {}, "", {}, None, True),
        TrialRequeued(TIME, "a", False),
        ended("a", "Traceback …"),
        ExperimentChanged(TIME, 5, None, None, None),
        ExperimentStopping(TIME, "asked", "STOP"),
        ENDED,
    ]
    begin_journal(tmp_path, facts)

    async def main():
        streams = EventStreams()
        view = ExperimentView(str(tmp_path), "exp", streams.take)
        await view.refresh()
        return await collect(streams.stream(view, 0, None, follow=False))

    events = asyncio.run(main())
    told = [
        (each.kind, {name: value for name, value in each.data.items() if name != "time"})
        for each in events
    ]
    of_a = {"trial_id": "a"}
    result = {"attempt": 1, "decision": "CONTINUE", "checkpoint": None, "result": {"loss": None}}
    assert told == [
        ("experiment", {"status": "RUNNING"}),
        ("trial", {**of_a, "status": "PENDING", "config": {"lr": 1}}),
        ("trial", {**of_a, "status": "RUNNING", "attempt": 1}),
        ("result", {**of_a, **result}),
        ("trial", {**of_a, "asked": "PAUSE"}),
        ("trial", {**of_a, "status": "PAUSED", "config": {"lr": 2}}),
        ("trial", {**of_a, "status": "PENDING"}),
        ("trial", {**of_a, "status": "ERROR", "attempt": 1, "error": "Traceback …"}),
        ("experiment", {"limits": {"num_samples": 5}}),
        ("experiment", {"status": "STOPPING", "reason": "asked"}),
        ("experiment", {"status": "ENDED", "reason": "done"}),
        ("end", {}),
    ]
    assert [each.seq for each in events] == [*range(1, 12), 0]


def test_whoever_watches_sees_what_comes(tmp_path):
    async def main():
        watched = Watched(tmp_path, running("a"))
        await watched.view.refresh()
        stream = watched.stream(watched.view.seq)
        watching = asyncio.create_task(collect(stream, lambda event: event.seq == 13))
        while not watched.streams.num_watching:
            await asyncio.sleep(0)
        for i in range(10):
            await watched.append(reported("a", i=i))
        events = await watching
        assert [event.data["result"]["i"] for event in events] == [*range(10)]
        assert watched.streams.num_watching == 0

    asyncio.run(main())


def test_a_stream_that_is_taken_up_misses_nothing_and_repeats_nothing(tmp_path):
    """At every place, while events come and the latest ones are at hand or not."""

    async def main(max_bytes):
        folder = tmp_path / str(max_bytes)
        folder.mkdir()
        watched = Watched(folder, running("a"), max_bytes)
        await watched.append(*results(1, 2500))
        for after in (0, 3, 999, 1000, 1001, 1002, 2000, 2502, 2503):
            events = await collect(watched.stream(after, follow=False))
            assert [event.seq for event in events[:-1]] == [*range(after + 1, 2504)]
        stream = watched.stream(1500)
        watching = asyncio.create_task(collect(stream, lambda event: event.seq == 4503))
        last = 2500
        while not watching.done():
            if last < 4500:
                await watched.append(*results(last + 1, last + 100))
                last += 100
            await asyncio.sleep(0)
        assert [event.seq for event in await watching] == [*range(1501, 4504)]

    for max_bytes in (0, 10_000, 10**9):
        asyncio.run(main(max_bytes))


def test_a_slow_reader_gets_everything(tmp_path):
    """What is no longer at hand when it asks for more comes from the journal."""

    async def main():
        watched = Watched(tmp_path, running("a"), max_bytes=5_000)
        await watched.view.refresh()
        stream = watched.stream(watched.view.seq)
        await anext(stream)
        seqs = []
        for batch in range(20):
            await watched.append(*results(100 * batch, 100 * batch + 99))
            seqs += [event.seq for event in read_events([await anext(stream)]) if event.kind]
        watched.streams.close()
        seqs += [event.seq for event in await collect(stream)]
        assert seqs == [*range(4, 2004), 0]

    asyncio.run(main())


def test_the_events_of_one_trial(tmp_path):
    async def main():
        watched = Watched(tmp_path, running("a", "b"))
        await watched.append(reported("b", i=1), reported("a", i=2), reported("b", i=3))
        events = await collect(watched.stream(5, "b", follow=False))
        assert [event.data.get("result") for event in events] == [{"i": 1}, {"i": 3}, None]

    asyncio.run(main())


def test_a_sign_of_life_says_how_far_the_stream_has_come(tmp_path):
    async def main():
        watched = Watched(tmp_path, running("a"))
        await watched.view.refresh()
        stream = watched.stream(3, heartbeat_s=0.001)
        for _ in range(3):
            assert await anext(stream) == b":\nid: 3\n\n"
        await stream.aclose()

    asyncio.run(main())


def test_a_text_with_any_line_separators_is_one_event(tmp_path):
    text = "a\nb\rc\u2028d\x85e"

    async def main():
        watched = Watched(tmp_path, running("a"))
        await watched.append(reported("a", text=text))
        return b"".join([chunk async for chunk in watched.stream(3, follow=False)])

    raw = asyncio.run(main())
    for size in (1, 2, 7, len(raw)):
        events = [*read_events(raw[i : i + size] for i in range(0, len(raw), size))]
        assert [event.data["result"]["text"] for event in events if event.kind == "result"] == [
            text
        ]
    lines = raw.decode().split("\n")
    assert json.loads(next(line for line in lines if line.startswith("data"))[6:])
