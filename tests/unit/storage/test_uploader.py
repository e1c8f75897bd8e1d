from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from storage_helpers import BrokenFileSystem, files_on, folder_storage, put, upload_plan

from tuner.experiment.events import Fact, TrialCreated, TrialEnded, TrialLaunched, TrialResult
from tuner.experiment.journal_reader import JournalReader
from tuner.experiment.journal_writer import JournalWriter
from tuner.storage import sender as sender_module
from tuner.storage import transfer
from tuner.storage import uploader as uploader_module
from tuner.storage.storage import Storage
from tuner.storage.upload_plan import UploadPlan
from tuner.storage.uploader import Uploader


@pytest.fixture(autouse=True)
def _haste(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "_FIRST_WAIT_S", 0.001)
    monkeypatch.setattr(transfer, "LONGEST_WAIT_S", 0.02)
    monkeypatch.setattr(sender_module, "_GIVE_UP_AFTER_S", 0.0)
    monkeypatch.setattr(uploader_module, "_POLL_S", 0.01)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def created(trial: str) -> TrialCreated:
    return TrialCreated(
        time=1.0,
        trial_id=trial,
        number=0,
        trainable_name="train",
        trial_name="",
        experiment_tag="",
        dirname=trial,
        config={},
        evaluated_params={},
        bundles=[{"CPU": 1}],
    )


def launched(trial: str, attempt: int = 1) -> TrialLaunched:
    return TrialLaunched(1.0, trial, attempt, None, 0)


def result(trial: str, n: int, checkpoint: str | None = None, attempt: int = 1) -> TrialResult:
    metrics = {"training_iteration": n}
    return TrialResult(1.0, trial, attempt, "CONTINUE", checkpoint, metrics)


def ended(trial: str, status: str = "TERMINATED") -> TrialEnded:
    return TrialEnded(1.0, trial, 1, status, None)


@dataclass
class Run:
    """An experiment that is written here as controller and recorder do it."""

    staging: Path
    storage: Storage
    plan: UploadPlan
    facts: list[Fact] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.journal = JournalWriter(str(self.staging), segment_period_s=0.0)
        self.begin()

    def begin(self) -> None:
        """A recorder that starts, which takes up what was recorded."""
        self.reader = JournalReader(str(self.staging), unpickle=False)
        self.uploader = Uploader(str(self.staging), self.plan)
        self.seen = 0
        if self.facts:
            self.record()
        self.uploader.start()

    def write(self, *facts: Fact, segment: bool = True, removed: Sequence[str] = ()) -> None:
        self.facts += facts
        self.journal.append(facts)
        if segment:
            self.journal.step()
        self.record(removed)

    def record(self, removed: Sequence[str] = ()) -> None:
        while facts := self.reader.read():
            self.seen += len(facts)
            self.uploader.recorded(facts, removed, self.seen, self.reader.position)

    def end(self, timeout_s: float = 120.0) -> list[str]:
        self.journal.close()
        return self.uploader.finish(timeout_s)

    def die(self) -> None:
        """Ends without having sent anything more."""
        self.plan.lease.is_lost = True
        self.uploader.finish(0.0)
        self.plan.lease.is_lost = False

    def there(self) -> dict[str, bytes]:
        return files_on(self.storage)

    def journal_there(self) -> list[int]:
        """The numbers of the facts in the journal on the storage."""
        files = self.there()
        names = sorted(name for name in files if name.endswith(".jsonl"))
        assert names == [f"journal/{n:08d}.jsonl" for n in range(1, len(names) + 1)]
        lines = b"".join(files[name] for name in names).splitlines()
        return [json.loads(line)["seq"] for line in lines]


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return folder_storage(tmp_path / "disk")


@pytest.fixture
def fs(storage: Storage) -> BrokenFileSystem:
    assert isinstance(storage.fs, BrokenFileSystem)
    return storage.fs


@pytest.fixture
def make(tmp_path: Path, storage: Storage) -> Callable[..., Run]:
    def make_run(**config: Any) -> Run:
        staging = tmp_path / "staging" / "run"
        staging.mkdir(parents=True)
        return Run(staging, storage, upload_plan(storage, **config))

    return make_run


@pytest.fixture
def run(make: Callable[..., Run]) -> Run:
    return make()


def everything(n: int) -> list[int]:
    return list(range(1, n + 1))


