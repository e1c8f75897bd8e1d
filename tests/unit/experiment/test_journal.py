"""The journal: written, followed, rotated, torn and damaged."""

from __future__ import annotations

import dataclasses
import gc
import logging
import math
import os
import resource
import signal
import time
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner import codec
from tuner.errors import JournalError, StorageError
from tuner.experiment.events import (
    CheckpointSaved,
    ExperimentEnded,
    ExperimentStarted,
    ExperimentStopping,
    Fact,
    TrialCreated,
    TrialEnded,
    TrialLaunched,
    TrialResult,
)
from tuner.experiment.journal_checks import check
from tuner.experiment.journal_reader import JournalReader
from tuner.experiment.journal_writer import JournalWriter
from tuner.experiment.periodic_sync import PeriodicSync

FACTS: list[Fact] = [
    ExperimentStarted(time=1.5, seed=7, version="0.1"),
    TrialCreated(
        time=2.0,
        trial_id="a_0",
        number=0,
        trainable_name="train",
        trial_name="named",
        experiment_tag="0_lr=0.1",
        dirname="train_a_0",
        config={"lr": 0.1, "pair": (1, 2), "kind": dict, 3: b"x"},
        evaluated_params={"lr": 0.1},
        bundles=[{"CPU": 1.0}, {"GPU": 0.5}],
    ),
    TrialLaunched(time=3.0, trial_id="a_0", attempt=1, checkpoint=None, num_results=0),
    TrialResult(
        time=4.0,
        trial_id="a_0",
        attempt=1,
        decision="CONTINUE",
        checkpoint="checkpoint_000000",
        result={"loss": 0.5, "text": 'a "quoted" line\n', "big": 10**30},
    ),
    CheckpointSaved(time=5.0, trial_id="a_0", attempt=1, checkpoint="checkpoint_000001"),
    TrialEnded(time=6.0, trial_id="a_0", attempt=1, status="ERROR", error="Traceback …\n  x"),
    ExperimentStopping(time=7.0, reason="asked to", decision="PAUSE"),
    ExperimentEnded(time=8.0, reason="all trials have ended", complete=True),
]


def write(folder: Path, facts: list[Fact], **options: int) -> Path:
    writer = JournalWriter(str(folder), **options)
    for fact in facts:
        writer.append([fact])
    writer.close()
    return folder / "journal" / "00000001.jsonl"


def test_every_fact_comes_back(tmp_path: Path) -> None:
    write(tmp_path, FACTS)
    assert list(JournalReader(str(tmp_path)).read_all()) == FACTS


def test_a_reader_follows_a_writer_over_segments(tmp_path: Path) -> None:
    reader = JournalReader(str(tmp_path))
    assert reader.read() == []
    writer = JournalWriter(str(tmp_path), segment_bytes=300)
    seen: list[Fact] = []
    for _ in range(20):
        for fact in FACTS:
            writer.append([fact])
            seen += reader.read()
    while facts := reader.read():
        seen += facts
    writer.close()
    assert seen == FACTS * 20
    assert len(list((tmp_path / "journal").iterdir())) > 20


def test_nothing_is_missed_that_is_written_while_a_reader_looks_for_the_next_segment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = JournalWriter(str(tmp_path), segment_bytes=600)
    writer.append(FACTS[:1])
    reader = JournalReader(str(tmp_path))
    assert reader.read() == FACTS[:1]
    late = iter([FACTS[1:], FACTS])
    exists = os.path.exists

    def exists_after_a_write(path: str) -> bool:
        writer.append(next(late, []))
        return exists(path)

    monkeypatch.setattr(os.path, "exists", exists_after_a_write)
    seen: list[Fact] = []
    while facts := reader.read():
        seen += facts
    writer.close()
    assert seen == [*FACTS[1:], *FACTS]