def test_segments_are_sent_once_each_and_in_order(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []
    send = run.uploader._sender.send_journal
    monkeypatch.setattr(
        run.uploader._sender,
        "send_journal",
        lambda path, content: (sent.append(path), send(path, content)),
    )
    for n in range(20):
        run.write(created(f"t{n}"))
    until(lambda: run.journal_there() == everything(20))
    run.write(created("last"), segment=False)
    assert run.end() == []
    assert sent == [f"journal/{n:08d}.jsonl" for n in range(1, 22)]
    assert run.journal_there() == everything(21)


def test_a_segment_that_is_still_written_waits_for_the_end(run: Run) -> None:
    run.write(created("a"))
    run.write(launched("a"), segment=False)
    until(lambda: run.journal_there() == [1])
    until(lambda: "journal/uploads.json" in run.there())
    assert run.journal_there() == [1]
    assert run.end() == []
    assert run.journal_there() == [1, 2]


def test_a_torn_last_line_is_not_sent(run: Run) -> None:
    run.write(created("a"), segment=False)
    last = run.staging / "journal" / "00000001.jsonl"
    with open(last, "ab") as file:
        file.write(b'{"seq":2,"time":1.0,"ev')
    assert run.end() == []
    content = run.there()["journal/00000001.jsonl"]
    assert content == last.read_bytes()[: len(content)]
    assert run.journal_there() == [1]


def test_trials_that_have_ended_are_complete_and_others_as_far_as_they_have_doubled(
    run: Run,
) -> None:
    put(run.staging, a__result_dot_json="1234", b__result_dot_json="1234")
    run.write(created("a"), created("b"), launched("a"), launched("b"))
    until(lambda: {"a/result.json", "b/result.json"} <= run.there().keys())
    put(run.staging, a__result_dot_json="1234567", b__result_dot_json="1234567")
    run.write(ended("a"))
    until(lambda: run.there()["a/result.json"] == b"1234567")
    assert run.there()["b/result.json"] == b"1234"
    put(run.staging, b__result_dot_json="12345678")
    until(lambda: run.there()["b/result.json"] == b"12345678")
    put(run.staging, b__result_dot_json="123456789")
    assert run.end() == []
    assert run.there()["b/result.json"] == b"123456789"
    assert run.uploader.num_facts == 5


def test_the_schedules_of_a_population_are_there_as_they_are_now(run: Run) -> None:
    put(run.staging, pbt_global_dot_txt="1", pbt_policy_a_dot_txt="1", notes_dot_txt="mine")
    run.write(created("a"), launched("a"))
    until(lambda: {"pbt_global.txt", "pbt_policy_a.txt"} <= run.there().keys())
    put(run.staging, pbt_global_dot_txt="1 2", pbt_policy_a_dot_txt="2")
    assert run.end() == []
    there = run.there()
    assert (there["pbt_global.txt"], there["pbt_policy_a.txt"]) == (b"1 2", b"2")
    assert "notes.txt" not in there


def test_nothing_is_deleted_before_the_journal_says_so_on_the_storage(run: Run) -> None:
    put(run.staging.parent.parent / "disk", exp__run__a__checkpoint_000001__n="1")
    run.write(created("a"), launched("a"), result("a", 1, "checkpoint_000001"))
    until(lambda: run.journal_there() == everything(3))
    newer = result("a", 2, "checkpoint_000002")
    run.write(newer, segment=False, removed=["a/checkpoint_000001"])
    until(lambda: run.uploader.num_facts == 3 and run.uploader._removed != [])
    assert "a/checkpoint_000001/n" in run.there()
    run.write(result("a", 3))
    until(lambda: "a/checkpoint_000001/n" not in run.there())
    assert run.journal_there() == everything(5)
    assert run.end() == []


def test_a_deletion_that_fails_is_tried_again(run: Run, fs: BrokenFileSystem) -> None:
    put(run.staging.parent.parent / "disk", exp__run__a__checkpoint_000001__n="1")
    fs.break_for("checkpoint_000001")
    run.write(created("a"), removed=["a/checkpoint_000001"])
    until(lambda: "a/checkpoint_000001" in run.uploader._sender.failed)
    fs.heal()
    until(lambda: "a/checkpoint_000001/n" not in run.there())
    assert run.end() == []
    assert run.uploader.num_facts == 1


def test_marks_of_checkpoints_that_were_never_complete_go_when_the_trial_ends(run: Run) -> None:
    marks = {f"exp__run__a__.checkpoint_00000{n}.attempt1": "incomplete" for n in (1, 2)}
    put(run.staging.parent.parent / "disk", **marks)
    put(run.staging, a__checkpoint_000002__n="2")
    run.write(created("a"), launched("a"), result("a", 1, "checkpoint_000001"))
    run.write(result("a", 2, "checkpoint_000002"), removed=["a/checkpoint_000001"])
    run.write(ended("a"))
    assert run.end() == []
    assert {path for path in run.there() if "checkpoint" in path} == {"a/checkpoint_000002/n"}


def test_marks_of_an_attempt_that_goes_on_stay(run: Run) -> None:
    put(run.staging.parent.parent / "disk", **{"exp__run__a__.checkpoint_000002.attempt2": "i"})
    run.write(
        *(created("a"), launched("a"), result("a", 1, "checkpoint_000001")),
        *(ended("a", "ERROR"), launched("a", 2)),
    )
    assert run.end() == []
    assert "a/.checkpoint_000002.attempt2" in run.there()


def test_marks_go_after_a_restart(run: Run) -> None:
    put(run.staging.parent.parent / "disk", **{"exp__run__a__.checkpoint_000001.attempt1": "i"})
    run.write(created("a"), launched("a"), result("a", 1, "checkpoint_000001"))
    until(lambda: run.uploader.num_facts == 3)
    run.die()
    run.begin()
    run.write(ended("a"))
    assert run.end() == []
    assert "a/.checkpoint_000001.attempt1" not in run.there()


def test_deletions_that_were_due_are_done_after_a_restart(run: Run) -> None:
    put(run.staging.parent.parent / "disk", exp__run__a__checkpoint_000001__n="1")
    run.write(created("a"))
    run.write(launched("a"), segment=False, removed=["a/checkpoint_000001"])
    until(lambda: run.uploader._removed != [] and run.uploader.num_facts == 1)
    run.die()
    run.reader = JournalReader(str(run.staging), unpickle=False)
    run.uploader = Uploader(str(run.staging), run.plan)
    run.seen = 0
    run.record(removed=["a/checkpoint_000001"])
    run.uploader.start()
    assert run.end() == []
    assert "a/checkpoint_000001/n" not in run.there()


def test_the_newest_snapshot_is_there_alone_and_never_before_its_journal(run: Run) -> None:
    run.write(created("a"))
    put(run.staging, snapshots__000000000001_dot_pkl="one")
    until(lambda: "snapshots/000000000001.pkl" in run.there())
    put(run.staging, snapshots__000000000002_dot_pkl="two")
    run.write(launched("a"), segment=False)
    until(lambda: run.uploader._news.facts == 2)
    put(run.staging, a__late="")  # a round later
    assert "snapshots/000000000002.pkl" not in run.there()
    assert run.end() == []
    snapshots = [name for name in run.there() if name.startswith("snapshots/")]
    assert snapshots == ["snapshots/000000000002.pkl"]


def test_a_snapshot_is_replaced_after_a_restart_too(run: Run) -> None:
    run.write(created("a"), launched("a"))
    put(run.staging, snapshots__000000000001_dot_pkl="one")
    until(lambda: "snapshots/000000000001.pkl" in run.there())
    run.die()
    (run.staging / "snapshots" / "000000000001.pkl").unlink()
    put(run.staging, snapshots__000000000002_dot_pkl="two")
    run.begin()
    assert run.end() == []
    assert [name for name in run.there() if name.startswith("snap")] == [
        "snapshots/000000000002.pkl"
    ]


def test_a_restart_goes_on_without_losing_or_repeating(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(run.staging, a__result_dot_json="1", b__result_dot_json="2")
    run.write(created("a"), launched("a"), ended("a"))
    run.write(created("b"), launched("b"))
    until(lambda: run.uploader.num_facts == 5 and "b/result.json" in run.there())
    run.die()
    run.write(ended("b"))
    sent: list[str] = []
    upload, write = sender_module.upload_files, sender_module.write_bytes

    def note_files(fs: Any, sources: Any, targets: Any) -> None:
        sent.extend(path.removeprefix("exp/run/") for path in targets)
        upload(fs, sources, targets)

    def note_segment(fs: Any, path: str, content: bytes) -> None:
        sent.append(path.removeprefix("exp/run/"))
        write(fs, path, content)

    monkeypatch.setattr(sender_module, "upload_files", note_files)
    monkeypatch.setattr(sender_module, "write_bytes", note_segment)
    put(run.staging, b__result_dot_json="23")
    run.begin()
    assert run.end() == []
    assert run.journal_there() == everything(6)
    assert run.there()["b/result.json"] == b"23"
    assert sent.count("b/result.json") == 1
    assert {path for path in sent if path != "journal/uploads.json"} == {
        "journal/00000003.jsonl",
        "b/result.json",
    }


def test_the_index_is_never_ahead_of_the_journal_on_the_storage(run: Run) -> None:
    """Another machine finds no more than that, and goes on from there."""
    run.write(created("a"))
    run.write(launched("a"), ended("a"), segment=False)
    until(lambda: run.uploader._ended == {} and run.uploader._news.facts == 3)
    until(lambda: b'"facts":1,' in run.there().get("journal/uploads.json", b""))
    assert run.end() == []
    index = json.loads(run.there()["journal/uploads.json"])
    assert (index["facts"], index["journaled"], index["segments"]) == (3, 3, 2)


def test_a_checkpoint_that_lies_here_is_sent_whole_and_marked_until_then(
    run: Run, fs: BrokenFileSystem
) -> None:
    disk = run.staging.parent.parent / "disk"
    put(disk, **{"exp/run/a/.checkpoint_000001.attempt1": "incomplete"})
    put(disk, **{"exp/run/a/checkpoint_000001/old": "of an earlier try"})
    put(run.staging, **{"a/checkpoint_000001/n": "1", "a/checkpoint_000001/deep/w": "22"})
    fs.break_for("checkpoint_000001/deep")
    run.write(created("a"), launched("a", 2), result("a", 1, "checkpoint_000001", attempt=2))
    until(lambda: "a/checkpoint_000001/deep/w" in run.uploader._sender.failed)
    assert "a/.checkpoint_000001.attempt2" in run.there()
    assert run.uploader.num_facts == 0
    fs.heal()
    until(lambda: run.uploader.num_facts == 3)
    assert {name for name in run.there() if "checkpoint" in name} == {
        "a/checkpoint_000001/n",
        "a/checkpoint_000001/deep/w",
    }
    assert run.end() == []


def test_a_checkpoint_that_gets_its_name_late_is_sent(run: Run) -> None:
    put(run.staging, **{"a/.checkpoint_000001.attempt1/n": "1"})
    run.write(created("a"), launched("a"), result("a", 1, "checkpoint_000001"))
    until(lambda: run.uploader._kept != {})
    assert run.uploader.num_facts == 0
    staged = run.staging / "a" / ".checkpoint_000001.attempt1"
    staged.rename(run.staging / "a" / "checkpoint_000001")
    until(lambda: run.there().get("a/checkpoint_000001/n") == b"1")
    assert run.end() == []
    assert run.uploader.num_facts == 3


def test_a_checkpoint_that_is_superfluous_by_now_is_not_sent(
    run: Run, fs: BrokenFileSystem
) -> None:
    put(run.staging, **{"a/checkpoint_000001/n": "1"})
    fs.break_for("checkpoint_000001")
    run.write(created("a"), launched("a"), result("a", 1, "checkpoint_000001"))
    until(lambda: run.uploader._kept != {})
    run.write(result("a", 2), removed=["a/checkpoint_000001"])
    until(lambda: run.uploader._kept == {})
    fs.heal()
    assert run.end() == []
    assert not [name for name in run.there() if "checkpoint" in name]
    assert run.uploader.num_facts == 4


def test_what_a_storage_that_is_gone_lacks_is_named(run: Run, fs: BrokenFileSystem) -> None:
    put(run.staging, a__result_dot_json="1")
    fs.break_for("run")
    run.write(created("a"), launched("a"), ended("a"))
    messages = run.end(timeout_s=0.1)
    assert "the upload of journal/00000001.jsonl" in messages[0]
    assert "the storage is broken" in messages[0]
    assert messages[-1] == (
        f"what is not in exp/run is kept in {run.staging}: a restore on this machine goes on "
        "from there, and uploads it"
    )
    assert run.uploader.num_facts == 0


def test_what_failed_in_between_is_not_told_at_the_end(run: Run, fs: BrokenFileSystem) -> None:
    put(run.staging, a__result_dot_json="1", a__events_dot_out_dot_tfevents_dot_1="x")
    fs.break_for("events")
    run.write(created("a"), launched("a"))
    until(lambda: any("events" in path for path in run.uploader._sender.failed))
    (run.staging / "a" / "events.out.tfevents.1").unlink()
    fs.heal()
    run.write(ended("a"))
    assert run.end() == []
    assert run.uploader.num_facts == 3


def test_files_that_come_and_go_disturb_nobody(make: Callable[..., Run]) -> None:
    run = make(sync_artifacts=True)
    run.write(created("a"), launched("a"))
    for n in range(200):
        put(run.staging, **{f"a/temporary_{n}": "x"})
        (run.staging / "a" / f"temporary_{n}").unlink()
    put(run.staging, a__stays="x")
    until(lambda: "a/stays" in run.there())
    run.write(ended("a"))
    assert run.end() == []


def test_an_upload_that_dies_says_so(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(run.uploader._files, "due", fail)
    run.write(created("a"), launched("a"))
    until(lambda: not run.uploader._thread.is_alive())
    messages = run.end()
    assert "the upload ended with an error" in messages[0]
    assert "RuntimeError: a defect" in messages[0]