def test_half_a_line_is_read_once_it_is_whole(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole", FACTS).read_bytes()
    growing = tmp_path / "growing" / "journal" / "00000001.jsonl"
    growing.parent.mkdir(parents=True)
    reader = JournalReader(str(tmp_path / "growing"))
    seen: list[Fact] = []
    with growing.open("ab", buffering=0) as file:
        for start in range(0, len(whole), 7):
            file.write(whole[start : start + 7])
            seen += reader.read()
    assert seen == FACTS


def test_a_torn_last_line_is_dropped_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    segment = write(tmp_path, FACTS)
    os.truncate(segment, segment.stat().st_size - 9)
    with caplog.at_level(logging.WARNING):
        assert list(JournalReader(str(tmp_path)).read_all()) == FACTS[:-1]
    assert "dropped a torn last line" in caplog.text


@given(st.data())
def test_a_flipped_byte_is_found(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    segment = write(folder, FACTS)
    content = bytearray(segment.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1).filter(lambda i: content[i] != 10))
    other = data.draw(st.integers(1, 255).filter(lambda flip: content[place] ^ flip != 10))
    content[place] ^= other
    segment.write_bytes(content)
    line = bytes(content[:place]).count(b"\n") + 1
    with pytest.raises(JournalError, match=rf"00000001\.jsonl, line {line}: does not match"):
        list(JournalReader(str(folder)).read_all())


def test_who_meets_damage_or_stops_reading_leaves_no_file_open(tmp_path: Path) -> None:
    segment = write(tmp_path, FACTS)
    before = open_files()
    for fact in JournalReader(str(tmp_path)).read_all():
        assert fact == FACTS[0]
        break
    segment.write_bytes(segment.read_bytes().replace(b"loss", b"gain"))
    with pytest.raises(JournalError, match="does not match"):
        list(JournalReader(str(tmp_path)).read_all())
    assert open_files() == before


def open_files() -> list[str]:
    gc.collect()
    return [
        path
        for path in map(os.path.realpath, Path("/proc/self/fd").iterdir())
        if "/journal/" in path
    ]


def test_a_segment_that_ends_in_the_middle_of_a_line_is_damage(tmp_path: Path) -> None:
    segment = write(tmp_path, FACTS)
    (tmp_path / "journal" / "00000002.jsonl").write_bytes(b"")
    os.truncate(segment, segment.stat().st_size - 9)
    with pytest.raises(JournalError, match="ends in the middle of a line"):
        list(JournalReader(str(tmp_path)).read_all())


@pytest.mark.parametrize("line", range(1, len(FACTS) + 1))
def test_a_line_break_that_is_lost_is_damage_and_at_the_end_a_torn_line(
    line: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    segment = write(tmp_path, FACTS)
    content = segment.read_bytes().split(b"\n")
    content[line - 1 : line + 1] = [content[line - 1] + b"?" + content[line]]
    segment.write_bytes(b"\n".join(content))
    if line == len(FACTS):
        with caplog.at_level(logging.WARNING):
            assert list(JournalReader(str(tmp_path)).read_all()) == FACTS[:-1]
        assert "dropped a torn last line" in caplog.text
        return
    with pytest.raises(JournalError, match=rf"00000001\.jsonl, line {line}: does not match"):
        list(JournalReader(str(tmp_path)).read_all())


def test_damage_is_found_in_the_segment_where_it_is(tmp_path: Path) -> None:
    write(tmp_path, FACTS, segment_bytes=1)
    damaged = tmp_path / "journal" / "00000003.jsonl"
    damaged.write_bytes(damaged.read_bytes().replace(b'"attempt":1', b'"attempt":2'))
    reader = JournalReader(str(tmp_path))
    assert reader.read() == FACTS[:1]
    with pytest.raises(JournalError, match=r"00000003\.jsonl, line 1: does not match its checksum"):
        list(reader.read_all())


def test_an_event_that_this_version_does_not_know_is_named(tmp_path: Path) -> None:
    segment = write(tmp_path, FACTS[:1])
    line = b'{"seq":2,"time":1.0,"event":"trial_cloned"'
    segment.write_bytes(segment.read_bytes() + line + b',"crc":"%08x"}\n' % zlib.crc32(line))
    with pytest.raises(JournalError, match="line 2: holds the unknown event 'trial_cloned'"):
        list(JournalReader(str(tmp_path)).read_all())


def test_a_result_is_written_as_the_worker_encoded_it(tmp_path: Path) -> None:
    reported = {"loss": math.nan, "n": {"deep": [math.inf, None]}, 3: "x"}
    raw = codec.encode_metrics(reported)
    fact = TrialResult(4.0, "a_0", 1, "STOP", None, {**reported, "done": True}, raw)
    segment = write(tmp_path, [fact])
    assert raw in segment.read_bytes()
    (read,) = JournalReader(str(tmp_path)).read_all()
    assert isinstance(read, TrialResult)
    assert repr(read.result) == repr(reported)
    assert (read.decision, read.checkpoint, read.raw) == ("STOP", None, None)


def test_a_reader_needs_none_of_the_modules_of_the_user(tmp_path: Path) -> None:
    created = dataclasses.replace(FACTS[1], config={"kind": JournalReader, "pair": (1, 2)})
    write(tmp_path, [created])
    (read,) = JournalReader(str(tmp_path), unpickle=False).read_all()
    assert isinstance(read, TrialCreated)
    assert read.config == {"kind": "tuner.experiment.journal_reader.JournalReader", "pair": (1, 2)}


def test_what_was_appended_at_once_is_one_write_and_more_than_a_reader_takes(
    tmp_path: Path,
) -> None:
    text = "x" * 1000
    facts: list[Fact] = [
        TrialResult(float(n), "a_0", 1, "CONTINUE", None, {"n": n, "text": text})
        for n in range(3000)
    ]
    writer = JournalWriter(str(tmp_path))
    writer.append([])
    writer.append(facts)
    reader = JournalReader(str(tmp_path))
    first = reader.read()
    assert 0 < len(first) < len(facts)
    assert first + list(reader.read_all()) == facts
    writer.close()


@pytest.mark.parametrize("segment_bytes", [1, 10_000])
def test_nobody_writes_over_a_journal(segment_bytes: int, tmp_path: Path) -> None:
    first = JournalWriter(str(tmp_path), segment_bytes=segment_bytes)
    first.append(FACTS)
    with pytest.raises(JournalError, match="exists already: another run is writing here"):
        JournalWriter(str(tmp_path), segment_bytes=segment_bytes)
    first.append(FACTS)
    first.close()
    assert list(JournalReader(str(tmp_path)).read_all()) == FACTS * 2


def test_nothing_is_written_behind_a_line_that_was_torn_by_a_full_disk(tmp_path: Path) -> None:
    writer = JournalWriter(str(tmp_path))
    writer.append(FACTS[:1])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200, before[1]))
        with pytest.raises(StorageError, match=r"00000001\.jsonl cannot be written to \(File too"):
            writer.append(FACTS[1:2])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert os.path.getsize(tmp_path / "journal" / "00000001.jsonl") == 200
    with pytest.raises(StorageError, match="cannot be written to"):
        writer.append(FACTS[2:])
    writer.close()
    reader = JournalReader(str(tmp_path))
    assert list(reader.read_all()) == FACTS[:1]
    again = JournalWriter(str(tmp_path), reader.position)
    again.append(FACTS[1:])
    again.close()
    assert list(JournalReader(str(tmp_path)).read_all()) == FACTS


def test_a_disk_that_fails_to_take_what_was_written_is_told_at_the_next_write(
    tmp_path: Path,
) -> None:
    pipe, other = os.pipe()  # it can be written to, but not brought to a disk
    sync = PeriodicSync(period_s=0.0)
    sync.watch(other)

    def write_on() -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            sync.soon()

    try:
        with pytest.raises(OSError, match="Invalid argument"):
            write_on()
    finally:
        os.close(pipe)
        os.close(other)


def test_a_kind_of_event_with_other_fields_is_refused(tmp_path: Path) -> None:
    segment = write(tmp_path, FACTS[:1])
    line = b'{"seq":2,"time":1.0,"event":"experiment_ended","reason":"x","complete":true,"by":"y"'
    segment.write_bytes(segment.read_bytes() + line + b',"crc":"%08x"}\n' % zlib.crc32(line))
    with pytest.raises(JournalError, match="line 2: holds an unknown kind of 'experiment_ended'"):
        list(JournalReader(str(tmp_path)).read_all())


def test_a_check_finds_what_is_damaged_or_missing_before_a_position(tmp_path: Path) -> None:
    write(tmp_path, FACTS, segment_bytes=1)
    reader = JournalReader(str(tmp_path))
    assert len(list(reader.read_all())) == len(FACTS)
    check(str(tmp_path), reader.position)
    segment = tmp_path / "journal" / "00000003.jsonl"
    content = segment.read_bytes()
    for damage, words in (
        (content[:-1], "line 1: is torn"),
        (b"", "the facts 8 to 8 are missing"),
        (content.replace(b"e", b"f", 1), "line 1: does not match"),
    ):
        segment.write_bytes(damage)
        with pytest.raises(JournalError, match=words):
            check(str(tmp_path), reader.position)
    segment.unlink()
    with pytest.raises(JournalError, match=r"00000003\.jsonl is missing"):
        check(str(tmp_path), reader.position)
